"""What an evidence package of one camera-hour costs, beside `cat segments | sha256sum`.

`vigie up` as a process; one camera at 4 Mbit/s with real objects in the store. A request is made,
approved by another person, and the time is taken from the approval to READY: hold, build, sign,
store, read back, verify. Memory is what the process takes more than before, at the highest.

    python tests/bench/bench_package.py           # six minutes of footage
    python tests/bench/bench_package.py --full    # an hour
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_play import listed
from bench_start import cpu_seconds
from estate import HOUR_US, SEGMENT_US, camera_name, commission, memory_bytes, store_footage

from integration.foreign.product import Product, time_window
from vigie.evidence.v1 import evidence_service_pb2 as pb
from vigie.evidence.v1 import evidence_service_pb2_grpc as pb_grpc
from vigie.platform.clock import SystemWallClock

TIMES_REAL = 500
TIMES_CAT = 2.0
MEMORY_BYTES = 200_000_000
ASKER, DECIDER = "enqueteur", "responsable"
MORE_PEOPLE = "".join(
    f'[people.{name}]\nname = "{name}"\nagency = "csu"\nroles = ["{role}"]\nzones = ["*"]\n'
    for name, role in ((ASKER, "investigator"), (DECIDER, "supervisor"))
)


async def package(product: Product, start_us: int, end_us: int) -> tuple[float, float, int, int]:
    """Seconds from approval to READY, CPU seconds, greatest growth of PSS, size of the package."""
    asker = product.client(pb_grpc.EvidenceServiceStub, ASKER)
    decider = product.client(pb_grpc.EvidenceServiceStub, DECIDER)
    request = await asker.CreateEvidenceRequest(
        pb.CreateEvidenceRequestRequest(
            cameras=[f"cameras/{camera_name(0)}"],
            window=time_window(start_us, end_us),
            purpose="measurement",
            case_reference="PV 2026/1",
            legal_basis="CPP 60-1",
        )
    )
    before, cpu = memory_bytes(product.pid), cpu_seconds(product.pid)
    highest = before
    begun = time.perf_counter()
    await decider.ApproveEvidenceRequest(
        pb.ApproveEvidenceRequestRequest(name=request.name, reason="seen", etag=request.etag)
    )
    while request.state not in {pb.EVIDENCE_STATE_READY, pb.EVIDENCE_STATE_FAILED}:
        await asyncio.sleep(0.2)
        highest = max(highest, memory_bytes(product.pid))
        request = await asker.GetEvidenceRequest(pb.GetEvidenceRequestRequest(name=request.name))
    took = time.perf_counter() - begun
    if request.state != pb.EVIDENCE_STATE_READY:
        raise SystemExit(f"{request.failure}: {request.failure_detail}")
    return took, cpu_seconds(product.pid) - cpu, highest - before, request.package.size_bytes


def cat_and_hash(paths: Sequence[Path]) -> float:
    """Seconds of `cat segments | sha256sum`."""
    begun = time.perf_counter()
    with subprocess.Popen(["cat", *map(str, paths)], stdout=subprocess.PIPE) as cat:
        subprocess.run(["sha256sum"], stdin=cat.stdout, check=True, capture_output=True)
    return time.perf_counter() - begun


async def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        async with Product(folder) as product:
            await product.make_places()
            await commission(product, 1)
        start_us = SystemWallClock().now_us() - 3 * HOUR_US
        end_us = start_us + options.segments * SEGMENT_US
        paths = await store_footage(folder, camera_name(0), start_us, count=options.segments)
        taken, cats = [], []
        async with Product(folder) as product:
            with (folder / "people.toml").open("a", encoding="utf-8") as people:
                people.write(MORE_PEOPLE)
            while not await listed(product, start_us, options.segments):
                await asyncio.sleep(0.5)
            await asyncio.sleep(2)  # the list of people is read again
            for _ in range(options.rounds):
                cats.append(cat_and_hash(paths))
                taken.append(await package(product, start_us, end_us))
    seconds, cat = statistics.median(each[0] for each in taken), statistics.median(cats)
    duration = options.segments * SEGMENT_US / 1e6
    memory = max(each[2] for each in taken)
    print(f"package of {duration:.0f} s of footage, {taken[0][3] / 1e6:.0f} MB: {seconds:.2f} s "
          f"(p50 of {len(taken)}), CPU {statistics.median(each[1] for each in taken):.2f} s, "
          f"{memory / 1e6:.0f} MB of memory more")  # fmt: skip
    print(f"cat segments | sha256sum: {cat:.2f} s")
    times_real, times_cat = duration / seconds, seconds / cat
    print(f"{times_real:.0f} times real time; {times_cat:.2f} times cat and sha256sum")
    kept = times_real >= TIMES_REAL and times_cat <= TIMES_CAT and memory < MEMORY_BYTES
    print("promise kept" if kept else "PROMISE BROKEN",
          f"(>= {TIMES_REAL} times real time, <= {TIMES_CAT:.0f} times cat, < 200 MB)")  # fmt: skip
    return 0 if kept else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=12, help="of 30 s, 15 MB each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="an hour of footage")
    parser.add_argument("--folder", default=None, help="where the installation is made")
    options = parser.parse_args()
    if options.full:
        options.segments = 120
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
