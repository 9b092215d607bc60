"""The same tests on both databases: the embedded one, and PostgreSQL where there is a server.

A fixture that opens a database asks for `database_kind` and opens it with `open_any_database`; so
do modules of tests that call helpers which open one (``pytestmark``). Without a server there is
one kind, and nothing is skipped: the contract's tests say that one is missing.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from sqlalchemy.engine import Connection

from servers_postgres import VARIABLE, TestDatabase, run
from vigie.platform.database import EmbeddedDatabase, open_database
from vigie.platform.database.postgresql.database import PostgresqlDatabase
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints

T = TypeVar("T")
EMBEDDED: Final = "embedded"
POSTGRESQL: Final = "postgresql"
KINDS: Final = (EMBEDDED, POSTGRESQL) if os.environ.get(VARIABLE) else (EMBEDDED,)


class PostgresqlUnderTest(PostgresqlDatabase):
    """PostgreSQL as the embedded event log wants its database.

    In production events go to Kafka through an outbox; here the log's tables stand beside the
    context's, so that whole modules can be tried on PostgreSQL alone.
    """

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """See `EmbeddedDatabase.transact`."""
        return await self.write(lambda connection: connection.run_sync(work))


class _Schemas:
    """The schemas of one test, by the path at which an embedded database would be."""

    def __init__(self) -> None:
        self.server: TestDatabase | None = None
        self.by_path: dict[Path, str] = {}

    async def of(self, path: Path) -> str:
        assert self.server is not None
        if path not in self.by_path:
            self.by_path[path] = f"s{secrets.token_hex(5)}"
            await self.server.execute(f"CREATE SCHEMA {self.by_path[path]}")
        return self.by_path[path]

    def drop(self) -> None:
        assert self.server is not None
        for name in self.by_path.values():
            run(self.server.execute(f"DROP SCHEMA {name} CASCADE"))
        self.server, self.by_path = None, {}


_SCHEMAS: Final = _Schemas()


@contextmanager
def on_the_server(server: TestDatabase) -> Iterator[Callable[[Path], str]]:
    """Meanwhile `open_any_database` opens on ``server``; schemas stay. Yields path -> schema."""
    _SCHEMAS.server = server
    try:
        yield _SCHEMAS.by_path.__getitem__
    finally:
        _SCHEMAS.server, _SCHEMAS.by_path = None, {}


@pytest.fixture(params=KINDS)
def database_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which database the test runs on."""
    if request.param == EMBEDDED:
        yield EMBEDDED
        return
    _SCHEMAS.server = request.getfixturevalue("postgres_database")
    yield POSTGRESQL
    _SCHEMAS.drop()


async def open_any_database(path: Path, *, faults: FaultPoints = NO_FAULTS) -> EmbeddedDatabase:
    """The database of a test; the same path finds the same tables again."""
    if _SCHEMAS.server is None:
        return await open_database(path, faults=faults)
    path.parent.mkdir(parents=True, exist_ok=True)
    login = _SCHEMAS.server.login(await _SCHEMAS.of(path))
    opened: Any = PostgresqlUnderTest(login, migrates_itself=True, faults=faults)
    return opened  # type: ignore[no-any-return] - as far as tests go
