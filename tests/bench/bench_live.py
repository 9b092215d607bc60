"""Live pictures: what is added between the camera and the viewer, with many viewers of one camera.

Simulated cameras (25 frames a second, every frame bears the time at which it was due) run in a
process of their own, `vigie up` in another, the viewers in a few more, each viewer with its own
connection. For every frame and every viewer: from the instant at which the camera sends it to the
instant at which the viewer's program has it, so the simulator's and the viewers' own delays are in
it. Some more viewers read nothing at all and must not cost the others anything.

Reception must not notice: afterwards the numbers of the frames stored of every camera are compared
with what the simulator sent. Exit code 1 when frames are lost, doubled or out of order, or when
the 99th percentile is above 200 ms.

    python tests/bench/bench_live.py                # 10 cameras, 50 viewers, 20 s, 640x360
    python tests/bench/bench_live.py --full         # 50 cameras, 1080p25 at 4 Mbit/s, 60 s
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_product_reception import (
    PUNCTUAL_US,
    all_playing,
    check_footage,
    footage_of,
    profile,
)
from peers import RECEIVER_CORE, SOURCE_CORE, cpu_seconds, pinned, pss_bytes, say

from faults.soaking.samples import metrics_page
from integration.foreign.product import OPERATOR, Product
from vigie.common.v1 import types_pb2
from vigie.ingest.v1 import live_pb2, live_pb2_grpc
from vigie.media.bmff.reader import read_fragments, read_header
from vigie.simcam import CameraConfig, ServerConfig, mark_of_sample
from vigie.simcam.client import SimCamProcess

MUST_REACH_MS = 200.0
SETTLE_SECONDS = 3
LAG_SECONDS = 5.0
"""The metric is the worst since the last heartbeat, which is so long."""
TICK_LAG = "vigie_ingest_tick_lag_seconds"
PURPOSE = types_pb2.Purpose(text="Mesure des images en direct")


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))]


# --- viewers: a process of its own ---------------------------------------------------------------


class Viewer:
    """Watches; notes when each chunk is there.

    Attributes:
        seen: (decode time in ticks, when it was there, when the receiver had it), microseconds.
        frames: decode time of a chunk -> when its frames were due; of one viewer a process.
        skipped: frames that were left out for it.
    """

    def __init__(self, *, reads: bool) -> None:
        self._reads = reads
        self.seen: list[tuple[int, int, int]] = []
        self.frames: dict[int, list[int]] = {}
        self.skipped = 0
        self._header = b""
        self.begun = asyncio.Event()

    async def watch(self, options: argparse.Namespace) -> None:
        channel = grpc.aio.insecure_channel(
            options.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        call = live_pb2_grpc.LiveServiceStub(channel).WatchLive(
            live_pb2.WatchLiveRequest(camera=f"cameras/{options.camera}", purpose=PURPOSE),
            metadata=(("authorization", f"Bearer {os.environ['VIGIE_TOKEN']}"),),
        )
        async for message in call:
            now_us = time.time_ns() // 1000
            if message.HasField("chunk"):
                chunk = message.chunk
                self.seen.append((chunk.decode_time_ticks, now_us, chunk.arrival_us))
                self.begun.set()
                if self._reads:
                    self._read(chunk)
            elif message.HasField("header"):
                self._header = message.header.data
            elif message.HasField("skipped"):
                self.skipped += message.skipped.frame_count

    def _read(self, chunk: live_pb2.LiveChunk) -> None:
        data = self._header + chunk.data
        due = self.frames.setdefault(chunk.decode_time_ticks, [])
        for fragment in read_fragments(data, read_header(data)):
            position = fragment.data_offset
            for size in fragment.table.sizes:
                mark = mark_of_sample(data[position : position + size])
                assert mark is not None
                due.append(mark.capture_us)
                position += size


async def be_viewers(options: argparse.Namespace) -> None:
    """Watch until standard input closes; say when all see something, and then what was seen."""
    viewers = [Viewer(reads=not index) for index in range(options.viewers)]
    tasks = [asyncio.create_task(viewer.watch(options)) for viewer in viewers]
    for viewer in viewers:
        await viewer.begun.wait()
    print("all watch", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    done = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps({
        "seen": [viewer.seen for viewer in viewers],
        "frames": list(viewers[0].frames.items()),
        "skipped": sum(viewer.skipped for viewer in viewers),
        "ended": len(done),
    }))  # fmt: skip


async def be_deaf(options: argparse.Namespace) -> None:
    """Watch, and read nothing after the first message, until standard input closes."""
    calls = []
    for _ in range(options.viewers):
        channel = grpc.aio.insecure_channel(
            options.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        call = live_pb2_grpc.LiveServiceStub(channel).WatchLive(
            live_pb2.WatchLiveRequest(camera=f"cameras/{options.camera}", purpose=PURPOSE),
            metadata=(("authorization", f"Bearer {os.environ['VIGIE_TOKEN']}"),),
        )
        await call.read()
        calls.append(call)
    print("all watch", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for call in calls:
        call.cancel()
    print(json.dumps({}))


class ViewerProcess:
    """Some viewers in a process of their own."""

    def __init__(self, kind: str, count: int, product: Product, camera: str) -> None:
        command = [
            *pinned(SOURCE_CORE), sys.executable, __file__, f"--{kind}", "--viewers", str(count),
            "--address", product.address, "--camera", camera,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"VIGIE_TOKEN": product.token(OPERATOR)},
        )  # fmt: skip

    def wait(self) -> None:
        """Until every one of them sees something."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "all watch\n"

    def end(self) -> dict[str, Any]:
        """What they saw."""
        out, _ = self._process.communicate("", timeout=120)
        found: dict[str, Any] = json.loads(out)
        return found


async def worst_tick_lag_ms(product: Product, seconds: float) -> float:
    """Let time pass; how late the receiving threads were at worst meanwhile, by their metric."""
    worst, until = 0.0, time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(LAG_SECONDS, left))
        for line in (await metrics_page(product.http_address)).splitlines():
            if line.startswith(TICK_LAG):
                worst = max(worst, float(line.rpartition(" ")[2]) * 1000)
    return worst


# --- the measurement -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Latency:
    """What was added, milliseconds, sorted.

    Attributes:
        whole: from the camera's sending to the viewer, each frame and viewer.
        inside: from the tick that received it to the viewer, each chunk and viewer.
        chunks: of all viewers together.
        skipped: frames that were left out for viewers.
    """

    whole: list[float]
    inside: list[float]
    chunks: int
    skipped: int

    def show(self, name: str) -> None:
        whole = ", ".join(f"p{share:g} {percentile(self.whole, share / 100):.0f}"
                          for share in (50, 90, 99, 99.9))  # fmt: skip
        say(f"{name}: camera to viewer {whole}, worst {self.whole[-1]:.0f} ms; "
            f"of it after the tick p50 {percentile(self.inside, 0.5):.1f}, "
            f"p99 {percentile(self.inside, 0.99):.1f} ms; {self.chunks} chunks, "
            f"{self.skipped} frames left out")  # fmt: skip


def latency_of(found: Sequence[dict[str, Any]], since_us: int) -> Latency:
    """Of everything that was seen after an instant (before it viewers catch up with the group)."""
    due = {ticks: times for each in found for ticks, times in each["frames"]}
    whole, inside = [], []
    for seen in (seen for each in found for seen in each["seen"]):
        for ticks, there_us, arrival_us in seen:
            if arrival_us >= since_us:
                inside.append((there_us - arrival_us) / 1000)
                whole += [(there_us - at_us) / 1000 for at_us in due.get(ticks, ())]
    return Latency(
        sorted(whole), sorted(inside), len(inside), sum(each["skipped"] for each in found)
    )


async def watch(
    product: Product, options: argparse.Namespace, camera: str, *, deaf: int
) -> tuple[Latency, float, float]:
    """Watch for a while; what was added, processor seconds a minute, and the worst lag of ticks."""
    share, rest = divmod(options.viewers, options.processes)
    counts = [share + (index < rest) for index in range(options.processes)]
    processes = [ViewerProcess("watch", count, product, camera) for count in counts if count]
    if deaf:
        processes.append(ViewerProcess("deaf-ones", deaf, product, camera))
    for process in processes:
        await asyncio.to_thread(process.wait)
    await asyncio.sleep(SETTLE_SECONDS)
    since_us, before, began = time.time_ns() // 1000, cpu_seconds(product.pid), time.monotonic()
    lag_ms = await worst_tick_lag_ms(product, options.seconds)
    used = (cpu_seconds(product.pid) - before) * 60 / (time.monotonic() - began)
    found = [await asyncio.to_thread(process.end) for process in processes]
    found = [each for each in found if each]
    ended = sum(each["ended"] for each in found)
    assert not ended, f"{ended} viewers were sent away"
    latency = latency_of(found, since_us)
    assert latency.whole, "no frame was seen"
    return latency, used, lag_ms


async def measure(
    folder: Path, simulator: SimCamProcess, options: argparse.Namespace
) -> tuple[list[Latency], list[str]]:
    product = Product(folder, settings=["segment_seconds = 10"], launcher=pinned(RECEIVER_CORE))
    latencies: list[Latency] = []
    async with product:
        await product.make_places()
        began = time.monotonic()
        await product.commission(simulator.urls)
        await all_playing(simulator, began)
        await asyncio.sleep(SETTLE_SECONDS)
        await simulator.control.worst_lateness_us()
        camera = min(simulator.urls)
        before, began = cpu_seconds(product.pid), time.monotonic()
        lag_ms = await worst_tick_lag_ms(product, options.seconds / 2)
        unwatched = (cpu_seconds(product.pid) - before) * 60 / (time.monotonic() - began)
        memory = pss_bytes(product.pid) / 1e6
        say(
            f"nobody watches: {unwatched / 60:.3f} of a core, PSS {memory:.0f} MB, ticks late by "
            f"{lag_ms:.0f} ms at worst"
        )
        for deaf in (0, options.deaf):
            latency, used, lag_ms = await watch(product, options, camera, deaf=deaf)
            others = f" and {deaf} who read nothing" if deaf else ""
            latency.show(f"{options.viewers} viewers{others}")
            each = (used - unwatched) / options.viewers
            late_ms = await simulator.control.worst_lateness_us() / 1000
            memory = pss_bytes(product.pid) / 1e6
            say(
                f"  {used / 60:.3f} of a core, {each:.3f} CPU seconds a viewer-minute, PSS "
                f"{memory:.0f} MB; ticks late by {lag_ms:.0f} ms at worst, the simulator by "
                f"{late_ms:.0f} ms"
            )
            latencies.append(latency)
        if options.profile:
            viewers = ViewerProcess("watch", options.viewers, product, camera)
            await asyncio.to_thread(viewers.wait)
            await profile(product.pid, options.profile, 1)
            viewers.end()
        await product.stop()
    sent = {each: await simulator.control.sent(each) for each in simulator.urls}
    is_punctual = await simulator.control.worst_lateness_us() < PUNCTUAL_US
    wrong = check_footage(list(product.stored()), sent, 2, is_punctual=is_punctual)
    return latencies, wrong


async def run(options: argparse.Namespace) -> int:
    cameras = tuple(
        CameraConfig(id=f"cam-{number:03d}", footage=footage_of(options))
        for number in range(1, options.cameras + 1)
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=options.folder, prefix="live-"))
    config = ServerConfig(cameras=cameras, cache_folder=ROOT / "build" / "bench-footage")
    try:
        async with SimCamProcess(config, work) as simulator:
            if pinned(SOURCE_CORE):
                os.sched_setaffinity(simulator.process_id, {SOURCE_CORE})
            latencies, wrong = await measure(work / "product", simulator, options)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for latency in latencies:
        worst_ms = percentile(latency.whole, 0.99)
        if worst_ms > MUST_REACH_MS:
            wrong.append(f"p99 is {worst_ms:.0f} ms, above {MUST_REACH_MS:.0f}")
    for line in wrong:
        say(f"WRONG {line}")
    say("frames lost: none" if not wrong else f"{len(wrong)} things are wrong")
    say(f"load of the machine: {', '.join(f'{each:.1f}' for each in os.getloadavg())}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--cameras", type=int, default=10)
    parser.add_argument("-s", "--seconds", type=float, default=20)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--processes", type=int, default=2, help="of viewers")
    parser.add_argument("--deaf", type=int, default=5, help="more viewers, who read nothing")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--bitrate", type=int, default=1_000_000, help="bits a second and camera")
    parser.add_argument("--full", action="store_true", help="50 cameras, 1080p25, 60 s")
    parser.add_argument("--folder", type=Path, default=ROOT / "build")
    parser.add_argument("--profile", help="path of py-spy: profile the product, too")
    parser.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--deaf-ones", dest="is_deaf", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    parser.add_argument("--camera", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch or options.is_deaf:
        asyncio.run(be_deaf(options) if options.is_deaf else be_viewers(options))
        return 0
    if options.full:
        options.cameras, options.seconds = 50, 60.0
        options.width, options.height, options.bitrate = 1920, 1080, 4_000_000
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
