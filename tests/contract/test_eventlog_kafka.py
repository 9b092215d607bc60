from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from contract.eventlog_contract import EFFECT, EventLogContract
from servers_kafka import kafka_bootstrap, kafka_config
from vigie.platform.clock import ManualWallClock, SystemMonotonicClock
from vigie.platform.database import EmbeddedDatabase, open_database
from vigie.platform.eventlog import TopicSpec
from vigie.platform.eventlog.kafka import KafkaConfig, KafkaEventLog, open_kafka_event_log
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.topics import TopicAdmin

pytestmark = pytest.mark.needs_server
__all__ = ["kafka_bootstrap", "kafka_config"]


class KafkaHarness:
    """The brokers, and a context's database in a file of its own."""

    def __init__(self, config: KafkaConfig, path: Path) -> None:
        self.config = config
        self.path = path
        self.clock = ManualWallClock(1_700_000_000_000_000)
        self.database: EmbeddedDatabase
        self.log: KafkaEventLog
        self._declared: list[TopicSpec] = []
        self._left: list[tuple[KafkaEventLog, EmbeddedDatabase]] = []

    async def open(self) -> None:
        self.database = await open_database(self.path)
        self.log = await open_kafka_event_log(
            self.config, self.database, self.clock, SystemMonotonicClock()
        )
        async with self.database.transaction() as connection:
            await connection.run_sync(EFFECT.create, checkfirst=True)
        if self._declared:
            await self.log.declare(self._declared)

    async def close(self) -> None:
        await self.log.close()
        await self.database.close()

    async def declare(self, topics: Sequence[TopicSpec]) -> None:
        admin = TopicAdmin(KafkaClients(self.config))
        missing = [one for one in await admin.differences(topics) if one.missing]
        await admin.apply(topics, missing)
        await self.log.declare(topics)
        self._declared = [*topics]

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    async def crash(self) -> None:
        # The database as it is now, without the old process's last words; nothing of the old
        # process publishes any more.
        await self.log.kill()
        self._left.append((self.log, self.database))
        copy = self.path.parent.with_name(self.path.parent.name + "-crashed")
        copy.mkdir()
        for name in (self.path.name, self.path.name + "-wal"):
            source = self.path.with_name(name)
            if source.exists():
                (copy / name).write_bytes(source.read_bytes())
        self.path = copy / self.path.name
        await self.open()

    async def maintain(self) -> None:
        """Kafka compacts by itself, whenever it likes."""

    async def end(self) -> None:
        await self.close()
        for log, database in self._left:
            await log.close()
            await database.close()


@pytest.fixture
async def harness(kafka_config: KafkaConfig, tmp_path: Path) -> AsyncIterator[KafkaHarness]:
    made = KafkaHarness(kafka_config, tmp_path / "data" / "vigie.sqlite3")
    await made.open()
    yield made
    await made.end()


class TestKafkaEventLog(EventLogContract):
    """The log over Kafka keeps every promise of the port."""
