"""Cost of the timeline of one camera-day on a large index, and on one ten times larger.

    python tests/bench/bench_timeline.py           # 40 cameras x 30 days, then ten times as many
    python tests/bench/bench_timeline.py --full    # 251 cameras x 30 days, then ten times as many

The rows are those that recording writes (spans, outages, camera states) for 30 s segments of runs
that break every few hours; the rows of segments themselves are written too when asked for
(--segments), to show that the timeline does not depend on them. Measured at the service, in
process: reading, composition and the protobuf answer; gRPC adds about a millisecond.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from vigie.platform.clock import ManualWallClock
from vigie.platform.database import EmbeddedDatabase, migrate, open_database
from vigie.recording.index import tables
from vigie.recording.index.outages import pieces
from vigie.recording.model import PIECE_US, Cause
from vigie.recording.servicers.recording import entry_message
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader
from vigie.recording.v1 import recording_pb2 as pb

SECOND = 1_000_000
DAY = 86_400 * SECOND
T0 = 1_772_323_200 * SECOND
SEGMENT_US = 30 * SECOND
BATCH = 20_000


def camera_rows(
    camera: str, days: int, rng: random.Random, *, segments: bool
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """(table, row) of one camera: runs of a few hours with short outages between them."""
    state = {
        "camera": camera,
        "revision": 1,
        "effective_us": T0,
        "lifecycle": 2,
        "zone": "zone-1",
        "authorisations": f'[["authorisations/a",{T0},{T0 + 10_000 * DAY},0]]',
    }
    yield tables.CAMERA_STATES, state
    at_us, end_us = T0, T0 + days * DAY
    while at_us < end_us:
        count = rng.randint(120, 1440)
        run = f"{rng.getrandbits(128):032x}"
        yield from run_rows(camera, run, at_us, count, segments=segments)
        at_us += count * SEGMENT_US
        gap_us = rng.randint(2 * SECOND, 90 * SECOND)
        for start, end in pieces(at_us, at_us + gap_us):
            outage = {
                "outage": f"o-{run}",
                "piece_us": start,
                "camera": camera,
                "start_us": start,
                "end_us": end,
                "cause": int(Cause.CAMERA_SILENT),
                "detail": "no packet for 10 s",
                "open": 0,
            }
            yield tables.OUTAGES, outage
        at_us += gap_us


def run_rows(
    camera: str, run: str, start_us: int, count: int, *, segments: bool
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Spans (and segments) of one run."""
    first = 0
    for number in range(1, count + 1):
        same = (start_us + first * SEGMENT_US) // PIECE_US == (
            start_us + number * SEGMENT_US
        ) // PIECE_US
        if number == count or not same:
            span = {
                "run": run,
                "first_number": first,
                "last_number": number - 1,
                "camera": camera,
                "start_us": start_us + first * SEGMENT_US,
                "end_us": start_us + number * SEGMENT_US,
            }
            yield tables.SPANS, span
            first = number
    for number in range(count if segments else 0):
        start = start_us + number * SEGMENT_US
        yield (
            tables.SEGMENTS,
            {
                "object_key": f"footage/{camera}/{start}.{number}.m4v",
                "camera": camera,
                "run": run,
                "number": number,
                "start_us": start,
                "end_us": start + SEGMENT_US,
                "media_start_ticks": number * 2_700_000,
                "media_duration_ticks": 2_700_000,
                "timescale": 90_000,
                "sample_count": 750,
                "size_bytes": 15_000_000,
                "sha256": "0" * 64,
                "codec": "avc1.640028",
                "width": 1920,
                "height": 1080,
                "camera_clock_offset_us": None,
                "header_sha256": "0" * 64,
                "destroying_us": None,
            },
        )


async def fill(database: EmbeddedDatabase, options: argparse.Namespace, factor: int) -> int:
    """Write an index of ``factor`` times the cameras; how many rows."""
    rng = random.Random(1)
    waiting: dict[str, list[dict[str, Any]]] = {}
    written = 0

    async def flush() -> None:
        async with database.transaction() as connection:
            for name, rows in waiting.items():
                if rows:
                    await connection.execute(insert(tables.METADATA.tables[name]), rows)
        waiting.clear()

    for number in range(options.cameras * factor):
        for table, row in camera_rows(
            f"cam-{number:05d}", options.days, rng, segments=options.segments
        ):
            waiting.setdefault(table.name, []).append(row)
            written += 1
            if written % BATCH == 0:
                await flush()
    await flush()
    return written


async def measure(
    database: EmbeddedDatabase, options: argparse.Namespace, factor: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of camera-days chosen at random, after a warm-up; and of CPU time of these."""
    now_us = T0 + options.days * DAY
    reader = TimelineReader(database, ManualWallClock(now_us), lambda _: None)
    rng = random.Random(2)
    taken: list[float] = []
    worked: list[float] = []
    for query in range(options.queries + 50):
        camera = f"cam-{rng.randrange(options.cameras * factor):05d}"
        start_us = T0 + rng.randrange(max(1, options.days - 1)) * DAY
        begun, cpu = time.perf_counter(), time.process_time()
        entries = [e async for e in reader.entries(camera, Interval(start_us, start_us + DAY))]
        answer = pb.GetTimelineResponse(
            timelines=[
                pb.CameraTimeline(
                    camera=f"cameras/{camera}", entries=[entry_message(e) for e in entries]
                )
            ]
        )
        answer.SerializeToString()
        if query >= 50:
            taken.append((time.perf_counter() - begun) * 1000)
            worked.append((time.process_time() - cpu) * 1000)
    return taken, worked


async def bench(options: argparse.Namespace, factor: int) -> tuple[float, float]:
    """p50 and p99 in milliseconds on an index ``factor`` times as large."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        database = await open_database(Path(folder) / "vigie.sqlite")
        try:
            await migrate(database, tables.MIGRATIONS)
            rows = await fill(database, options, factor)
            async with database.transaction() as connection:
                await connection.exec_driver_sql("ANALYZE")
            taken, worked = await measure(database, options, factor)
        finally:
            await database.close()
    p50, p99 = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
    print(
        f"{options.cameras * factor} cameras x {options.days} days: {rows} rows, "
        f"{len(taken)} timelines of a camera-day: p50 {p50:.2f} ms, p99 {p99:.2f} ms; "
        f"CPU p50 {statistics.median(worked):.2f} ms, "
        f"p99 {statistics.quantiles(worked, n=100)[98]:.2f} ms",
        flush=True,
    )
    return p50, p99


async def run(options: argparse.Namespace) -> None:
    """Both sizes and their ratio."""
    _, small_p99 = small = await bench(options, 1)
    _, large_p99 = large = await bench(options, options.factor)
    ratio50, ratio99 = large[0] / small[0], large[1] / small[1]
    print(f"{options.factor} times larger: ratio p50 {ratio50:.2f}, p99 {ratio99:.2f}")
    kept = max(small_p99, large_p99) <= options.p99_ms and ratio50 <= options.ratio
    print("promise kept" if kept else "PROMISE BROKEN", f"(p99 <= {options.p99_ms} ms,",
          f"ratio <= {options.ratio})")  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=40)
    parser.add_argument("--full", action="store_true", help="251 cameras")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--factor", type=int, default=10)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--segments", action="store_true", help="write the rows of segments too")
    parser.add_argument("--folder", default=None, help="where the temporary index is made")
    parser.add_argument("--p99-ms", type=float, default=10.0)
    parser.add_argument("--ratio", type=float, default=1.2)
    options = parser.parse_args()
    if options.full:
        options.cameras = 251
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
