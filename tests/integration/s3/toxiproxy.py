"""Cuts and slows connections, by the HTTP API of a real toxiproxy."""

import json
import os
import urllib.request
import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest


class Toxiproxy:
    """One proxy in front of an address."""

    def __init__(self, upstream: str) -> None:
        api = os.environ.get("VIGIE_TEST_TOXIPROXY")
        if not api:
            pytest.skip("no server: VIGIE_TEST_TOXIPROXY is not set")
        self._api = api
        self._name = f"s3-{uuid.uuid4().hex[:12]}"
        parts = urlsplit(upstream)
        made = self._ask(
            "POST",
            "/proxies",
            {"name": self._name, "listen": "127.0.0.1:0", "upstream": parts.netloc},
        )
        self.endpoint = f"http://{made['listen']}"

    def toxic(self, kind: str, *, stream: str, **attributes: int) -> None:
        """Add a toxic; ``stream`` is upstream (what clients send) or downstream."""
        body = {"name": kind, "type": kind, "stream": stream, "attributes": attributes}
        self._ask("POST", f"/proxies/{self._name}/toxics", body)

    def heal(self) -> None:
        """Remove all toxics, and let connections through."""
        for toxic in self._ask("GET", f"/proxies/{self._name}/toxics", None):
            self._ask("DELETE", f"/proxies/{self._name}/toxics/{toxic['name']}", None)
        self.enable(enabled=True)

    def enable(self, *, enabled: bool) -> None:
        """Accept connections or refuse them; what is open is cut."""
        self._ask("POST", f"/proxies/{self._name}", {"enabled": enabled})

    def close(self) -> None:
        """Remove the proxy."""
        self._ask("DELETE", f"/proxies/{self._name}", None)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._api + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            content = response.read()
        return json.loads(content) if content else None
