"""A member of a consumer group whose positions stand in the consumer's own database.

Kafka says who has which partition; the database says from where, and has the last word: a
position moves by compare-and-set (see `vigie.platform.eventlog.positions`). So it does not matter
what a member believes that was paused, cut off or thrown out: of two that process the same events
only one can commit.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from vigie.platform.clock import MonotonicClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.port import Database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.failures import failures, unavailable
from vigie.platform.eventlog.kafka.membership import Membership
from vigie.platform.eventlog.kafka.metrics import KafkaMetrics
from vigie.platform.eventlog.kafka.offsets import Limits, Offsets
from vigie.platform.eventlog.kafka.records import stored_event
from vigie.platform.eventlog.port import StoredEvent
from vigie.platform.eventlog.positions import Held, HeldPositions
from vigie.platform.reasons import POSITION_BEYOND_END, STOPPING

log = structlog.get_logger(__name__)
_NOT_APPLIED: Final = -1


class KafkaSubscription:
    """See `vigie.platform.eventlog.port.Subscription`.

    Args:
        clients: makes the consumer.
        database: of the context that consumes: positions stand there.
        offsets: tells how far the topic reaches.
        clock: counts since when nothing is assigned.
        metrics: what is counted.
        topic: own name of the topic.
        group: own name of the group.
        on_close: told when it has left.
    """

    def __init__(
        self,
        clients: KafkaClients,
        database: Database,
        offsets: Offsets,
        clock: MonotonicClock,
        metrics: KafkaMetrics,
        *,
        topic: str,
        group: str,
        on_close: Callable[["KafkaSubscription"], None],
    ) -> None:
        self._clients = clients
        self._offsets = offsets
        self._metrics = metrics
        self._topic = topic
        self._group = group
        self._on_close = on_close
        self._member = Membership(clients, clock, metrics, topic=topic, group=group)
        self._positions = HeldPositions(database, topic, group)
        self._applied = _NOT_APPLIED
        self._log_closed = False
        self._closed = False

    async def join(self) -> None:
        """Become a member of the group.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        await self._member.join()

    async def fetch(self, *, max_events: int, timeout_seconds: float) -> Sequence[StoredEvent]:
        """See `Subscription.fetch`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while True:
            self._raise_if_log_closed()
            remaining = deadline - loop.time()
            if self._has_left():
                return []
            try:
                await self._member.join()
                if self._has_left():
                    continue
                await self._take_over()
                records = await self._member.records(max(0.0, remaining), max_events)
                if events := self._accepted(records):
                    return events
            except failures() as error:
                if self._has_left():
                    continue
                await self._begin_anew()
                raise unavailable(self._clients, f"cannot read {self._topic}", error) from error
            if loop.time() >= deadline:
                self._raise_if_log_closed()
                return []

    async def commit(
        self, events: Sequence[StoredEvent], *, connection: AsyncConnection | None = None
    ) -> None:
        """See `Subscription.commit`."""
        await self._positions.commit(events, connection)

    async def rewind(self) -> None:
        """See `Subscription.rewind`."""
        self._positions.held.clear()
        self._applied = _NOT_APPLIED

    def not_ready(self) -> str | None:
        """See `Subscription.not_ready`."""
        return self._member.not_ready()

    async def lag(self) -> int | None:
        """See `Subscription.lag`."""
        consumer, held = self._member.consumer, dict(self._positions.held)
        if consumer is None or self._member.assigned is None:
            return None
        if self._applied != self._member.version:
            return None
        limits = await self._offsets.limits(self._topic, held)
        if self._applied != self._member.version:
            # The group was rearranged meanwhile. `fetch` says from where the new partitions are
            # read: who waited here for their positions would wait for ever.
            return None
        behind = 0
        try:
            for number, own in held.items():
                following, name = own.base + 1, self._member.partition(number)
                if own.base == own.delivered and name in consumer.assignment():
                    # Past marks of transactions, which are no events.
                    following = max(following, await consumer.position(name))
                behind += max(0, limits[number].end - following)
        except failures() as error:
            raise unavailable(self._clients, f"cannot read {self._topic}", error) from error
        return behind

    async def close(self) -> None:
        """See `Subscription.close` (idempotent)."""
        if self._closed:
            return
        self._closed = True
        self._positions.held.clear()
        self._on_close(self)
        await self._member.close()

    async def log_closed(self) -> None:
        """The log is closed: whoever waits is told STOPPING."""
        self._log_closed = True
        await self.close()

    def _has_left(self) -> bool:
        return self._closed

    def _raise_if_log_closed(self) -> None:
        if self._log_closed:
            raise VigieError(STOPPING, "the event log is closed")

    async def _begin_anew(self) -> None:
        self._positions.held.clear()
        self._applied = _NOT_APPLIED
        await self._member.leave()

    async def _take_over(self) -> None:
        """Bring what is fetched in line with the last word of the group, if there is one.

        What was held before and still stands where this member left it goes on behind what was
        delivered; everything else begins at its committed position.
        """
        member = self._member
        while self._applied != member.version:
            version, assigned = member.version, member.assigned
            if assigned is None:
                return
            stored = await self._positions.stored()
            if version != member.version:
                continue
            limits = await self._offsets.limits(self._topic, assigned)
            if version != member.version:
                continue
            before, now = self._positions.held, dict[int, Held]()
            for number in sorted(assigned):
                row = stored.get(number)
                known = before.get(number)
                if known is None or known.row != row:
                    known = Held.at(row, limits[number].begin - 1)
                    self._check(number, row, limits[number])
                now[number] = known
                member.consumer.seek(member.partition(number), known.delivered + 1)
            self._positions.held = now
            member.consumer.resume(*(member.partition(number) for number in assigned))
            self._applied = version

    def _check(self, number: int, row: int | None, limits: Limits) -> None:
        if row is None:
            return
        begin, end = limits.begin, limits.end
        if row >= end:
            raise VigieError(
                POSITION_BEYOND_END,
                f"group {self._group} has read {self._topic}, partition {number}, up to {row}, "
                f"but it ends at {end - 1}",
                topic=self._topic,
                group=self._group,
            )
        if row + 1 < begin:
            missed = begin - row - 1
            self._metrics.expired_unread.labels(self._topic, self._group).inc(missed)
            log.error(
                "events_expired_unread",
                topic=self._topic,
                group=self._group,
                partition=number,
                count=missed,
            )

    def _accepted(self, records: Sequence[Any]) -> list[StoredEvent]:
        """Those of partitions held now that were not delivered before."""
        if self._applied != self._member.version:
            return []
        events: list[StoredEvent] = []
        for record in records:
            held = self._positions.held.get(record.partition)
            if held is None or record.offset <= held.delivered:
                continue
            held.delivered = record.offset
            events.append(stored_event(self._topic, record))
        return events
