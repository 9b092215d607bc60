"""Staggered starts: connections begin one after the other, not all at once."""

import asyncio

from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock


class Turns:
    """Gives turns with a distance between them.

    Args:
        clock: for waiting.
        distance_seconds: between two turns.
    """

    def __init__(self, clock: MonotonicClock, distance_seconds: float) -> None:
        self._clock = clock
        self._distance_us = round(distance_seconds * MICROSECONDS_PER_SECOND)
        self._lock = asyncio.Lock()
        self._next_us: int | None = None

    async def turn(self) -> None:
        """Return when it is the caller's turn, in the order of the calls."""
        async with self._lock:
            now_us = self._clock.now_us()
            if self._next_us is not None and now_us < self._next_us:
                await self._clock.sleep((self._next_us - now_us) / MICROSECONDS_PER_SECOND)
            self._next_us = self._clock.now_us() + self._distance_us
