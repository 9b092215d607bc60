"""Where the CPU time of reception goes: each step of the receive path, measured apart.

Simulated cameras are packetised beforehand and come over TCP connections of this process, tick by
tick, all cameras in turn as in the product, so that caches are as cold as there. Printed: CPU
seconds a camera-minute of each step (this thread's own, so that other work on the machine counts
little), and what a bare reader would take, which receives and copies and does nothing else.

    python tests/bench/bench_receive_path.py                  # 20 cameras, 1080p25 at 4 Mbit/s
    python tests/bench/bench_receive_path.py --growth FOLDER  # with bit rate, frame rate, cameras
"""

import argparse
import hashlib
import os
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

import chart

from ingest_support import Told, camera_recorder, recorder_tools
from vigie.ingest.delivery import Delivery
from vigie.ingest.engine import (
    CodecParameters,
    ConnectionInfo,
    EndCause,
    FrameGroup,
    LiveFrames,
    SenderReport,
)
from vigie.ingest.recorder import segment
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import make_depacketizer
from vigie.simcam import FootageSpec
from vigie.simcam.footage import FootageCache
from vigie.simcam.marks import mark_text
from vigie.simcam.packetize import PreparedFootage

TICKS_A_SECOND = 10
START_US = 1_790_000_000_000_000
FOLDER = ROOT / "build" / "bench-footage"
STEPS = ("receive", "packets", "deliver", "boxes and clock", "hash", "write", "fsync")
"""Of the receiving thread the first three, of the writer threads the others."""


class Meter:
    """CPU time of this thread, by step; a step within another is taken off it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = 0.0

    def call(self, step: str, action: Callable[..., Any], *arguments: Any) -> Any:
        before, outer, self._inner = time.thread_time(), self._inner, 0.0
        try:
            return action(*arguments)
        finally:
            passed = time.thread_time() - before
            self.seconds[step] += passed - self._inner
            self._inner = outer + passed


class Sink:
    """Takes the groups of one camera to its recorder."""

    wants_frames = False

    def __init__(self, camera: str, tools: Any, meter: Meter) -> None:
        self._recorder = camera_recorder(tools, Told(), camera=camera, segment_seconds=30)
        self._meter = meter
        self._parameters: CodecParameters | None = None
        self.frames_received = 0

    def parameters(self, parameters: CodecParameters) -> None:
        self._parameters = parameters

    def group(self, group: FrameGroup) -> None:
        self._meter.call("boxes and clock", self._recorder.group, self._parameters, group)

    def received(self, frames: int, size_bytes: int, at_us: int) -> None:
        self.frames_received += frames

    def connected(self, info: ConnectionInfo) -> None:
        pass

    def frames(self, frames: LiveFrames) -> None:
        pass

    def lost(self, cause: EndCause, detail: str, at_us: int) -> None:
        raise AssertionError(detail)

    def sender_report(self, report: SenderReport) -> None:
        pass

    def ended(self, cause: EndCause, detail: str) -> None:
        pass


class Wire:
    """One camera: what it sends in each tick, its connection, and whoever takes it apart."""

    def __init__(self, name: str, prepared: PreparedFootage, tools: Any, meter: Meter) -> None:
        self._prepared = prepared
        self._number = self._sequence = 0
        self._ssrc = hash(name) & 0xFFFFFFFF
        self._sender, self._receiver = _connected()
        self.sink = Sink(name, tools, meter)
        self.reader = make_depacketizer(VideoCodec(prepared.footage.codec), 96)
        self.delivery = Delivery(self.reader, self.sink)
        self.rest = b""
        self.receive_into = self._receiver.recv_into

    def send(self, until_us: int) -> None:
        """The frames due until then; blocks never, since a tick fits into the buffers."""
        rate = self._prepared.footage.frames_per_second
        while self._number * 1_000_000 / rate < until_us:
            template = self._prepared.templates[self._number % self._prepared.frame_count]
            text = mark_text(self._number, self._number, START_US + until_us)
            ticks = round(self._number * 90_000 / rate) & 0xFFFFFFFF
            data = template.stamp(self._sequence, ticks, self._ssrc, text)
            self._sequence += len(template.headers)
            self._number += 1
            self._sender.sendall(data)

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()


def _connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    receiver.setblocking(False)
    return sender, receiver


class TimedHash:
    """SHA-256 whose time is told apart."""

    def __init__(self, meter: Meter, inner: Any = None) -> None:
        self._meter, self._inner = meter, inner or hashlib.sha256()
        self.digest, self.hexdigest = self._inner.digest, self._inner.hexdigest

    def update(self, data: bytes) -> None:
        self._meter.call("hash", self._inner.update, data)

    def copy(self) -> "TimedHash":
        return TimedHash(self._meter, self._inner.copy())


@contextmanager
def told_apart(meter: Meter) -> Iterator[None]:
    """Hash, write and fsync of the recorder are steps of their own meanwhile."""
    whole, sync = segment.write_all, os.fdatasync
    segment.hashlib = SimpleNamespace(sha256=lambda: TimedHash(meter))  # type: ignore[assignment]
    segment.write_all = partial(meter.call, "write", whole)
    os.fdatasync = partial(meter.call, "fsync", sync)
    try:
        yield
    finally:
        segment.write_all, os.fdatasync = whole, sync
        segment.hashlib = hashlib


def take(wire: Wire, buffer: bytearray, view: memoryview, now_us: int, meter: Meter) -> None:
    """One tick of one camera, as `NativeSession` does it."""
    filled = len(wire.rest)
    view[:filled] = wire.rest
    try:
        filled += meter.call("receive", wire.receive_into, view[filled:])
    except BlockingIOError:
        return
    wire.delivery.note_time(now_us, now_us)
    position = meter.call("packets", wire.reader.push_interleaved, buffer, 0, filled, 0, now_us)
    wire.rest = bytes(view[position:filled])
    meter.call("deliver", wire.delivery.deliver, now_us)


def bare(wire: Wire, frame: bytearray, view: memoryview, meter: Meter) -> None:
    """One tick of one camera of a reader that does nothing else."""
    with suppress(BlockingIOError):
        size = meter.call("receive", wire.receive_into, view)
        meter.call("copy", lambda: frame.__setitem__(slice(0, size), view[:size]))


def measure(spec: FootageSpec, cameras: int, seconds: float, *, idle: bool = False) -> Meter:
    """CPU seconds a camera-minute of each step; ``idle`` for the bare reader."""
    prepared = PreparedFootage(FootageCache(FOLDER).get(spec))
    meter = Meter()
    buffer = bytearray(1 << 20)
    view, frame = memoryview(buffer), bytearray(1 << 20)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as folder, told_apart(meter):
        tools = recorder_tools(Path(folder), quota_bytes=1 << 40)
        wires = [Wire(f"cam-{n:04d}", prepared, tools, meter) for n in range(cameras)]
        for tick in range(1, round(seconds * TICKS_A_SECOND) + 1):
            since_us = tick * 1_000_000 // TICKS_A_SECOND
            for wire in wires:
                wire.send(since_us)
                if idle:
                    bare(wire, frame, view, meter)
                else:
                    take(wire, buffer, view, START_US + since_us, meter)
        if not idle:
            due = seconds * float(spec.frames_per_second)
            taken = sum(wire.sink.frames_received for wire in wires) / cameras
            waiting = 2 + float(spec.frames_per_second) / TICKS_A_SECOND
            assert due - waiting <= taken <= due, f"{taken} frames a camera of {due}"
        for wire in wires:
            wire.close()
    for step in meter.seconds:
        meter.seconds[step] *= 60 / seconds / cameras
    return meter


def best(spec: FootageSpec, cameras: int, seconds: float, rounds: int, **how: Any) -> Meter:
    """The round of least cost: what was added by others is no part of it."""
    made = [measure(spec, cameras, seconds, **how) for _ in range(rounds)]
    return min(made, key=lambda meter: sum(meter.seconds.values()))


def footage(bit_rate: int = 4_000_000, frame_rate: int = 25) -> FootageSpec:
    """Two seconds between key frames; the size of the picture costs a recorder nothing."""
    return FootageSpec(
        width=640, height=360, bitrate_bps=bit_rate, frames_per_second=frame_rate,
        gop_frames=2 * frame_rate, frame_count=4 * frame_rate,
    )  # fmt: skip


def show(options: argparse.Namespace) -> None:
    floor = best(footage(), options.cameras, options.seconds, options.rounds, idle=True)
    meter = best(footage(), options.cameras, options.seconds, options.rounds)
    total, least = sum(meter.seconds.values()), sum(floor.seconds.values())
    print(f"{options.cameras} cameras, 25 frames/s, 4 Mbit/s; CPU seconds a camera-minute")
    for step in STEPS:
        print(f"  {step:<18}{meter.seconds[step]:.4f}  {meter.seconds[step] / total:5.0%}")
    print(f"  {'in all':<18}{total:.4f}")
    print(f"a reader that receives and copies only: {least:.4f}, 1/{total / least:.1f} of it")


def grow(options: argparse.Namespace) -> None:
    """Charts of the cost by bit rate, frame rate and number of cameras."""

    def line(
        cases: Mapping[float, tuple[FootageSpec, int]],
    ) -> dict[str, list[tuple[float, float]]]:
        made = {
            x: best(spec, cameras, options.seconds, options.rounds)
            for x, (spec, cameras) in cases.items()
        }
        whole = [(x, sum(meter.seconds.values())) for x, meter in made.items()]
        reading = [(x, sum(meter.seconds[s] for s in STEPS[:3])) for x, meter in made.items()]
        for (x, total), (_, part) in zip(whole, reading, strict=True):
            print(f"  {x:g}: {total:.4f}, of it receiving {part:.4f}", flush=True)
        return {"in all": whole, "receiving": reading}

    charts = {
        "bit-rate": ("Mbit/s a camera", {
            mega: (footage(round(mega * 1e6)), options.cameras) for mega in (0.5, 1, 2, 4, 8)
        }),
        "frame-rate": ("frames a second, at 4 Mbit/s", {
            rate: (footage(frame_rate=rate), options.cameras) for rate in (5, 10, 25, 50)
        }),
        "cameras": ("cameras of 4 Mbit/s", {n: (footage(), n) for n in (1, 10, 50, 100, 200)}),
    }  # fmt: skip
    options.growth.mkdir(parents=True, exist_ok=True)
    for name, (across, cases) in charts.items():
        print(f"by {across}; CPU seconds a camera-minute", flush=True)
        picture = chart.draw(f"Cost by {name}", across, "CPU s a camera-minute", line(cases))
        (options.growth / f"cost-by-{name}.svg").write_text(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--cameras", type=int, default=20)
    parser.add_argument("-s", "--seconds", type=float, default=12, help="of footage, not of time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", type=Path, help="folder for the charts")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if options.growth is None:
        show(options)
    else:
        grow(options)


if __name__ == "__main__":
    main()
