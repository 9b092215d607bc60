"""Members of a consumer group on the embedded log: one is active, the others wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog.port import StoredEvent
from vigie.platform.eventlog.positions import Held, HeldPositions
from vigie.platform.eventlog.wake import WakeUp, wait_for

if TYPE_CHECKING:
    from vigie.platform.database.embedded import EmbeddedDatabase
    from vigie.platform.eventlog.embedded import EmbeddedEventLog


class GroupMembers:
    """The members of one group on one topic, in the order in which they came."""

    def __init__(self) -> None:
        self.queue: deque[EmbeddedSubscription] = deque()
        self.changed = WakeUp()


class EmbeddedSubscription:
    """See `vigie.platform.eventlog.port.Subscription`.

    The first member of a group is active. The others receive nothing until it closes; then the
    next one starts at the committed position. So events of one key are never in two hands.
    """

    def __init__(
        self,
        log: EmbeddedEventLog,
        database: EmbeddedDatabase,
        topic: str,
        group: str,
        members: GroupMembers,
    ) -> None:
        self._log = log
        self._topic = topic
        self._group = group
        self._members = members
        self._positions = HeldPositions(database, topic, group)
        self._closed = False
        members.queue.append(self)

    @property
    def active(self) -> bool:
        """Whether this member is the one that receives."""
        return bool(self._members.queue) and self._members.queue[0] is self

    async def fetch(self, *, max_events: int, timeout_seconds: float) -> Sequence[StoredEvent]:
        """See `Subscription.fetch`.

        Raises:
            VigieError: STOPPING when the log is closed; DATABASE_UNAVAILABLE.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        grown = (await self._log.topic(self._topic)).grown
        while True:
            self._log.raise_if_closed()
            ticket = grown.ticket() if self.active else self._members.changed.ticket()
            if self.active and (batch := await self._next(max_events)):
                return batch
            remaining = deadline - loop.time()
            if self._closed or remaining <= 0 or not await wait_for(ticket, remaining):
                return []

    async def commit(
        self, events: Sequence[StoredEvent], *, connection: AsyncConnection | None = None
    ) -> None:
        """See `Subscription.commit`; a position never moves back."""
        await self._positions.commit(events, connection)

    async def rewind(self) -> None:
        """See `Subscription.rewind`."""
        self._positions.held.clear()

    async def lag(self) -> int:
        """See `Subscription.lag`."""
        return await self._log.lag(self._topic, self._group)

    def not_ready(self) -> str | None:
        """See `Subscription.not_ready`: who waits here takes over when the first one closes."""
        return None

    async def close(self) -> None:
        """See `Subscription.close` (idempotent)."""
        self._closed = True
        self._positions.held.clear()
        if self in self._members.queue:
            self._members.queue.remove(self)
        self._members.changed.wake()
        (await self._log.topic(self._topic)).grown.wake()

    async def _next(self, max_events: int) -> list[StoredEvent]:
        if (held := self._positions.held.get(0)) is None:
            held = Held.at((await self._positions.stored()).get(0))
            self._positions.held[0] = held
        batch = await self._log.batch(self._topic, held.delivered, max_events)
        if batch:
            held.delivered = batch[-1].position.offset
        return batch
