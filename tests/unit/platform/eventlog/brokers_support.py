"""Brokers in memory as aiokafka's clients show them: one topic, and a group that a test leads."""

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from aiokafka import TopicPartition

from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.database import EmbeddedDatabase
from vigie.platform.database.migrations import migrate
from vigie.platform.eventlog.kafka import KafkaEventLog
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.metrics import KafkaMetrics
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.eventlog.tables import CONSUMER_MIGRATIONS
from vigie.platform.metrics import MetricsRegistry

PARTITIONS = 3


class Brokers:
    """What stands at the brokers, and every client that was made for them."""

    def __init__(self) -> None:
        self.config = KafkaConfig(bootstrap=["127.0.0.1:1"], topic_prefix="t.")
        self.events_a_partition = 0
        self.consumers: list[MemoryConsumer] = []
        self.starting: asyncio.Event | None = None
        """Consumers have started when it is set; none: at once."""
        self.acknowledges = True
        self.unanswered: list[asyncio.Future[None]] = []
        """Of events that were handed to producers, and nobody has acknowledged."""
        self.fails: Exception | None = None
        """What looking for records, and starting a producer, fails with."""

    def consumer(self, group: str | None = None, assignor: Any = None) -> Any:
        """See `KafkaClients.consumer`."""
        made = MemoryConsumer(self, group, assignor)
        self.consumers.append(made)
        return made

    def producer(self, transactional_id: str | None = None) -> Any:
        """See `KafkaClients.producer`."""
        assert transactional_id is None
        return _MemoryProducer(self)

    def acknowledge(self) -> None:
        """Acknowledge everything that waits for it."""
        waiting, self.unanswered = self.unanswered, []
        for future in waiting:
            future.set_result(None)

    def admin(self) -> Any:
        """See `KafkaClients.admin`."""
        return _MemoryAdmin()

    @property
    def members(self) -> list["MemoryConsumer"]:
        """Who is a member of a group now."""
        return [one for one in self.consumers if one.listener is not None]

    def gives(self, *numbers: int) -> None:
        """Assign these partitions to the member."""
        (member,) = self.members
        topic = member.topics[0]
        member.assign([TopicPartition(topic, number) for number in numbers])
        member.listener.on_partitions_assigned(member.assignment())

    def rearranges(self) -> None:
        """Begin a rebalance, and give no word."""
        (member,) = self.members
        member.listener.on_partitions_revoked(member.assignment())


class MemoryConsumer:
    """One of aiokafka's consumers."""

    def __init__(self, brokers: Brokers, group: str | None, assignor: Any) -> None:
        self._brokers = brokers
        self.group = group
        self.assignor = assignor
        self.topics: Sequence[str] = ()
        self.listener: Any = None
        self.stopped = False
        self._assigned: set[TopicPartition] = set()
        self._places: dict[TopicPartition, int] = {}
        self._coordinator = SimpleNamespace(generation=1)

    async def start(self) -> None:
        if self._brokers.starting is not None:
            await self._brokers.starting.wait()

    async def stop(self) -> None:
        self.stopped, self.listener = True, None

    def subscribe(self, topics: Sequence[str], *, listener: Any) -> None:
        self.topics, self.listener = topics, listener

    def assign(self, names: Sequence[TopicPartition]) -> None:
        self._assigned = set(names)

    def assignment(self) -> set[TopicPartition]:
        return set(self._assigned)

    def pause(self, *names: TopicPartition) -> None:
        assert set(names) <= self._assigned

    def resume(self, *names: TopicPartition) -> None:
        assert set(names) <= self._assigned

    def seek(self, name: TopicPartition, offset: int) -> None:
        self._places[name] = offset

    async def position(self, name: TopicPartition) -> int:
        return self._places[name]

    async def beginning_offsets(self, names: Sequence[TopicPartition]) -> Mapping[Any, int]:
        return dict.fromkeys(names, 0)

    async def end_offsets(self, names: Sequence[TopicPartition]) -> Mapping[Any, int]:
        return dict.fromkeys(names, self._brokers.events_a_partition)

    async def getmany(
        self, *, timeout_ms: int, max_records: int | None = None
    ) -> Mapping[TopicPartition, list[Any]]:
        assert max_records is None or max_records > 0
        if self._brokers.fails is not None:
            raise self._brokers.fails
        await asyncio.sleep(timeout_ms / 1000)
        return {}


class _MemoryProducer:
    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers

    async def start(self) -> None:
        if self._brokers.fails is not None:
            raise self._brokers.fails

    async def stop(self) -> None: ...

    async def flush(self) -> None:
        await asyncio.gather(*self._brokers.unanswered, return_exceptions=True)

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> "asyncio.Future[None]":
        assert topic.startswith(self._brokers.config.topic_prefix)
        assert value is None or (key and headers)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._brokers.unanswered.append(future)
        if self._brokers.acknowledges:
            self._brokers.acknowledge()
        return future


class _MemoryAdmin:
    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def describe_topics(self, topics: Sequence[str]) -> list[dict[str, Any]]:
        one = {"replicas": [1, 2], "isr": [1, 2], "leader": 1}
        partitions = [{"partition": n} | one for n in range(PARTITIONS)]
        return [{"error_code": 0, "topic": topic, "partitions": partitions} for topic in topics]


async def log_at(
    brokers: Brokers,
    database: EmbeddedDatabase | None,
    clock: ManualMonotonicClock,
    *,
    without_word_seconds: float = 30.0,
) -> KafkaEventLog:
    """A log at these brokers; its outbox is not published."""
    if database is not None:
        await migrate(database, CONSUMER_MIGRATIONS)
    return KafkaEventLog(
        cast("KafkaClients", brokers),
        database,
        ManualWallClock(1_000_000),
        clock,
        KafkaMetrics(MetricsRegistry(), "test"),
        without_word_seconds=without_word_seconds,
    )
