"""Opaque tokens of pages and streams: where to go on, and for which query.

A token is signed, so that one that was altered or made up is refused instead of misunderstood.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Final

from vigie.platform.errors import ReasonSpec, VigieError
from vigie.platform.reasons import PAGE_TOKEN_INVALID, RESUME_TOKEN_INVALID
from vigie.platform.sealing import Sealer

DEFAULT_PAGE_SIZE: Final = 100
_SIGNATURE_CHARACTERS: Final = 24
Key = Sequence[str | int]


class TokenMint:
    """Makes tokens and reads them again."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def page(self, query: Sequence[str], key: Key) -> str:
        """The token of the page that begins after ``key``."""
        return self._write("page", query, key)

    def page_key(self, query: Sequence[str], token: str) -> list[str | int] | None:
        """The key in a token; ``None`` for the first page (no token).

        Raises:
            VigieError: PAGE_TOKEN_INVALID: not ours, or of another query.
        """
        if not token:
            return None
        return self._read("page", query, token, PAGE_TOKEN_INVALID, "page_token")

    def resume(self, query: Sequence[str], key: Key) -> str:
        """The token of a stream that goes on after ``key``."""
        return self._write("resume", query, key)

    def resume_key(self, query: Sequence[str], token: str) -> list[str | int] | None:
        """The key in a token; ``None`` for the beginning (no token).

        Raises:
            VigieError: RESUME_TOKEN_INVALID.
        """
        if not token:
            return None
        return self._read("resume", query, token, RESUME_TOKEN_INVALID, "resume_token")

    def _write(self, kind: str, query: Sequence[str], key: Key) -> str:
        content = json.dumps(list(key), separators=(",", ":"))
        signed = self._sign(kind, query, content) + content
        return base64.urlsafe_b64encode(signed.encode()).decode().rstrip("=")

    def _read(
        self, kind: str, query: Sequence[str], token: str, reason: ReasonSpec, field: str
    ) -> list[str | int]:
        try:
            padded = token + "=" * (-len(token) % 4)
            signed = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            signed = ""
        signature, content = signed[:_SIGNATURE_CHARACTERS], signed[_SIGNATURE_CHARACTERS:]
        if not content or signature != self._sign(kind, query, content):
            raise VigieError(reason, f"this {field} does not belong to this query", field=field)
        key: list[str | int] = json.loads(content)
        return key

    def _sign(self, kind: str, query: Sequence[str], content: str) -> str:
        signed = json.dumps([kind, *query, content]).encode()
        return self._sealer.fingerprint(signed)[:_SIGNATURE_CHARACTERS]
