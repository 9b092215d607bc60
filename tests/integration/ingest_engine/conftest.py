"""Simulated cameras and an engine for the tests of this folder."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from integration.ingest_engine.sinks import RecordingSink
from vigie.ingest.engine import Session, SourceSpec
from vigie.ingest.native.engine import NativeEngine
from vigie.ingest.native.settings import NativeSettings
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.simcam.config import CameraConfig, ServerConfig
from vigie.simcam.faults import Fault, FaultParameters
from vigie.simcam.footage import FootageSpec
from vigie.simcam.server import SimCamServer

T = TypeVar("T")
FOOTAGE = FootageSpec(width=192, height=96, frame_count=40, gop_frames=10, bitrate_bps=400_000)


class Simulator:
    """Simulated cameras on a thread of their own."""

    def __init__(self, config: ServerConfig) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simcam")
        self._thread.start()
        self.server = SimCamServer(config)
        self.run(self.server.start())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def close(self) -> None:
        self.run(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def inject(self, fault: Fault, camera: str = "cam-a", **parameters: Any) -> dict[str, int]:
        return self.run(self.server.inject(camera, fault, parameters=FaultParameters(**parameters)))

    def clear(self, camera: str = "cam-a") -> None:
        self.run(self.server.clear(camera))

    def source(self, camera: str = "cam-a", **changes: Any) -> SourceSpec:
        fields: dict[str, Any] = {"camera": camera, "uri": self.server.url(camera)}
        return SourceSpec(**fields | changes)


@pytest.fixture
def simulate(footage_folder: Path) -> Iterator[Callable[..., Simulator]]:
    started: list[Simulator] = []

    def start(*cameras: CameraConfig, **options: Any) -> Simulator:
        chosen = cameras or (CameraConfig(id="cam-a", footage=FOOTAGE),)
        config = ServerConfig(
            cameras=chosen, cache_folder=footage_folder, control_port=None, **options
        )
        started.append(Simulator(config))
        return started[-1]

    yield start
    for simulator in started:
        simulator.close()


class Receiver:
    """A running engine."""

    def __init__(self, settings: NativeSettings) -> None:
        self.engine = NativeEngine(SystemWallClock(), SystemMonotonicClock(), settings)
        self.engine.start()

    def open(
        self, source: SourceSpec, sink: RecordingSink | None = None
    ) -> tuple[Session, RecordingSink]:
        sink = sink or RecordingSink()
        return self.engine.open(source, sink), sink


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    started: list[Receiver] = []

    def start(**settings: Any) -> Receiver:
        defaults = {"silence_timeout_seconds": 1.0, "handshake_timeout_seconds": 2.0}
        started.append(Receiver(NativeSettings(**defaults | settings)))
        return started[-1]

    yield start
    for receiver in started:
        receiver.engine.stop(timeout_seconds=5)
