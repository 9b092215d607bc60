from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.database_contract import THING, DatabaseContract
from vigie.platform.database import EmbeddedDatabase, open_database


class EmbeddedHarness:
    def __init__(self, database: EmbeddedDatabase) -> None:
        self.database = database

    async def reopen(self) -> None:
        await self.database.close()
        self.database = await open_database(self.database.path)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[EmbeddedHarness]:
    made = EmbeddedHarness(await open_database(tmp_path / "data" / "vigie.sqlite3"))
    async with made.database.transaction() as connection:
        await connection.run_sync(THING.create)
    yield made
    await made.database.close()


class TestEmbeddedDatabase(DatabaseContract):
    """SQLite keeps every promise of the port."""
