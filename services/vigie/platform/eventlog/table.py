"""An in-memory table kept from a compacted topic."""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Generic, TypeVar

import structlog

from vigie.platform.clock import MonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable
from vigie.platform.eventlog.port import EventLog, Position, StoredEvent
from vigie.platform.reasons import STOPPING

T = TypeVar("T")
Listener = Callable[[str, T | None, T | None], None]
"""``(key, before, now)``; ``now`` is ``None`` when the key was removed. Must not raise or wait."""

log = structlog.get_logger(__name__)
_LONGEST_BACK_OFF_SECONDS: Final = 10.0


class CompactedTable(Generic[T]):
    """Key -> newest value of a compacted topic: read to its end at start, then followed.

    An event may come once more at any distance, also after newer ones of its key. Where values say
    which of two is the newer, ``overtaken`` keeps the table from going back.

    An event that cannot be parsed changes nothing: the value before it stays (what was true last
    is safer than nothing), the key is in `unparsable`, and `not_ready` says so until a readable
    event of that key comes.

    Args:
        event_log: where the topic is.
        topic: its name.
        parse: the value of an event (which has one); raises `Unprocessable`.
        clock: for back-off while the log is away.
        overtaken: whether a value (first) is older than the one that stands (second), and is left
            out for that; ``None``: what comes last is the newest.
    """

    def __init__(
        self,
        event_log: EventLog,
        topic: str,
        parse: Callable[[StoredEvent], T],
        clock: MonotonicClock,
        *,
        overtaken: Callable[[T, T], bool] | None = None,
    ) -> None:
        self._log = event_log
        self._overtaken = overtaken
        self._topic = topic
        self._parse = parse
        self._clock = clock
        self._items: dict[str, T] = {}
        self._places: dict[str, Position] = {}
        self._listeners: list[Listener[T]] = []
        self._after: dict[int, Position] = {}
        self._task: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self.ready = asyncio.Event()
        """Set once the table has been read to the end of the topic."""
        self.unparsable: dict[str, str] = {}
        """Key -> why its newest event could not be read."""

    @property
    def items(self) -> Mapping[str, T]:
        """The table, read-only and live."""
        return MappingProxyType(self._items)

    @property
    def positions(self) -> tuple[Position, ...]:
        """How far the topic has been read: whoever reads on from here misses nothing of it."""
        return tuple(self._after.values())

    @property
    def trouble(self) -> str | None:
        """Why the topic is not followed now, so that what the table says may be old."""
        return self._trouble

    def position_of(self, key: str) -> Position | None:
        """Where the value of ``key`` stands in the topic."""
        return self._places.get(key)

    def get(self, key: str) -> T | None:
        """The newest value of ``key``."""
        return self._items.get(key)

    def on_change(self, listener: Listener[T]) -> Callable[[], None]:
        """Call ``listener`` at every change from now on, also during the first reading.

        Returns:
            A function that takes the listener off again.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def not_ready(self) -> str | None:
        """Why the table may not be trusted now, in one line."""
        if self._trouble is not None:
            return self._trouble
        if not self.ready.is_set():
            return f"topic {self._topic} is still being read"
        if self.unparsable:
            return f"topic {self._topic}: {len(self.unparsable)} keys have unreadable events"
        return None

    async def start(self) -> None:
        """Read the topic to its end, then follow it in a task.

        Raises:
            VigieError: TOPIC_UNKNOWN, EVENT_LOG_UNAVAILABLE.
        """
        async for stored in self._log.read(self._topic):
            self._apply(stored)
        self.ready.set()
        self._task = asyncio.create_task(self._follow(), name=f"table-{self._topic}")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Stop following (idempotent); the table stays as it is."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._trouble = f"topic {self._topic} is not followed any more: {error!r}"
            log.error("table_crashed", topic=self._topic, exc_info=error)

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                if self._trouble is not None:
                    # Followed, a topic in which nothing happens does not say that it is back.
                    await self._catch_up()
                    self._trouble, failures = None, 0
                async for stored in self._log.read(self._topic, after=self.positions, follow=True):
                    self._apply(stored)
                    self._trouble, failures = None, 0
            except VigieError as error:
                self._trouble = f"topic {self._topic} cannot be followed: {error.message}"
                if error.reason is STOPPING:
                    return
                failures += 1
                log.warning("table_failed", topic=self._topic, error=str(error))
                await self._clock.sleep(
                    min(_LONGEST_BACK_OFF_SECONDS, 0.1 * 2 ** min(failures, 10))
                )

    async def _catch_up(self) -> None:
        """Read what has come since, to the end of the topic as it is now."""
        async for stored in self._log.read(self._topic, after=self.positions):
            self._apply(stored)

    def _apply(self, stored: StoredEvent) -> None:
        key, before = stored.event.key, self._items.get(stored.event.key)
        self._after[stored.position.partition] = stored.position
        if stored.event.value is None:
            self.unparsable.pop(key, None)
            self._items.pop(key, None)
            self._places.pop(key, None)
            if before is not None:
                self._tell(key, before, None)
            return
        try:
            now = self._parse(stored)
        except Unprocessable as why:
            self.unparsable[key] = str(why)
            log.warning("table_event_unparsable", topic=self._topic, key=key, reason=why.reason)
            return
        if before is not None and self._overtaken is not None and self._overtaken(now, before):
            log.info("table_event_overtaken", topic=self._topic, key=key)
            return
        self.unparsable.pop(key, None)
        self._items[key] = now
        self._places[key] = stored.position
        self._tell(key, before, now)

    def _tell(self, key: str, before: T | None, now: T | None) -> None:
        for listener in tuple(self._listeners):
            listener(key, before, now)
