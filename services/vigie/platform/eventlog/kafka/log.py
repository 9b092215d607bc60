"""The event log over Apache Kafka: one object for each context of a process.

- Direct appends: `vigie.platform.eventlog.kafka.publisher`.
- Appends within a transaction: `…kafka.outbox` and `…kafka.relay`.
- Consumer groups: `…kafka.subscription`; shares of a compacted topic: `…kafka.assignment`.
- Reading without a group: `…kafka.reading`.

Nothing is connected before it is needed: a process starts while the brokers are away, and says so.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.migrations import migrate
from vigie.platform.database.port import Database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka import outbox
from vigie.platform.eventlog.kafka.assignment import WITHOUT_WORD_SECONDS, KafkaShare
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.installation import INSTALLATION_TOPIC, Identity, identify
from vigie.platform.eventlog.kafka.metrics import KafkaMetrics
from vigie.platform.eventlog.kafka.offsets import Offsets
from vigie.platform.eventlog.kafka.publisher import Publisher
from vigie.platform.eventlog.kafka.reading import Reading, offsets_of, to_the_end
from vigie.platform.eventlog.kafka.records import checked_size, headers_of
from vigie.platform.eventlog.kafka.relay import Relay
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.eventlog.kafka.subscription import KafkaSubscription
from vigie.platform.eventlog.kafka.topics import TopicAdmin, largest_event
from vigie.platform.eventlog.port import Event, Position, StoredEvent, TopicSpec
from vigie.platform.eventlog.tables import CONSUMER_MIGRATIONS
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.reasons import (
    EVENT_LOG_UNAVAILABLE,
    STOPPING,
    TOPIC_MISMATCH,
    TOPIC_UNKNOWN,
)

_FOLLOW_SECONDS: Final = 1.0
_PROBE_SECONDS: Final = 30.0
"""After so long without an event a follower asks whether the brokers are there."""


class KafkaEventLog:
    """See `vigie.platform.eventlog.port.EventLog`. Make one with `open_kafka_event_log`."""

    def __init__(
        self,
        clients: KafkaClients,
        database: Database | None,
        wall_clock: WallClock,
        monotonic_clock: MonotonicClock,
        metrics: KafkaMetrics,
        *,
        faults: FaultPoints = NO_FAULTS,
        without_word_seconds: float = WITHOUT_WORD_SECONDS,
        identity: Identity | None = None,
    ) -> None:
        self._clients = clients
        self._database = database
        self._wall_clock = wall_clock
        self._clock = monotonic_clock
        self._metrics = metrics
        self._without_word_seconds = without_word_seconds
        self._identity = identity
        self._admin = TopicAdmin(clients)
        self._offsets = Offsets(clients)
        self._publisher = Publisher(clients, monotonic_clock, metrics)
        self._relay = (
            None
            if database is None
            else Relay(clients, database, wall_clock, monotonic_clock, metrics, faults=faults)
        )
        self._partitions: dict[str, int] = {}
        self._largest: dict[str, int] = {}
        self._members: set[KafkaSubscription | KafkaShare] = set()
        self._readings: set[Reading] = set()
        self._closed = False

    def start(self) -> None:
        """Publish the outbox in the background, if this context has a database."""
        if self._relay is not None:
            self._relay.start()

    def not_ready(self) -> str | None:
        """Why events are not getting out now, in one line; ``None`` when they are."""
        relay = None if self._relay is None else self._relay.trouble
        return self._publisher.trouble or relay

    def stuck(self) -> str | None:
        """Why events have not been getting out for long, though the brokers may answer.

        ``None`` also while that is so for a moment only: a broker that goes hands over to others.
        """
        relay = None if self._relay is None else self._relay.stuck()
        return self._publisher.stuck() or relay

    async def check(self) -> None:
        """Ask the brokers for their topics.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        await self._admin.partitions([self._broker(name) for name in self._partitions])

    async def declare(self, topics: Sequence[TopicSpec]) -> None:
        """See `EventLog.declare`: checks; `vigie topics apply` makes and changes topics.

        The first time, whose topics they are is compared too (EVENT_LOG_OF_ANOTHER).
        """
        own = [] if self._identity is None else [INSTALLATION_TOPIC]
        differences = await self._admin.differences([*topics, *own])
        if differences:
            raise VigieError(
                TOPIC_MISMATCH,
                "; ".join(str(one) for one in differences)
                + " (`vigie topics diff` shows it, `vigie topics apply` mends it)",
            )
        if self._identity is not None:
            await identify(self._clients, self._publisher, self._identity, self._wall_clock)
            self._identity = None
        self._partitions.update({spec.name: spec.partitions for spec in topics})
        config = self._clients.config
        self._largest.update({spec.name: largest_event(spec, config) for spec in topics})

    async def append(
        self, topic: str, events: Sequence[Event], *, connection: AsyncConnection | None = None
    ) -> None:
        """See `EventLog.append`."""
        if self._closed:
            raise VigieError(EVENT_LOG_UNAVAILABLE, "the event log is closed")
        if connection is None:
            await self._count(topic)
            if events:
                await self._publisher.publish(topic, events)
            return
        if self._database is None or self._relay is None:
            raise RuntimeError("a log without a database has no outbox")
        if topic not in self._partitions:
            # The brokers are not asked within a transaction: every topic is declared at the start.
            raise _unknown(topic)
        if not events:
            return
        most = self._largest.get(topic, self._clients.config.max_event_bytes)
        for event in events:
            checked_size(event, headers_of(event), most)
        await outbox.put(connection, topic, events, self._wall_clock.now_us())
        self._database.on_commit(connection, self._relay.wake)

    async def subscribe(self, topic: str, group: str) -> KafkaSubscription:
        """See `EventLog.subscribe`."""
        if self._database is None:
            raise RuntimeError("a log without a database has no positions")
        await self._count(topic)
        made = KafkaSubscription(
            self._clients,
            self._database,
            self._offsets,
            self._clock,
            self._metrics,
            topic=topic,
            group=group,
            on_close=self._members.discard,
        )
        # Known before it joins: closing the log ends what is on its way, too.
        self._members.add(made)
        try:
            await made.join()
            self._raise_if_closed()
        except BaseException:
            await made.close()
            raise
        return made

    async def share(self, topic: str, group: str) -> KafkaShare:
        """See `EventLog.share`."""
        await self._count(topic)
        made = KafkaShare(
            self._clients,
            self._clock,
            self._metrics,
            topic=topic,
            group=group,
            on_close=self._members.discard,
            without_word_seconds=self._without_word_seconds,
        )
        self._members.add(made)
        return made

    async def read(
        self,
        topic: str,
        *,
        after: Position | Sequence[Position] | None = None,
        follow: bool = False,
    ) -> AsyncIterator[StoredEvent]:
        """See `EventLog.read`."""
        self._raise_if_closed()
        partitions = range(await self._count(topic))
        patience = self._clients.config.request_timeout_seconds
        reading = Reading(self._clients, topic)
        self._readings.add(reading)
        try:
            places = await reading.begin(partitions, offsets_of(after))
            if not follow:
                async for stored in to_the_end(reading, places, patience):
                    yield stored
                return
            silent_since_us = self._clock.now_us()
            while True:
                events = await reading.poll(_FOLLOW_SECONDS)
                for stored in events:
                    yield stored
                now_us = self._clock.now_us()
                if events:
                    silent_since_us = now_us
                elif now_us - silent_since_us > _PROBE_SECONDS * 1_000_000:
                    await reading.probe(partitions)
                    silent_since_us = now_us
        finally:
            self._readings.discard(reading)
            await reading.close()

    async def leads(self, connection: AsyncConnection) -> bool:
        """See `EventLog.leads`: who publishes the outbox has the turn for the rest, too."""
        return self._relay is not None and await self._relay.has_turn(connection)

    async def ends(self, topic: str) -> Sequence[Position]:
        """See `EventLog.ends`."""
        self._raise_if_closed()
        found = await self._offsets.limits(topic, range(await self._count(topic)))
        return [
            Position(number, limits.end - 1)
            for number, limits in sorted(found.items())
            if limits.end > limits.begin
        ]

    async def drain(self, *, timeout_seconds: float) -> bool:
        """Wait until the outbox is published; false after the time-out."""
        if self._relay is None:
            return True
        return await self._relay.drain(timeout_seconds=timeout_seconds)

    async def close(self) -> None:
        """Finish what is on its way, leave every group, wake every reader (who gets STOPPING)."""
        self._closed = True
        for member in tuple(self._members):
            if isinstance(member, KafkaSubscription):
                await member.log_closed()
            else:
                await member.close()
        for reading in tuple(self._readings):
            await reading.close()
        if self._relay is not None:
            await self._relay.stop()
        await self._publisher.close()
        await self._offsets.close()

    async def kill(self) -> None:
        """End as a killed process does, as far as the database can tell; for tests.

        The outbox is left as it is and the turn is not given back. (The groups are left, which a
        killed process does not do: others wait for the session time-out then.)
        """
        self._closed = True
        if self._relay is not None:
            await self._relay.kill()
        for member in tuple(self._members):
            await member.close()

    def _broker(self, topic: str) -> str:
        return self._clients.config.topic_prefix + topic

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise VigieError(STOPPING, "the event log is closed")

    async def _count(self, topic: str) -> int:
        """How many partitions a topic has; raises TOPIC_UNKNOWN."""
        if topic not in self._partitions:
            name = self._broker(topic)
            found = await self._admin.partitions([name])
            if name not in found:
                raise _unknown(topic)
            self._partitions[topic] = found[name]
        return self._partitions[topic]


def _unknown(topic: str) -> VigieError:
    return VigieError(TOPIC_UNKNOWN, f"topic {topic} was never declared", topic=topic)


async def open_kafka_event_log(
    config: KafkaConfig,
    database: Database | None,
    wall_clock: WallClock,
    monotonic_clock: MonotonicClock,
    *,
    metrics: MetricsRegistry | None = None,
    client_name: str = "vigie",
    context: str = "",
    faults: FaultPoints = NO_FAULTS,
    without_word_seconds: float = WITHOUT_WORD_SECONDS,
    identity: Identity | None = None,
) -> KafkaEventLog:
    """Bring the outbox's and the consumers' tables up to date and open the log.

    The brokers are not asked: they may be away.

    Args:
        config: section ``[kafka]``.
        database: of the context, for outbox and positions; ``None``: it has none, and only appends
            directly, reads and shares.
        wall_clock: when events entered the outbox.
        monotonic_clock: for waiting.
        metrics: what is counted goes there.
        client_name: how the brokers' logs name this process.
        context: how its metrics name this log.
        faults: where tests strike.
        without_word_seconds: see `vigie.platform.eventlog.kafka.assignment`.
        identity: compared with the mark in the topics when they are declared; ``None``: not.

    Raises:
        VigieError: DATA_NEWER_THAN_PROGRAM, DATABASE_UNAVAILABLE.
    """
    if database is not None:
        await migrate(database, outbox.OUTBOX_MIGRATIONS)
        await migrate(database, CONSUMER_MIGRATIONS)
    made = KafkaEventLog(
        KafkaClients(config, client_name),
        database,
        wall_clock,
        monotonic_clock,
        KafkaMetrics(metrics or MetricsRegistry(), context),
        faults=faults,
        without_word_seconds=without_word_seconds,
        identity=identity,
    )
    made.start()
    return made
