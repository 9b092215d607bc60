"""What the reception of one camera costs: the native engine beside one ffmpeg a camera.

Simulated cameras (1080p25, H.264 at 4 Mbit/s, key frames every 2 s) run in a process of their own
on the first core, whoever receives on the second. Printed: CPU seconds (user and system) a
camera-minute, PSS a camera, frames lost.

    python tests/bench/bench_reception.py                    # 10 cameras for 10 s
    python tests/bench/bench_reception.py -n 100 -s 60
"""

import argparse
import asyncio
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from peers import RECEIVER_CORE, SOURCE_CORE, measure, pinned, pss_bytes

from vigie.ingest.engine import (
    CodecParameters,
    ConnectionInfo,
    EndCause,
    FrameGroup,
    LiveFrames,
    SenderReport,
    SourceSpec,
)
from vigie.ingest.libav.engine import LibavEngine
from vigie.ingest.native.engine import NativeEngine
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock

FOLDER = Path(__file__).resolve().parents[2] / "build" / "bench-footage"


class CountingSink:
    """Counts, and hashes when asked to."""

    def __init__(self, *, hashing: bool, live: bool) -> None:
        self._hashing = hashing
        self.wants_frames = live
        self.group_count = self.frame_count = self.lost_count = 0
        self.last_ticks: int | None = None

    def connected(self, info: ConnectionInfo) -> None:
        pass

    def parameters(self, parameters: CodecParameters) -> None:
        pass

    def frames(self, frames: LiveFrames) -> None:
        pass

    def group(self, group: FrameGroup) -> None:
        self.group_count += 1
        if self.last_ticks is not None and group.presentation_ticks[0] != self.last_ticks:
            self.lost_count += 1
        self.last_ticks = group.next_ticks
        if self._hashing:
            hashlib.sha256(b"".join(group.frames)).digest()

    def lost(self, cause: EndCause, detail: str, at_us: int) -> None:
        self.lost_count += 1

    def sender_report(self, report: SenderReport) -> None:
        pass

    def received(self, frames: int, size_bytes: int, at_us: int) -> None:
        self.frame_count += frames

    def ended(self, cause: EndCause, detail: str) -> None:
        if cause is not EndCause.STOPPED:
            self.lost_count += 1


def serve(count: int) -> None:
    """The process of the cameras: prints their addresses, ends with its standard input."""
    from vigie.simcam.config import CameraConfig, ServerConfig
    from vigie.simcam.footage import FootageSpec
    from vigie.simcam.server import SimCamServer

    footage = FootageSpec(
        width=1920, height=1080, frame_count=100, gop_frames=50, bitrate_bps=4_000_000
    )
    cameras = tuple(CameraConfig(id=f"cam-{n:03d}", footage=footage) for n in range(count))

    async def run() -> None:
        config = ServerConfig(cameras=cameras, cache_folder=FOLDER, control_port=None)
        async with SimCamServer(config) as server:
            print(json.dumps([server.url(camera.id) for camera in cameras]), flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(run())


def receive(engine_name: str, seconds: float, addresses: list[str]) -> None:
    """The process of the receiver: prints its figures."""
    made: dict[str, Any] = {"native": NativeEngine, "libav": LibavEngine}
    name, _, kind = engine_name.partition("+")
    engine = made[name](SystemWallClock(), SystemMonotonicClock())
    empty = pss_bytes(os.getpid())
    engine.start()
    began = time.monotonic()
    sinks = [CountingSink(hashing=kind == "sha256", live=kind == "live") for _ in addresses]
    for number, (address, sink) in enumerate(zip(addresses, sinks, strict=True)):
        engine.open(SourceSpec(f"cam-{number:03d}", address), sink)
    while not all(sink.group_count for sink in sinks) and time.monotonic() - began < 120:
        time.sleep(0.1)
    started = time.monotonic() - began
    before, since = cpu_seconds(), time.monotonic()
    frames = sum(sink.frame_count for sink in sinks)
    lag = 0
    while (left := since + seconds - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
        if name == "native":
            lag = max(lag, engine.statistics()[0].take_peak())
    passed = time.monotonic() - since
    figures = {
        "cpu": (cpu_seconds() - before) * 60 / passed / len(sinks),
        "pss": (pss_bytes(os.getpid()) - empty) / len(sinks),
        "total_pss": pss_bytes(os.getpid()) / len(sinks),
        "started": started,
        "lost": sum(sink.lost_count for sink in sinks),
        "frames": (sum(sink.frame_count for sink in sinks) - frames) / passed / len(sinks),
        "lag": lag,
    }
    print(json.dumps(figures), flush=True)
    engine.stop(timeout_seconds=10)
    assert threading.active_count() < len(sinks) + 10


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def show(name: str, figures: dict[str, float], peer: dict[str, float] | None) -> None:
    text = f"{name:<16} CPU {figures['cpu']:.4f} s a camera-minute"
    text += f", PSS {figures['total_pss'] / 1e6:.2f} MB a camera"
    if "pss" in figures:
        text += f" (without the interpreter {figures['pss'] / 1e6:.2f})"
    text += f", all started after {figures['started']:.1f} s"
    if "lost" in figures:
        text += f", {figures['frames']:.2f} frames/s, {figures['lost']:.0f} losses"
    if figures.get("lag"):
        text += f", tick lag {figures['lag'] / 1000:.1f} ms"
    if peer is not None:
        text += f"; CPU 1/{peer['cpu'] / figures['cpu']:.1f} of ffmpeg"
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--cameras", type=int, default=10)
    parser.add_argument("-s", "--seconds", type=float, default=10)
    parser.add_argument("--engines", default="native,native+sha256,libav")
    parser.add_argument("--no-ffmpeg", action="store_true")
    parser.add_argument("--role", choices=["serve", "receive"])
    parser.add_argument("--engine", default="native")
    options = parser.parse_args()
    if options.role == "serve":
        serve(options.cameras)
        return
    if options.role == "receive":
        receive(options.engine, options.seconds, json.loads(sys.stdin.read()))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    own = [sys.executable, __file__, "-n", str(options.cameras), "-s", str(options.seconds)]
    source = subprocess.Popen(
        [*pinned(SOURCE_CORE), *own, "--role", "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert source.stdout is not None
    try:
        addresses = json.loads(source.stdout.readline())
        peer = None
        if not options.no_ffmpeg:
            with tempfile.TemporaryDirectory(dir=FOLDER.parent) as folder:
                made = measure("ffmpeg", Path(folder) / "files", addresses, options.seconds)
                figures = asyncio.run(made)
            peer = {"cpu": figures.cpu, "total_pss": figures.pss, "started": figures.started}
            show("ffmpeg -c copy", peer, None)
        for name in options.engines.split(","):
            command = [*pinned(RECEIVER_CORE), *own, "--role", "receive", "--engine", name]
            result = subprocess.run(
                command, input=json.dumps(addresses).encode(), stdout=subprocess.PIPE, check=True
            )
            line = next(x for x in result.stdout.splitlines() if x.startswith(b"{"))
            show(name, json.loads(line), peer)
    finally:
        source.communicate(b"")


if __name__ == "__main__":
    main()
