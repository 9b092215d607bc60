"""The native engine behind the reception port."""

from vigie.ingest.engine import Session, SessionSink, SourceSpec
from vigie.ingest.native.environment import Environment
from vigie.ingest.native.reactor import Reactor
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.native.statistics import ReactorStatistics
from vigie.platform.clock import MonotonicClock, WallClock


class NativeEngine:
    """Receives rtsp and rtsps over TCP, H.264 and H.265.

    Args:
        wall: says when frames came.
        monotonic: says how long things take; must advance by itself.
        settings: see `NativeSettings`.
    """

    def __init__(
        self,
        wall: WallClock,
        monotonic: MonotonicClock,
        settings: NativeSettings | None = None,
    ) -> None:
        self._monotonic = monotonic
        self._environment = Environment(settings or NativeSettings(), wall, monotonic)
        self._reactors = [
            Reactor(self._environment, f"ingest-native-{number}")
            for number in range(self._environment.settings.threads)
        ]

    def start(self) -> None:
        """Start the receiving threads."""
        for reactor in self._reactors:
            reactor.start()

    def open(self, source: SourceSpec, sink: SessionSink) -> Session:
        """Begin to receive, on the thread that carries the fewest sessions."""
        reactor = min(self._reactors, key=lambda candidate: candidate.session_count)
        return reactor.open(source, sink)

    def stop(self, *, timeout_seconds: float) -> None:
        """Close all sessions (each delivers its last group) and join the threads."""
        deadline_us = self._monotonic.now_us() + round(timeout_seconds * 1_000_000)
        for reactor in self._reactors:
            reactor.stop()
        for reactor in self._reactors:
            remaining_us = max(deadline_us - self._monotonic.now_us(), 0)
            reactor.join(remaining_us / 1_000_000)
        self._environment.resolver.close()

    def take_tick_lag_us(self) -> int:
        """How late a tick of any thread began at worst since the last call, microseconds."""
        return max(reactor.statistics.take_peak() for reactor in self._reactors)

    def statistics(self) -> list[ReactorStatistics]:
        """Counters of each receiving thread."""
        return [reactor.statistics for reactor in self._reactors]
