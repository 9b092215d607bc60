"""How full the spool is, in metrics, long before it is full."""

from contextlib import suppress
from typing import Final

import structlog

from vigie.ingest import metrics
from vigie.ingest.recorder.pool import WriterPool
from vigie.ingest.spool.quota import SpoolQuota
from vigie.ingest.upload.queue import Backlog
from vigie.platform.clock import MICROSECONDS_PER_SECOND, WallClock
from vigie.platform.metrics import MetricsRegistry

_log = structlog.get_logger(__name__)

LEVELS: Final[tuple[tuple[str, float], ...]] = (
    ("full", 1.0),
    ("nearly_full", 0.8),
    ("filling", 0.5),
    ("none", 0.0),
)
"""Warnings and the fill ratio from which on each stands."""


class SpoolGauges:
    """Measures spool and write queue.

    Args:
        pool: the writer threads.
        backlog: what waits for its upload.
        quota: of the spool.
        quota_bytes: its limit.
        wall_clock: for the age of what waits.
        registry: metrics.
    """

    def __init__(
        self,
        *,
        pool: WriterPool,
        backlog: Backlog,
        quota: SpoolQuota,
        quota_bytes: int,
        wall_clock: WallClock,
        registry: MetricsRegistry,
    ) -> None:
        self._pool = pool
        self._backlog = backlog
        self._quota = quota
        self._wall_clock = wall_clock
        self._bytes = registry.gauge(metrics.SPOOL_BYTES)
        self._fill = registry.gauge(metrics.SPOOL_FILL)
        self._segments = registry.gauge(metrics.SPOOL_SEGMENTS)
        self._age = registry.gauge(metrics.SPOOL_AGE)
        self._warning = registry.gauge(metrics.SPOOL_WARNING)
        self._queue = registry.gauge(metrics.QUEUE_BYTES)
        registry.gauge(metrics.SPOOL_QUOTA).set(quota_bytes)
        self.level = "none"

    def measure(self) -> None:
        """Set every gauge; a warning that begins or ends is logged."""
        fill = self._fill_ratio()
        self._bytes.set(self._quota.used_bytes)
        self._fill.set(fill)
        self._segments.set(self._backlog.waiting_segments)
        self._age.set(self._oldest_seconds())
        self._queue.set(self._pool.waiting_bytes)
        level = next(name for name, ratio in LEVELS if fill >= ratio)
        for name, _ in LEVELS:
            self._warning.labels(level=name).set(1 if name == level else 0)
        if level != self.level:
            _log.warning("spool_level", level=level, was=self.level, fill=round(fill, 3))
            self.level = level

    def _fill_ratio(self) -> float:
        if self._quota.full:
            return 1.0
        try:
            return self._quota.fill_ratio
        except OSError as error:
            # A disk that does not answer takes nothing either.
            _log.warning("spool_not_measured", error=str(error))
            return 1.0

    def _oldest_seconds(self) -> float:
        """Since the oldest waiting segment was written to for the last time."""
        closed = []
        for path in self._backlog.first_waiting():
            # Uploaded and removed at this very moment (then it waits no more), or the disk is
            # away (then nobody knows).
            with suppress(OSError):
                closed.append(path.stat().st_mtime)
        now = self._wall_clock.now_us() / MICROSECONDS_PER_SECOND
        return max(0.0, now - min(closed)) if closed else 0.0
