"""Clocks as values that are passed in, so that tests own time.

Two clocks, never mixed: the wall clock says *when* (it may jump), the monotonic clock says
*how long* (it may not). Sleeping belongs to the monotonic clock.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

MICROSECONDS_PER_SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class WallClock(Protocol):
    """Tells the time of day in UTC."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted (POSIX time)."""
        ...


class MonotonicClock(Protocol):
    """Measures durations; never goes backwards; its zero means nothing."""

    def now_us(self) -> int:
        """Microseconds since an arbitrary origin."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` on this clock."""
        ...


class SystemWallClock:
    """The machine's real-time clock."""

    def now_us(self) -> int:
        """See `WallClock.now_us`."""
        return time.time_ns() // 1000


class SystemMonotonicClock:
    """The machine's monotonic clock."""

    def now_us(self) -> int:
        """See `MonotonicClock.now_us`."""
        return time.monotonic_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        """See `MonotonicClock.sleep`."""
        await asyncio.sleep(seconds)


class ManualWallClock:
    """A wall clock that stands still until a test moves it (also backwards)."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """See `WallClock.now_us`."""
        return self._now_us

    def set(self, now_us: int) -> None:
        """Jump to an instant."""
        self._now_us = now_us

    def advance(self, seconds: float) -> None:
        """Move by ``seconds`` (negative: backwards)."""
        self._now_us += round(seconds * MICROSECONDS_PER_SECOND)


class ManualMonotonicClock:
    """A monotonic clock that a test advances; sleepers wake in the order of their deadlines."""

    def __init__(self, now_us: int = 0) -> None:
        self._now_us = now_us
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._sequence = 0

    def now_us(self) -> int:
        """See `MonotonicClock.now_us`."""
        return self._now_us

    async def sleep(self, seconds: float) -> None:
        """Suspend until `advance` has passed the deadline."""
        deadline = self._now_us + round(seconds * MICROSECONDS_PER_SECOND)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        entry = (deadline, self._sequence, future)
        self._sleepers.append(entry)
        try:
            await future
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)

    async def advance(self, seconds: float) -> None:
        """Move forward, waking every sleeper on the way at its own deadline."""
        target = self._now_us + round(seconds * MICROSECONDS_PER_SECOND)
        while due := sorted(entry for entry in self._sleepers if entry[0] <= target):
            deadline, _, future = due[0]
            self._sleepers.remove(due[0])
            self._now_us = max(self._now_us, deadline)
            if not future.done():
                future.set_result(None)
            # Let the woken task run, so that it can go to sleep again before the target.
            for _ in range(3):
                await asyncio.sleep(0)
        self._now_us = target

    @property
    def sleeper_count(self) -> int:
        """How many tasks wait on this clock."""
        return len(self._sleepers)


def to_us(instant: datetime) -> int:
    """Microseconds since the Unix epoch of a timezone-aware datetime.

    Raises:
        ValueError: ``instant`` has no timezone.
    """
    if instant.tzinfo is None:
        raise ValueError(f"a naive datetime has no instant: {instant!r}")
    return (instant - _EPOCH) // _MICROSECOND


def from_us(instant_us: int) -> datetime:
    """The UTC datetime of microseconds since the Unix epoch (exact)."""
    return _EPOCH + timedelta(microseconds=instant_us)
