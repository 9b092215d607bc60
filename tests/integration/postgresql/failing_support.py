"""What the tests of a failing database share: a counter, and the one clear line of an error."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from servers_postgres import TestDatabase
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.postgresql.connect import Login
from vigie.platform.database.postgresql.database import PostgresqlDatabase
from vigie.platform.errors import VigieError

COUNTER = sa.Table(
    "counter",
    sa.MetaData(),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)
NOW_US = 1_772_323_200_000_000  # 2026-03-01T00:00:00Z


@asynccontextmanager
async def opened(login: Login, **options: Any) -> AsyncIterator[PostgresqlDatabase]:
    database = PostgresqlDatabase(login, **options)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def schema(postgres_database: TestDatabase, empty_schema: str) -> str:
    """A schema with a counter that stands at zero."""
    async with (
        opened(postgres_database.login(empty_schema)) as database,
        database.transaction() as connection,
    ):
        await connection.run_sync(COUNTER.create)
        await connection.execute(sa.insert(COUNTER), {"name": "a", "value": 0})
    return empty_schema


async def increment(connection: AsyncConnection) -> None:
    """Read, then write: what another does in between would be lost."""
    value = await connection.scalar(sa.select(COUNTER.c.value))
    await connection.execute(sa.update(COUNTER).values(value=value + 1))


def value_of(made: TestDatabase, schema: str) -> Awaitable[int]:
    async def ask() -> int:
        rows = await made.execute(f"SELECT value FROM {schema}.counter")
        return int(rows[0]["value"])

    return ask()


def terminate(made: TestDatabase, schema: str) -> Awaitable[object]:
    """End every session of a test from the server's side, as a restart does."""
    return made.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE application_name = 'test {schema}'"
    )


def one_line(error: VigieError) -> str:
    assert error.reason.name == "DATABASE_UNAVAILABLE"
    assert "\n" not in error.message
    assert "Traceback" not in error.message
    return error.message
