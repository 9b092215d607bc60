"""What recording costs with the whole product running, beside recorders that are not ours.

Simulated cameras (H.264, key frames every 2 s, every frame numbered) run in a process of their own
on the first core; `vigie up` with its defaults (index, timeline, audit, metrics, uploads into the
store, segments of 30 s) on the second; afterwards its peers there, of the same cameras: one
`ffmpeg -c copy` a camera, PyAV with a thread a camera, MediaMTX where it is on the PATH. Printed:
CPU seconds (user and system) a camera-minute, PSS a camera, frames lost.

No frame may be lost: the numbers in the footage of every camera are compared with what the
simulator says it has sent, and those of some cameras are read frame by frame. Exit code 1
otherwise. On a machine that has other things to do, look at how late the simulator was, and at
the part of the stream that ffmpeg could take: a run may be broken, without loss, by frames that
the simulator sent seconds late, and whoever does not keep up seems cheap.

    python tests/bench/bench_product_reception.py            # 20 cameras for 20 s, 640x360
    python tests/bench/bench_product_reception.py --full     # 100 cameras for 2 minutes, 1080p25
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from peers import (
    PEERS,
    READY_SECONDS,
    RECEIVER_CORE,
    SOURCE_CORE,
    Figures,
    measure,
    missing,
    pinned,
    pss_bytes,
    say,
    steady,
)

from integration.foreign.product import Product, StoredSegment
from vigie.media.bmff.reader import read_fragments, read_header
from vigie.simcam import CameraConfig, FootageSpec, ServerConfig, mark_of_sample
from vigie.simcam.client import SimCamProcess

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PROFILE_SECONDS = 15
TAIL_FRAMES = 25
"""What may still be on its way, unread, when reception is ended."""
PUNCTUAL_US = 500_000
"""A simulator that was later than this measures the machine and not the product."""


def footage_of(options: argparse.Namespace) -> FootageSpec:
    return FootageSpec(
        width=options.width,
        height=options.height,
        frame_count=100,
        gop_frames=50,
        bitrate_bps=options.bitrate,
    )


# --- the product ---------------------------------------------------------------------------------


async def measure_product(
    folder: Path, simulator: SimCamProcess, options: argparse.Namespace
) -> tuple[Figures, list[str]]:
    """Record with the product; its figures, and what is wrong with the footage."""
    product = Product(
        folder,
        settings=[f"segment_seconds = {options.segment_seconds}"],
        launcher=pinned(RECEIVER_CORE),
    )
    count = len(simulator.urls)
    async with product:
        empty = pss_bytes(product.pid)
        await product.make_places()
        began = time.monotonic()
        await product.commission(simulator.urls)
        await all_playing(simulator, began)
        started = time.monotonic() - began
        late_us = [await simulator.control.worst_lateness_us()]
        figures = await steady([product.pid], options.seconds, count, started)
        late_us.append(await simulator.control.worst_lateness_us())
        say(f"vigie up, idle: PSS {empty / 1e6:.1f} MB; with {count} cameras "
            f"{figures.pss * count / 1e6:.1f} MB")  # fmt: skip
        if options.profile:
            await profile(product.pid, options.profile, count)
        stopping = time.monotonic()
        code = await product.stop()
        say(f"stopped in {time.monotonic() - stopping:.1f} s, exit code {code}")
    sent = {camera: await simulator.control.sent(camera) for camera in simulator.urls}
    late_us.append(await simulator.control.worst_lateness_us())
    told = ", ".join(f"{late / 1000:.0f}" for late in late_us)
    say(f"simulator: at worst late by {told} ms at the start, in the steady state, at the end")
    is_punctual = max(late_us) < PUNCTUAL_US
    wrong = check_footage(list(product.stored()), sent, options.whole, is_punctual=is_punctual)
    wrong += [f"fsck: {finding}" for finding in await product.fsck(deep=False)]
    return figures, wrong


def thread_seconds(pid: int) -> dict[int, float]:
    """CPU seconds of each thread."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            found[int(task.name)] = (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
    return found


async def profile(pid: int, program: str, cameras: int) -> None:
    """What each thread used, named by py-spy, which is no dependency of ours; then where."""
    before, since = thread_seconds(pid), time.monotonic()
    await asyncio.sleep(PROFILE_SECONDS)
    passed = time.monotonic() - since
    used = {thread: now - before.get(thread, 0.0) for thread, now in thread_seconds(pid).items()}
    command = [program, "dump", "--nonblocking", "--pid", str(pid)]
    dump = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    names = dict(re.findall(r'^Thread (\d+) .*"(.*)"$', dump, re.MULTILINE))
    for thread, seconds in sorted(used.items(), key=lambda pair: -pair[1])[:16]:
        say(f"  {seconds * 60 / passed / cameras:.4f} {names.get(str(thread), thread)}")
    output = Path(tempfile.gettempdir()) / "bench-product.raw"
    command = [program, "record", "--nonblocking", "--gil", "-d", str(PROFILE_SECONDS)]
    command += ["-r", "100", "-f", "raw", "-o", str(output), "--pid", str(pid)]
    recorder = await asyncio.create_subprocess_exec(*command, stdout=-3, stderr=-3)
    await recorder.wait()
    say(f"profile: {output}")


async def all_playing(simulator: SimCamProcess, began: float) -> None:
    while time.monotonic() - began < READY_SECONDS:
        states = await simulator.control.cameras()
        if all(state["sessions"] and state["frames_sent"] for state in states.values()):
            return
        await asyncio.sleep(0.2)
    raise SystemExit("not every camera was connected to in time")


def check_footage(
    segments: list[StoredSegment],
    sent: dict[str, dict[str, Any]],
    whole: int,
    *,
    is_punctual: bool,
) -> list[str]:
    """Compare what is stored with what was sent; what is wrong."""
    by_camera: defaultdict[str, list[StoredSegment]] = defaultdict(list)
    for segment in segments:
        by_camera[segment.camera].append(segment)
    wrong: list[str] = []
    frames, broken, tails = 0, 0, [0]
    for index, (camera, told) in enumerate(sorted(sent.items())):
        mine = sorted(by_camera[camera], key=lambda each: each.start_us)
        spans = told["spans"]
        if len(spans) != 1 or told["damaged"] or not mine:
            wrong.append(f"{camera}: {len(spans)} connections, {len(mine)} segments")
            continue
        runs = {segment.run for segment in mine}
        count = sum(segment.sample_count for segment in mine)
        first, last = next(numbers(mine[0])), list(numbers(mine[-1]))[-1]
        frames += count
        tails.append(spans[0]["last"] - last)
        broken += len(runs) - 1
        if first != spans[0]["first"] or count != last - first + 1:
            wrong.append(f"{camera}: {count} frames for {first} to {last}")
        if is_punctual and len(runs) != 1:
            wrong.append(f"{camera}: {len(runs)} runs")
        if is_punctual and tails[-1] > TAIL_FRAMES:
            wrong.append(f"{camera}: {tails[-1]} frames missing at the end")
        if index < whole:
            read = [number for segment in mine for number in numbers(segment)]
            if read != list(range(first, last + 1)):
                wrong.append(f"{camera}: frames are missing, doubled or out of order")
    say(
        f"frames stored: {frames} of {len(sent)} cameras, in {len(segments)} segments; runs broken "
        f"without loss: {broken}; sent and unread at the end: at most {max(tails)} a camera; "
        f"{min(whole, len(sent))} cameras read frame by frame"
    )
    return wrong


def numbers(segment: StoredSegment) -> Iterator[int]:
    """Decode numbers of the frames of a segment."""
    data = segment.path.read_bytes()
    header = read_header(data)
    for fragment in read_fragments(data, header):
        position = fragment.data_offset
        for size in fragment.table.sizes:
            mark = mark_of_sample(data[position : position + size])
            yield -1 if mark is None else mark.decode_number
            position += size


def show(name: str, figures: Figures) -> None:
    say(
        f"{name:<16} CPU {figures.cpu:.4f} s a camera-minute, PSS {figures.pss / 1e6:.2f} MB a "
        f"camera, all recording after {figures.started:.1f} s"
        + (f", {figures.rate / 1e6:.2f} Mbit/s in files" if figures.rate else "")
    )


async def run(options: argparse.Namespace) -> int:
    cache = ROOT / "build" / "bench-footage"
    cameras = tuple(
        CameraConfig(id=f"cam-{number:03d}", footage=footage_of(options))
        for number in range(1, options.cameras + 1)
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=options.folder, prefix="reception-"))
    try:
        simulator = SimCamProcess(ServerConfig(cameras=cameras, cache_folder=cache), work)
        async with simulator:
            if pinned(SOURCE_CORE):
                os.sched_setaffinity(simulator.process_id, {SOURCE_CORE})
            ours, wrong = await measure_product(work / "product", simulator, options)
            if not options.keep:
                shutil.rmtree(work / "product")
            show("vigie up", ours)
            figures = {"vigie": ours}
            for peer in options.peers:
                if why := missing(peer):
                    say(f"{peer}: not measured, {why}")
                    continue
                urls = list(simulator.urls.values())
                theirs = figures[peer] = await measure(peer, work / peer, urls, options.seconds)
                shutil.rmtree(work / peer)
                show(peer, theirs)
                say(f"  vigie up: CPU 1/{theirs.cpu / ours.cpu:.1f} of {peer}, "
                    f"PSS 1/{theirs.pss / ours.pss:.1f}")  # fmt: skip
            if options.json:
                told = {name: vars(each) for name, each in figures.items()}
                options.json.write_text(json.dumps({**told, "wrong": wrong}))
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    for line in wrong:
        say(f"WRONG {line}")
    say("frames lost: none" if not wrong else f"{len(wrong)} things are wrong")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--cameras", type=int, default=20)
    parser.add_argument("-s", "--seconds", type=float, default=20)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--bitrate", type=int, default=1_000_000, help="bits a second and camera")
    parser.add_argument("--segment-seconds", type=int, default=30)
    parser.add_argument("--whole", type=int, default=5, help="cameras read frame by frame")
    parser.add_argument("--full", action="store_true", help="100 cameras, 120 s, 1080p25, 4 Mbit/s")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--folder", type=Path, default=ROOT / "build")
    parser.add_argument("--keep", action="store_true", help="leave footage and logs")
    parser.add_argument("--json", type=Path, help="figures for machines")
    parser.add_argument("--profile", help="path of py-spy: profile the product, too")
    options = parser.parse_args()
    if options.full:
        options.cameras, options.seconds = 100, 120.0
        options.width, options.height, options.bitrate = 1920, 1080, 4_000_000
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
