"""A real PostgreSQL for tests: from the environment, else from Docker, else the test is skipped.

Each session of tests makes a database of its own, and drops it (and the roles it made) at the end.
Import the fixtures where they are needed: ``from servers_postgres import *``.
"""

import asyncio
import json
import os
import secrets
import urllib.request
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from servers_docker import image_of, running
from vigie.platform.database.postgresql.connect import Login
from vigie.platform.database.settings import DatabaseConfig

__all__ = [
    "PostgresServer",
    "Proxy",
    "TestDatabase",
    "empty_schema",
    "postgres_database",
    "postgres_proxy",
    "postgres_server",
]

T = TypeVar("T")
VARIABLE: Final = "VIGIE_TEST_POSTGRES"
TOXIPROXY: Final = "VIGIE_TEST_TOXIPROXY"


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` from a fixture, whether or not a loop runs in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@dataclass(frozen=True)
class PostgresServer:
    """Where the server is, and its superuser."""

    host: str
    port: int
    user: str
    password: str

    async def connect(self, database: str = "postgres") -> asyncpg.Connection:
        return await asyncpg.connect(
            host=self.host, port=self.port, user=self.user, password=self.password,
            database=database,
        )  # fmt: skip

    async def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        connection = await self.connect(database)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()


async def drop_roles(server: PostgresServer, prefix: str) -> None:
    """Drop the roles of an installation whose database is gone."""
    rows = await server.execute(
        f"SELECT rolname FROM pg_roles WHERE left(rolname, {len(prefix)}) = '{prefix}'"
    )
    for row in rows:
        await server.execute(f'DROP ROLE "{row["rolname"]}"')


@dataclass(frozen=True)
class TestDatabase:
    """A database of this session of tests."""

    __test__ = False

    server: PostgresServer
    name: str
    password_file: Path

    def config(self, *, port: int | None = None, **changes: Any) -> DatabaseConfig:
        """Section ``[database]`` with the superuser for every context."""
        server = self.server
        url = f"postgresql://{server.user}@{server.host}:{port or server.port}/{self.name}"
        return DatabaseConfig(**{"url": url, "password_file": self.password_file} | changes)

    def login(self, schema: str, **changes: Any) -> Login:
        config = self.config(**changes)
        return Login(config, self.server.user, self.password_file, schema, f"test {schema}")

    async def execute(self, statement: str) -> list[Any]:
        return await self.server.execute(statement, self.name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of the environment, or one in Docker; skips where there is neither."""
    url = os.environ.get(VARIABLE)
    if url:
        parts = urlsplit(url)
        assert parts.hostname
        yield PostgresServer(
            parts.hostname, parts.port or 5432, unquote(parts.username or ""),
            unquote(parts.password or ""),
        )  # fmt: skip
        return
    image = image_of(VARIABLE)
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(image, driver=None, password=secrets.token_hex(16))
    with running(container) as (host, port):
        yield PostgresServer(host, port, container.username, container.password)


@pytest.fixture(scope="session")
def postgres_database(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestDatabase]:
    """An empty database, dropped at the end."""
    name = f"vigie_test_{secrets.token_hex(6)}"
    file = tmp_path_factory.mktemp("postgres") / "password"
    file.write_text(postgres_server.password)
    create = (
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    run(postgres_server.execute(create))
    try:
        yield TestDatabase(postgres_server, name, file)
    finally:
        run(postgres_server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest.fixture
async def empty_schema(postgres_database: TestDatabase) -> AsyncIterator[str]:
    """A schema of this test alone, dropped at its end."""
    name = f"s{secrets.token_hex(5)}"
    await postgres_database.execute(f"CREATE SCHEMA {name}")
    yield name
    await postgres_database.execute(f"DROP SCHEMA {name} CASCADE")


class Proxy:
    """A way to the server that can be disturbed (toxiproxy)."""

    def __init__(self, api: str, name: str, server: PostgresServer) -> None:
        self._api = api
        self._name = name
        made = self._ask(
            "POST", "/proxies",
            {"name": name, "listen": "127.0.0.1:0", "upstream": f"{server.host}:{server.port}"},
        )  # fmt: skip
        self.port = int(made["listen"].rpartition(":")[2])

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._api + path, data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def cut(self) -> None:
        """Close every connection and take no new one."""
        self._ask("POST", f"/proxies/{self._name}", {"enabled": False})

    def mend(self) -> None:
        """Take connections again, undisturbed."""
        self._ask("POST", f"/proxies/{self._name}", {"enabled": True})
        for toxic in self._ask("GET", f"/proxies/{self._name}/toxics"):
            self._ask("DELETE", f"/proxies/{self._name}/toxics/{toxic['name']}")

    def lose_answers(self, *, close_after_ms: int) -> None:
        """What is sent arrives; nothing comes back, then the connection is closed (0: never)."""
        self._ask(
            "POST", f"/proxies/{self._name}/toxics",
            {"type": "timeout", "stream": "downstream", "attributes": {"timeout": close_after_ms}},
        )  # fmt: skip

    def remove(self) -> None:
        self._ask("DELETE", f"/proxies/{self._name}")


@pytest.fixture
def postgres_proxy(postgres_server: PostgresServer) -> Iterator[Proxy]:
    """A way to the server that can be disturbed; skips where there is no toxiproxy."""
    api = os.environ.get(TOXIPROXY)
    if not api:
        pytest.skip(f"no server: wants the server {TOXIPROXY}")
    proxy = Proxy(api, f"postgres-{secrets.token_hex(6)}", postgres_server)
    yield proxy
    proxy.remove()
