"""How long `vigie up` takes to start on an installation that has recorded for a month.

An installation of 251 cameras is made by the product itself (which measures what entering a camera
costs); then a month of index is written behind its back. Measured: from the command to the moment
when everything serves (`run.json`), the CPU time that takes, and the memory afterwards.

    python tests/bench/bench_start.py           # 30 days of spans, the last day's segments
    python tests/bench/bench_start.py --full    # 30 days of segments and events, too (20 GB)
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from estate import DAY_US, HOUR_US, History, HistoryWriter, commission, memory_bytes

from integration.foreign.product import Product
from vigie.platform.clock import SystemWallClock

LIMIT_SECONDS = 5.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


async def start_once(folder: Path) -> tuple[float, float, int]:
    """Seconds from the command to readiness, CPU seconds of it, PSS 5 s later."""
    begun = time.perf_counter()
    async with Product(folder) as product:
        took = time.perf_counter() - begun
        cpu = cpu_seconds(product.pid)
        await asyncio.sleep(5)
        return took, cpu, memory_bytes(product.pid)


async def run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        async with Product(folder) as product:
            empty = memory_bytes(product.pid)
            await product.make_places()
            taken = await commission(product, options.cameras)
        print(f"first start: PSS {empty / 1e6:.1f} MB; entering and commissioning a camera: "
              f"p50 {statistics.median(taken):.1f} ms, {len(taken)} cameras "
              f"in {sum(taken) / 1000:.1f} s", flush=True)  # fmt: skip
        end_us = SystemWallClock().now_us() - HOUR_US
        end_us -= end_us % DAY_US % HOUR_US
        history = History(options.days, options.segment_days)
        begun = time.perf_counter()
        segments = HistoryWriter(folder / "data" / "vigie.db", history, end_us).write(
            options.cameras
        )
        size = (folder / "data" / "vigie.db").stat().st_size
        took = time.perf_counter() - begun
        print(f"{options.cameras} cameras x {options.days} days: {segments} segments and events, "
              f"{size / 1e9:.2f} GB, written in {took:.0f} s", flush=True)  # fmt: skip
        starts = [await start_once(folder) for _ in range(options.starts)]
    seconds = statistics.median(each[0] for each in starts)
    print(f"start of vigie up: {seconds:.2f} s (p50 of {len(starts)}), of it CPU "
          f"{statistics.median(each[1] for each in starts):.2f} s; PSS afterwards "
          f"{statistics.median(each[2] for each in starts) / 1e6:.1f} MB")  # fmt: skip
    kept = seconds <= LIMIT_SECONDS
    print("promise kept" if kept else "PROMISE BROKEN", f"(start <= {LIMIT_SECONDS} s)")
    return 0 if kept else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=251)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--segment-days", type=int, default=1)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="segments of every day")
    parser.add_argument("--folder", default=None, help="where the installation is made")
    options = parser.parse_args()
    if options.full:
        options.segment_days = options.days
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
