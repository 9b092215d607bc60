"""The product's own reception engines."""

from vigie.ingest.config import IngestConfig
from vigie.ingest.engine import Engine
from vigie.ingest.native.engine import NativeEngine
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.supervisor.plan import NATIVE, Engines
from vigie.platform.clock import MonotonicClock, WallClock


def default_engines(
    config: IngestConfig, wall_clock: WallClock, monotonic_clock: MonotonicClock
) -> Engines:
    """The engines by name, not started."""
    settings = NativeSettings(
        threads=config.engine_threads,
        tick_seconds=config.tick_seconds,
        live_tick_seconds=min(config.live_tick_seconds, config.tick_seconds),
        connect_timeout_seconds=config.connect_timeout_seconds,
        silence_timeout_seconds=config.silence_timeout_seconds,
    )
    engines: dict[str, Engine] = {NATIVE: NativeEngine(wall_clock, monotonic_clock, settings)}
    return engines
