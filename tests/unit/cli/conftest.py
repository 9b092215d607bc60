import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from unit.cli.fake_server import FakeServer, serve
from vigie.cli.main import app


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Vigie = Callable[..., Outcome]


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    found = FakeServer()
    server = serve(found)
    try:
        yield found
    finally:
        server.stop(None).wait()


@pytest.fixture
def vigie(fake: FakeServer) -> Vigie:
    """Run a command line against the fake server."""

    def run(
        *arguments: str, env: dict[str, str] | None = None, stdin: str | None = None
    ) -> Outcome:
        environment = {
            "VIGIE_ADDRESS": fake.address, "VIGIE_TOKEN": "", "LC_ALL": "C", "COLUMNS": "160",
            "VIGIE_LANGUAGE": "en", "VIGIE_CONFIG": "", "VIGIE_CAMERA_PASSWORD": "",
            "TZ": "Europe/Paris",
        }  # fmt: skip
        environment |= env or {}
        kept = {name: value or None for name, value in environment.items()}
        found = CliRunner().invoke(app, list(arguments), env=kept, input=stdin)
        if found.exception and not isinstance(found.exception, SystemExit):
            raise found.exception
        return Outcome(found.exit_code, found.stdout, found.stderr)

    return run
