"""One timer for all streams: frames that fall due within a tick are sent in one wake-up.

The interval between wake-ups, not their work, is what hundreds of cameras cost; a heap of due
times and a floor on the interval keep it flat.
"""

import asyncio
import heapq
from typing import Protocol

from vigie.simcam.clock import Clock


class Paced(Protocol):
    """Something that is stepped when it is due."""

    def step(self, now_us: int) -> int | None:
        """Do what is due at ``now_us``; return when to be called again, None never."""
        ...


class Pacer:
    """Calls streams when they are due, on a monotonic clock.

    ``worst_lateness_us`` tells a test whether frames came late by the simulator's own fault (a
    machine with other work), and not by that of what it tests.
    """

    def __init__(self, clock: Clock, tick_us: int) -> None:
        self._clock = clock
        self._tick_us = tick_us
        self._heap: list[tuple[int, int, Paced]] = []
        self._serial = 0
        self._handle: asyncio.TimerHandle | None = None
        self._wake_us = 0
        self.worst_lateness_us = 0

    def add(self, paced: Paced, due_us: int) -> None:
        """Step ``paced`` at ``due_us`` for the first time."""
        self._push(paced, due_us)
        self._arm()

    def _push(self, paced: Paced, due_us: int) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (due_us, self._serial, paced))

    def pump(self, now_us: int) -> None:
        """Step everything that is due; what is due again at once is stepped again."""
        heap = self._heap
        if heap:
            self.worst_lateness_us = max(self.worst_lateness_us, now_us - heap[0][0])
        while heap and heap[0][0] <= now_us:
            _, _, paced = heap[0]
            due_us = paced.step(now_us)
            self._serial += 1
            if due_us is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (due_us, self._serial, paced))

    def take_worst_lateness_us(self) -> int:
        """The worst since the last call."""
        worst_us, self.worst_lateness_us = self.worst_lateness_us, 0
        return worst_us

    def _arm(self) -> None:
        if not self._heap:
            return
        now_us = self._clock.now_us()
        wake_us = max(self._heap[0][0], now_us + self._tick_us)
        if self._handle is not None:
            if self._wake_us <= wake_us:
                return
            self._handle.cancel()
        self._wake_us = wake_us
        delay_seconds = (wake_us - now_us) / 1_000_000
        self._handle = asyncio.get_running_loop().call_later(delay_seconds, self._fire)

    def _fire(self) -> None:
        self._handle = None
        self.pump(self._clock.now_us())
        self._arm()

    def stop(self) -> None:
        """Forget everything; no stream is stepped again."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._heap.clear()
