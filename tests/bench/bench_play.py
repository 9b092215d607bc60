"""First byte of `Play`: from the call to the first message with footage, at the client, over gRPC.

`vigie up` as a process, an index of 251 cameras x 30 days beside the footage that is played: one
camera at 4 Mbit/s, real objects. Instants are drawn at random; every playback is a call of its own
with authentication, admission and an access record that is durable before the first byte. What
one instant after the other costs the product is printed too: timelines over the same connection.

    python tests/bench/bench_play.py           # 10 minutes of footage, 100 calls
    python tests/bench/bench_play.py --full    # an hour of footage, 500 calls
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from estate import (
    DAY_US,
    HOUR_US,
    SEGMENT_US,
    History,
    HistoryWriter,
    camera_name,
    commission,
    store_footage,
)

from integration.foreign.product import OPERATOR, Product, time_window
from vigie.common.v1.types_pb2 import Purpose
from vigie.platform.clock import SystemWallClock
from vigie.recording.v1 import playback_pb2, playback_pb2_grpc, recording_pb2, recording_pb2_grpc

LIMIT_MS = 50.0


async def first_byte(
    stub: playback_pb2_grpc.PlaybackServiceStub, camera: str, at_us: int, end_us: int
) -> float:
    """Milliseconds until footage comes; the rest of the playback is not asked for."""
    request = playback_pb2.PlayRequest(
        camera=f"cameras/{camera}", purpose=Purpose(text="measurement")
    )
    request.start_time.FromMicroseconds(at_us)
    request.end_time.FromMicroseconds(end_us)
    begun = time.perf_counter()
    call = stub.Play(request)
    async for message in call:
        if message.HasField("fragment"):
            taken = (time.perf_counter() - begun) * 1000
            call.cancel()
            return taken
    raise SystemExit("nothing was played")


async def play(product: Product, options: argparse.Namespace, start_us: int) -> list[float]:
    """First bytes from instants chosen at random."""
    stub = product.client(playback_pb2_grpc.PlaybackServiceStub, OPERATOR)
    rng = random.Random(3)
    end_us = start_us + options.segments * SEGMENT_US
    taken = []
    for number in range(options.calls + 5):
        at_us = rng.randrange(start_us, end_us - 1_000_000)
        milliseconds = await first_byte(stub, camera_name(0), at_us, end_us)
        if number >= 5:
            taken.append(milliseconds)
    return taken


async def timelines(product: Product, options: argparse.Namespace, end_us: int) -> list[float]:
    """GetTimeline of a camera-day, over gRPC."""
    stub = product.client(recording_pb2_grpc.RecordingServiceStub, OPERATOR)
    rng = random.Random(4)
    taken = []
    for number in range(options.calls + 5):
        start_us = end_us - rng.randint(2, options.days) * DAY_US
        camera = camera_name(rng.randrange(options.cameras))
        request = recording_pb2.GetTimelineRequest(
            cameras=[f"cameras/{camera}"], window=time_window(start_us, start_us + DAY_US)
        )
        begun = time.perf_counter()
        await stub.GetTimeline(request)
        if number >= 5:
            taken.append((time.perf_counter() - begun) * 1000)
    return taken


def told(name: str, taken: list[float]) -> str:
    percentiles = statistics.quantiles(taken, n=100)
    return (
        f"{name}: p50 {statistics.median(taken):.1f} ms, p99 {percentiles[98]:.1f} ms "
        f"({len(taken)} calls)"
    )


async def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        async with Product(folder) as product:
            await product.make_places()
            await commission(product, options.cameras)
        now_us = SystemWallClock().now_us()
        start_us = now_us - 2 * HOUR_US
        history = History(options.days, 1)
        HistoryWriter(folder / "data" / "vigie.db", history, start_us - HOUR_US).write(
            options.cameras
        )
        await store_footage(folder, camera_name(0), start_us, count=options.segments)
        async with Product(folder) as product:
            while not await listed(product, start_us, options.segments):
                await asyncio.sleep(0.5)
            plays = await play(product, options, start_us)
            lines = await timelines(product, options, start_us)
    print(told("first byte of Play", plays))
    print(told("GetTimeline of a camera-day over gRPC, access recorded", lines))
    kept = statistics.median(plays) <= LIMIT_MS
    print("promise kept" if kept else "PROMISE BROKEN", f"(p50 of Play <= {LIMIT_MS:.0f} ms)")
    return 0 if kept else 1


async def listed(product: Product, start_us: int, segments: int) -> bool:
    end_us = start_us + segments * SEGMENT_US
    (entries,) = (await product.timeline([camera_name(0)], start_us, end_us)).values()
    return len(entries) == 1 and entries[0].kind == recording_pb2.TIMELINE_ENTRY_KIND_SPAN


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=20)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--segments", type=int, default=20, help="of 30 s, that are played")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--full", action="store_true", help="251 cameras, an hour, 500 calls")
    parser.add_argument("--folder", default=None, help="where the installation is made")
    options = parser.parse_args()
    if options.full:
        options.cameras, options.segments, options.calls = 251, 120, 500
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
