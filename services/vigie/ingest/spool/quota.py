"""How much the spool may hold: new footage is refused when it is full, older never dropped."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RESUME_RATIO: Final = 0.95
"""After it was full, footage is taken again below this part of the quota, or it would flutter."""

_FREE_CHECK_INTERVAL_US: Final = 1_000_000


def free_bytes(path: Path) -> int:
    """Bytes that an unprivileged process may still write on the file system of ``path``."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """What the spool may take.

    Attributes:
        quota_bytes: most bytes in the spool.
        reserve_bytes: bytes that must stay free on the file system: closing what is open and the
            small records need room even when media is refused.
    """

    quota_bytes: int
    reserve_bytes: int


class SpoolQuota:
    """Counts the bytes of media in the spool. Thread-safe.

    Args:
        limits: what the spool may take.
        free: tells the free bytes of the file system.
        monotonic_us: for asking the file system at most once a second.
    """

    def __init__(
        self, limits: QuotaLimits, free: Callable[[], int], monotonic_us: Callable[[], int]
    ) -> None:
        self._limits = limits
        self._free = free
        self._monotonic_us = monotonic_us
        self._lock = threading.Lock()
        self._used = 0
        self._full = False
        self._free_bytes = 0
        self._checked_us: int | None = None

    def take(self, size_bytes: int) -> bool:
        """Count ``size_bytes`` of new footage; false (and nothing counted) when it must not be.

        Raises:
            OSError: the disk does not say how much room it has.
        """
        with self._lock:
            limit = self._limits.quota_bytes
            if self._full:
                limit = int(limit * RESUME_RATIO)
            fits = self._used + size_bytes <= limit
            room = self._free_now() - size_bytes >= self._limits.reserve_bytes
            self._full = not (fits and room)
            if self._full:
                return False
            self._used += size_bytes
            self._free_bytes -= size_bytes
            return True

    def add(self, size_bytes: int) -> None:
        """Count what is there already (recovery, the index at the end of a segment)."""
        with self._lock:
            self._used += size_bytes

    def release(self, size_bytes: int) -> None:
        """Footage has left the spool."""
        with self._lock:
            self._used = max(0, self._used - size_bytes)
            self._checked_us = None

    @property
    def used_bytes(self) -> int:
        """Bytes of media in the spool."""
        return self._used

    @property
    def fill_ratio(self) -> float:
        """Used part of what may be used, by quota or by free space, whichever is nearer.

        Raises:
            OSError: the disk does not say how much room it has.
        """
        with self._lock:
            quota = self._used / self._limits.quota_bytes
            room = max(0, self._free_now() - self._limits.reserve_bytes)
            disk = self._used / (self._used + room) if self._used + room else 1.0
            return max(quota, disk)

    @property
    def full(self) -> bool:
        """Whether new footage is being refused."""
        return self._full

    def _free_now(self) -> int:
        now_us = self._monotonic_us()
        if self._checked_us is None or now_us - self._checked_us >= _FREE_CHECK_INTERVAL_US:
            self._free_bytes = self._free()
            self._checked_us = now_us
        return self._free_bytes
