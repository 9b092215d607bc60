"""Membership in a consumer group: which partitions this process has been assigned.

aiokafka knows Kafka's eager protocol: at every rebalance it says that everything is revoked, then
what is assigned. Whoever looks at `assigned` therefore compares two assignments, and holds on to
what it has in between.
"""

import asyncio
from typing import Any, Final

import structlog

from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.failures import closed, started
from vigie.platform.eventlog.kafka.metrics import KafkaMetrics
from vigie.platform.eventlog.wake import WakeUp

log = structlog.get_logger(__name__)
_GRACE_SECONDS: Final = 0.05
WITHOUT_ASSIGNMENT_SECONDS: Final = 20.0
"""A group that is rearranged gives its word well before, where all goes well."""


class Membership:
    """A consumer that is a member of a group on one topic.

    Args:
        clients: makes the consumer.
        clock: counts since when nothing is assigned.
        metrics: what is counted.
        topic: own name of the topic.
        group: own name of the group.
    """

    def __init__(
        self,
        clients: KafkaClients,
        clock: MonotonicClock,
        metrics: KafkaMetrics,
        *,
        topic: str,
        group: str,
    ) -> None:
        prefix = clients.config.topic_prefix
        self.topic = topic
        self.group = group
        self.broker_topic = prefix + topic
        self._broker_group = prefix + group
        self._clients = clients
        self._clock = clock
        self._without_since_us = clock.now_us()
        self._metrics = metrics
        self._labels = (topic, group)
        self.consumer: Any = None
        self.version = 0
        """Changes with every word of the group."""
        self.assigned: frozenset[int] | None = None
        """What is assigned now; ``None`` while the group is being rearranged, or not joined."""
        self.generation = 0
        """Of the last assignment; increases."""
        self.changed = WakeUp()
        self._closed = False

    def not_ready(self) -> str | None:
        """That the group has not said for too long what is this member's; else ``None``.

        An assignment of nothing is one: there are more members than partitions.
        """
        if self.assigned is not None:
            return None
        seconds = (self._clock.now_us() - self._without_since_us) / MICROSECONDS_PER_SECOND
        # A group waits so long for a member that does not come back.
        patience_seconds = 2 * self._clients.config.session_timeout_seconds
        if seconds < max(WITHOUT_ASSIGNMENT_SECONDS, patience_seconds):
            return None
        return f"group {self.group} has assigned nothing of {self.topic} since {seconds:.0f} s"

    async def join(self) -> None:
        """Become a member; the assignment follows. Does nothing for a member, or after `close`.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        if self.consumer is not None or self._has_left():
            return
        assignor = _assignor()
        consumer = self._clients.consumer(self._broker_group, assignor)
        await started(self._clients, consumer, f"cannot join the readers of {self.topic}")
        if self._has_left():
            # Meanwhile, and `close` found nothing to close. In the group nobody would read for it.
            await closed(consumer)
            return
        self.consumer = consumer
        consumer.subscribe([self.broker_topic], listener=_listener(self, assignor))

    async def leave(self) -> None:
        """Leave the group, so that the others take over at once (idempotent)."""
        consumer, self.consumer = self.consumer, None
        self._word(None)
        self._metrics.partitions.labels(*self._labels).set(0)
        if consumer is not None:
            await closed(consumer, seconds=self._clients.config.session_timeout_seconds + 2.0)

    async def close(self) -> None:
        """Leave the group for good, also while it is being joined (idempotent)."""
        self._closed = True
        await self.leave()

    async def records(self, seconds: float, most: int | None = None) -> list[Any]:
        """What the brokers have for this member, after at most ``seconds``.

        Returns at once, with nothing, when the group says something new. Also the way in which a
        member learns that it may not be one.

        Raises:
            KafkaError: see `vigie.platform.eventlog.kafka.failures`.
        """
        version, changed = self.version, self.changed.ticket()
        polling = asyncio.ensure_future(
            self.consumer.getmany(timeout_ms=max(0, round(seconds * 1000)), max_records=most)
        )
        try:
            # While the group is rearranged, aiokafka waits for its end, whatever it was told.
            waiting: set[asyncio.Future[Any]] = {polling, changed}
            await asyncio.wait(
                waiting, timeout=seconds + _GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not polling.done() or self.version != version:
                return []
            return [record for records in polling.result().values() for record in records]
        finally:
            # Waiting for records is where it can be cancelled: none is taken and lost.
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    def partition(self, number: int) -> Any:
        """The brokers' name of a partition."""
        from aiokafka import TopicPartition

        return TopicPartition(self.broker_topic, number)

    def _has_left(self) -> bool:
        return self._closed

    def _word(self, assigned: frozenset[int] | None) -> None:
        if assigned is None and self.assigned is not None:
            self._without_since_us = self._clock.now_us()
        self.version += 1
        self.assigned = assigned
        self.changed.wake()

    def revoked(self) -> None:
        """The group is being rearranged."""
        self._word(None)

    def given(self, assigned: frozenset[int], generation: int) -> None:
        """The group has given this member these partitions."""
        self.generation = max(self.generation + 1, generation)
        self._word(assigned)
        self._metrics.rebalances.labels(*self._labels).inc()
        self._metrics.partitions.labels(*self._labels).set(len(assigned))
        log.info(
            "partitions_assigned",
            topic=self.topic,
            group=self.group,
            count=len(assigned),
            generation=self.generation,
        )


def _assignor() -> Any:
    """A sticky assignor of its own: aiokafka keeps what a member has in its class."""
    from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

    own = {"member_assignment": None, "generation": StickyPartitionAssignor.DEFAULT_GENERATION_ID}
    return type("OwnStickyAssignor", (StickyPartitionAssignor,), own)


def _listener(membership: Membership, assignor: Any) -> Any:
    from aiokafka import ConsumerRebalanceListener

    class Listener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
        def on_partitions_revoked(self, revoked: Any) -> None:
            membership.revoked()

        def on_partitions_assigned(self, assigned: Any) -> None:
            consumer = membership.consumer
            if consumer is None:
                return
            # The leader of the group prefers the newest of two members that claim a partition.
            generation = consumer._coordinator.generation  # noqa: SLF001 - aiokafka never tells it
            assignor.on_generation_assignment(generation)
            # Nothing is fetched before whoever reads has said from where.
            consumer.pause(*assigned)
            membership.given(frozenset(one.partition for one in assigned), generation)

    return Listener()
