"""Overload in a metric before footage is lost: how late the receiving threads come to read."""

from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol, runtime_checkable

from vigie.ingest import metrics
from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock
from vigie.platform.metrics import MetricsRegistry

KEPT_US: Final = 60_000_000
"""A peak is shown for this long: whoever asks once a minute sees every one."""


@runtime_checkable
class TickingEngine(Protocol):
    """An engine that reads its cameras at ticks."""

    def take_tick_lag_us(self) -> int:
        """How late a tick began at worst since the last call, microseconds."""
        ...


class LagGauge:
    """The greatest lag of the last minute.

    Args:
        engines: all engines; those without ticks are left out.
        monotonic_clock: counts the minute.
        registry: metrics.
    """

    def __init__(
        self, engines: Iterable[object], monotonic_clock: MonotonicClock, registry: MetricsRegistry
    ) -> None:
        self._engines = [engine for engine in engines if isinstance(engine, TickingEngine)]
        self._clock = monotonic_clock
        self._peaks: deque[tuple[int, int]] = deque()
        self._gauge = registry.gauge(metrics.TICK_LAG)

    def measure(self) -> None:
        """Ask the engines, set the gauge."""
        now_us = self._clock.now_us()
        lag_us = max((engine.take_tick_lag_us() for engine in self._engines), default=0)
        # Only what is not outdone by a later peak can still become the greatest.
        while self._peaks and self._peaks[-1][1] <= lag_us:
            self._peaks.pop()
        self._peaks.append((now_us, lag_us))
        while self._peaks[0][0] < now_us - KEPT_US:
            self._peaks.popleft()
        self._gauge.set(self._peaks[0][1] / MICROSECONDS_PER_SECOND)
