"""Cost of the timeline of one camera-day on PostgreSQL, at two sizes, with inserts going on.

    VIGIE_TEST_POSTGRES=postgresql://… python tests/bench/bench_timeline_postgresql.py

251 cameras x 30 days, then ten times as many cameras (--cameras, --days, --factor). All rows that
timelines are made of are written: spans, outages, states of cameras. Rows of segments, 150 GB for
the larger size, are written for one day of --segment-cameras cameras: timelines do not read them,
and the list of segments of an hour, which does, is measured too and reads the partitions of that
hour, whatever the others hold.

While it is measured, another process writes what the cameras of that size send (a segment each
every 30 s) through the real handler. Measured at the service, in process: reading, composition and
the protobuf answer; gRPC adds about a millisecond.
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_index import consume, events
from postgresql_estate import DAY_US, SCHEMA, T0_US, Filling, Made, bench_database, fill, server_of

from servers_postgres import PostgresServer, TestDatabase
from vigie.platform.clock import ManualWallClock
from vigie.platform.database.postgresql.database import PostgresqlDatabase
from vigie.recording.index import reader
from vigie.recording.index.days import make_days_ahead
from vigie.recording.servicers.recording import entry_message
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader
from vigie.recording.v1 import recording_pb2 as pb

_HOUR_US = DAY_US // 24
_TICK_SECONDS = 0.5


async def feed(server: PostgresServer, name: str, password_file: Path, cameras: int) -> None:
    """Write what the cameras send, at the rate at which they do, until ended."""
    test = TestDatabase(server, name, password_file)
    database = PostgresqlDatabase(test.login(SCHEMA))
    start_us = T0_US + 40 * DAY_US
    async with database.transaction() as connection:
        await make_days_ahead(connection, start_us)
    sent = 0.0
    told = events(cameras, 10_000_000, start_us)
    print("feeding", flush=True)
    begun = time.perf_counter()
    while True:
        due = (time.perf_counter() - begun) * cameras / 30
        part = [next(told) for _ in range(int(due - sent))]
        sent += len(part)
        if part:
            await consume(database, part, 500)
        await asyncio.sleep(_TICK_SECONDS)


@asynccontextmanager
async def fed(made: Made, cameras: int) -> Any:
    """Another process that feeds the database meanwhile."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--feed", made.test.name, str(made.test.password_file),
        "--cameras", str(cameras), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout is not None
    assert (await program.stdout.readline()).strip() == b"feeding"
    try:
        yield
    finally:
        assert program.returncode is None, "the feeding process ended by itself"
        program.terminate()
        await program.wait()


async def timed(
    what: str, work: Callable[[random.Random], Awaitable[None]], queries: int
) -> tuple[float, float]:
    """Print and return p50 and p99 of calls in milliseconds, after a warm-up."""
    rng = random.Random(2)
    taken: list[float] = []
    worked: list[float] = []
    for query in range(queries + 50):
        begun, cpu = time.perf_counter(), time.process_time()
        await work(rng)
        if query >= 50:
            taken.append((time.perf_counter() - begun) * 1000)
            worked.append((time.process_time() - cpu) * 1000)
    p50, p99 = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
    print(
        f"  {what}: p50 {p50:.2f} ms, p99 {p99:.2f} ms ({len(taken)} calls);"
        f" our CPU p50 {statistics.median(worked):.2f} ms",
        flush=True,
    )
    return p50, p99


async def bench(
    server: PostgresServer, options: argparse.Namespace, factor: int
) -> tuple[float, float]:
    """p50 and p99 of timelines, at ``factor`` times the cameras."""
    cameras = options.cameras * factor
    async with bench_database(server) as made:
        filling = Filling(cameras, options.days, 1, options.segment_cameras)
        print(await fill(made, filling), flush=True)
        now_us = T0_US + options.days * DAY_US
        timelines = TimelineReader(made.database, ManualWallClock(now_us), lambda _: None)

        async def a_day(rng: random.Random) -> None:
            camera = f"cam-{rng.randrange(cameras):05d}"
            start_us = T0_US + rng.randrange(max(1, options.days - 1)) * DAY_US
            window = Interval(start_us, start_us + DAY_US)
            entries = [entry_message(e) async for e in timelines.entries(camera, window)]
            answer = pb.CameraTimeline(camera=f"cameras/{camera}", entries=entries)
            pb.GetTimelineResponse(timelines=[answer]).SerializeToString()

        async def an_hour(rng: random.Random) -> None:
            camera = f"cam-{rng.randrange(options.segment_cameras):05d}"
            start_us = now_us - DAY_US + rng.randrange(23) * _HOUR_US
            window = Interval(start_us, start_us + _HOUR_US)
            async with made.database.reading() as connection:
                found = await reader.segments_in(connection, camera, window, limit=500)
            assert len(found) > 100

        async with fed(made, cameras):
            figures = await timed("timeline of a camera-day", a_day, options.queries)
            await timed("segments of a camera-hour", an_hour, options.queries // 2)
    return figures


async def run(options: argparse.Namespace) -> None:
    """Both sizes and their ratio."""
    server = server_of(os.environ)
    if server is None:
        print("not measured: VIGIE_TEST_POSTGRES is not set")
        return
    small = await bench(server, options, 1)
    large = await bench(server, options, options.factor)
    ratio50, ratio99 = large[0] / small[0], large[1] / small[1]
    print(f"{options.factor} times larger: ratio p50 {ratio50:.2f}, p99 {ratio99:.2f}")
    kept = max(small[1], large[1]) <= options.p99_ms and ratio50 <= options.ratio
    print("promise kept" if kept else "PROMISE BROKEN", f"(p99 <= {options.p99_ms} ms,",
          f"ratio <= {options.ratio})")  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cameras", type=int, default=251)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--factor", type=int, default=10)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--segment-cameras", type=int, default=100)
    parser.add_argument("--p99-ms", type=float, default=10.0)
    parser.add_argument("--ratio", type=float, default=1.2)
    parser.add_argument("--feed", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.feed:
        server = server_of(os.environ)
        assert server is not None
        asyncio.run(feed(server, options.feed[0], Path(options.feed[1]), options.cameras))
        return
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
