from collections.abc import AsyncIterator

import pytest

from contract.database_contract import THING, DatabaseContract
from servers_postgres import TestDatabase, empty_schema, postgres_database, postgres_server
from vigie.platform.database.postgresql.database import PostgresqlDatabase

__all__ = ["empty_schema", "postgres_database", "postgres_server"]


class PostgresqlHarness:
    def __init__(self, made: TestDatabase, schema: str) -> None:
        self._login = made.login(schema)
        self.database = PostgresqlDatabase(self._login, migrates_itself=True)

    async def reopen(self) -> None:
        await self.database.close()
        self.database = PostgresqlDatabase(self._login, migrates_itself=True)


@pytest.fixture
async def harness(
    postgres_database: TestDatabase, empty_schema: str
) -> AsyncIterator[PostgresqlHarness]:
    made = PostgresqlHarness(postgres_database, empty_schema)
    async with made.database.transaction() as connection:
        await connection.run_sync(THING.create)
    yield made
    await made.database.close()


class TestPostgresqlDatabase(DatabaseContract):
    """PostgreSQL keeps every promise of the port."""
