"""The share of the only member: the embedded log has one process and one partition."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from vigie.platform.errors import VigieError
from vigie.platform.eventlog.port import Change, EventLog, Gained, Position, StoredEvent, Told
from vigie.platform.eventlog.wake import WakeUp
from vigie.platform.reasons import STOPPING

ALL: Final = frozenset({0})


class NewestOfKeys:
    """Gathers events, in the order of the log, into the newest of every key."""

    def __init__(self) -> None:
        self._events: dict[str, StoredEvent] = {}

    def add(self, stored: StoredEvent) -> None:
        """Take the next event in."""
        self._events.pop(stored.event.key, None)
        if stored.event.value is not None:
            self._events[stored.event.key] = stored

    def events(self) -> tuple[StoredEvent, ...]:
        """What is left, in the order of the log."""
        return tuple(self._events.values())


class EmbeddedShare:
    """See `vigie.platform.eventlog.port.Share`: gains everything once and loses it never."""

    def __init__(self, event_log: EventLog, topic: str) -> None:
        self._log = event_log
        self._topic = topic
        self._partitions: frozenset[int] = frozenset()
        self._closed = False
        self._closing = WakeUp()

    @property
    def partitions(self) -> frozenset[int]:
        """See `Share.partitions`."""
        return self._partitions

    async def changes(self) -> AsyncIterator[Change]:
        """See `Share.changes`."""
        newest, after = NewestOfKeys(), Position(0, -1)
        async for stored in self._log.read(self._topic):
            newest.add(stored)
            after = stored.position
        self._raise_if_closed()
        self._partitions = ALL
        yield Gained(ALL, 1, newest.events())
        following = aiter(self._log.read(self._topic, after=after, follow=True))
        closing = self._closing.ticket()
        try:
            while True:
                self._raise_if_closed()
                yield Told(await _next_unless(following, closing))
        finally:
            await following.aclose()  # type: ignore[attr-defined] # `read` is a generator

    def not_ready(self) -> str | None:
        """See `Share.not_ready`."""
        return None if self._partitions else f"topic {self._topic} is still being read"

    async def close(self) -> None:
        """See `Share.close`."""
        self._closed = True
        self._closing.wake()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise VigieError(STOPPING, f"the share of topic {self._topic} is closed")


async def _next_unless(
    following: AsyncIterator[StoredEvent], closing: "asyncio.Future[None]"
) -> StoredEvent:
    """The next event; STOPPING as soon as ``closing`` is resolved."""
    reading = asyncio.ensure_future(anext(following))
    try:
        waiting: set[asyncio.Future[Any]] = {reading, closing}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            raise VigieError(STOPPING, "the share is closed")
        return reading.result()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
