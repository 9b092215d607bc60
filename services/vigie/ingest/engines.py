"""The product's own reception engines."""

import threading
from collections.abc import Callable

from vigie.ingest.config import IngestConfig
from vigie.ingest.engine import Engine, Session, SessionSink, SourceSpec
from vigie.ingest.native.engine import NativeEngine
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.supervisor.plan import LIBAV, NATIVE, Engines
from vigie.platform.clock import MonotonicClock, WallClock


def default_engines(
    config: IngestConfig, wall_clock: WallClock, monotonic_clock: MonotonicClock
) -> Engines:
    """The engines by name, not started."""
    native = NativeEngine(
        wall_clock,
        monotonic_clock,
        NativeSettings(
            threads=config.engine_threads,
            tick_seconds=config.tick_seconds,
            live_tick_seconds=min(config.live_tick_seconds, config.tick_seconds),
            connect_timeout_seconds=config.connect_timeout_seconds,
            handshake_timeout_seconds=config.handshake_timeout_seconds,
            silence_timeout_seconds=config.silence_timeout_seconds,
        ),
    )

    def make_libav() -> Engine:
        from vigie.ingest.libav.engine import LibavEngine
        from vigie.ingest.libav.session import LibavSettings

        settings = LibavSettings(
            open_timeout_seconds=config.handshake_timeout_seconds,
            silence_timeout_seconds=config.silence_timeout_seconds,
        )
        return LibavEngine(wall_clock, monotonic_clock, settings)

    return {NATIVE: native, LIBAV: LazyEngine(make_libav)}


class LazyEngine:
    """An engine that is made when the first source needs it.

    libav costs tens of megabytes, which an installation of RTSP cameras never needs.

    Args:
        make: makes the engine.
    """

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def start(self) -> None:
        """See `Engine.start`: nothing runs before it is needed."""

    def open(self, source: SourceSpec, sink: SessionSink) -> Session:
        """See `Engine.open`."""
        with self._lock:
            if self._engine is None:
                self._engine = self._make()
                self._engine.start()
        return self._engine.open(source, sink)

    def stop(self, *, timeout_seconds: float) -> None:
        """See `Engine.stop`."""
        if self._engine is not None:
            self._engine.stop(timeout_seconds=timeout_seconds)
