from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from contract.eventlog_contract import EFFECT, EventLogContract
from vigie.platform.clock import ManualWallClock
from vigie.platform.database import EmbeddedDatabase, open_database
from vigie.platform.eventlog import EmbeddedEventLog, TopicSpec, open_event_log


class EmbeddedHarness:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualWallClock(1_700_000_000_000_000)
        self.database: EmbeddedDatabase
        self.log: EmbeddedEventLog
        self._left: list[EmbeddedDatabase] = []

    async def open(self) -> None:
        self.database = await open_database(self.path)
        self.log = await open_event_log(self.database, self.clock)
        async with self.database.transaction() as connection:
            await connection.run_sync(EFFECT.create, checkfirst=True)

    async def close(self) -> None:
        await self.log.close()
        await self.database.close()

    async def declare(self, topics: Sequence[TopicSpec]) -> None:
        await self.log.declare(topics)

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    async def crash(self) -> None:
        # The files as they are now, without the old process's last words: another directory.
        self._left.append(self.database)
        copy = self.path.parent.with_name(self.path.parent.name + "-crashed")
        copy.mkdir()
        for name in (self.path.name, self.path.name + "-wal"):
            source = self.path.with_name(name)
            if source.exists():
                (copy / name).write_bytes(source.read_bytes())
        self.path = copy / self.path.name
        await self.open()

    async def maintain(self) -> None:
        await self.log.maintain()

    async def end(self) -> None:
        await self.close()
        for database in self._left:
            await database.close()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[EmbeddedHarness]:
    made = EmbeddedHarness(tmp_path / "data" / "vigie.sqlite3")
    await made.open()
    yield made
    await made.end()


class TestEmbeddedEventLog(EventLogContract):
    """The embedded log keeps every promise of the port."""
