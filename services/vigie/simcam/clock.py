"""The two clocks a simulated camera needs, declared where they are used.

`vigie.platform.clock` offers implementations that fit (also manual ones); this package imports
nothing of the product it is meant to test, so it states only the shape.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Anything that tells microseconds: since the Unix epoch (wall) or any origin (monotonic)."""

    def now_us(self) -> int:
        """Microseconds on this clock."""
        ...


class SystemWall:
    """The machine's real-time clock."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1000


class SystemMonotonic:
    """The machine's monotonic clock."""

    def now_us(self) -> int:
        """Microseconds since an arbitrary origin."""
        return time.monotonic_ns() // 1000
