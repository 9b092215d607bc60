"""Segment events a second that the index consumer takes in, on PostgreSQL (and SQLite).

    VIGIE_TEST_POSTGRES=postgresql://… python tests/bench/bench_index.py

The real handler in the real unit of work: parse, check, write segments, spans and holds, move the
position, commit. Events are fed directly, as a fetch would give them: 251 cameras that close a
segment every 30 s, in the order in which that happens; 30 days of index are in the database before
(--days), so that its tables and indexes are as large as in a real installation.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

sys.path.insert(0, str(Path(__file__).parents[1]))

from postgresql_estate import Filling, bench_database, fill, server_of

from vigie.ingest.v1.events_pb2 import SegmentEvent, SegmentStored
from vigie.platform.clock import SystemWallClock
from vigie.platform.database import Database, migrate, open_database
from vigie.platform.eventlog import Event, Position, StoredEvent
from vigie.platform.eventlog.positions import commit_offsets
from vigie.platform.eventlog.tables import CONSUMER_MIGRATIONS
from vigie.platform.metrics import MetricsRegistry
from vigie.recording.index import tables
from vigie.recording.index.days import make_days_ahead
from vigie.recording.index.handlers import IndexHandlers
from vigie.recording.metrics import RecordingMetrics

SECOND = 1_000_000
DAY = 86_400 * SECOND
T0 = 1_772_323_200 * SECOND
SEGMENT_US = 30 * SECOND
TOPIC, GROUP = "segments", "recording-index"


def events(cameras: int, count: int, start_us: int) -> Iterator[StoredEvent]:
    """Segments of all cameras, one after the other, as they are closed."""
    rng = random.Random(3)
    runs = [f"{rng.getrandbits(128):032x}" for _ in range(cameras)]
    for offset in range(count):
        number, camera = divmod(offset, cameras)
        name, begun = f"cam-{camera:05d}", start_us + number * SEGMENT_US + camera * 1000
        stored = SegmentStored(
            object_key=f"footage/{name}/{begun}.{number}.m4v",
            run=runs[camera],
            number=number,
            start_us=begun,
            duration_us=SEGMENT_US,
            media_start_ticks=number * 2_700_000,
            media_duration_ticks=2_700_000,
            timescale=90_000,
            sample_count=750,
            size_bytes=15_000_000,
            sha256=f"{rng.getrandbits(256):064x}",
            codec="avc1.640028",
            width=1920,
            height=1080,
            header_sha256="f" * 64,
        )
        event = Event(
            key=name,
            type=SegmentEvent.DESCRIPTOR.full_name,
            value=SegmentEvent(camera=name, segment_stored=stored).SerializeToString(),
            id=f"{runs[camera]}.{number}",
            time_us=begun + SEGMENT_US,
            source="vigie/ingest",
        )
        yield StoredEvent(TOPIC, Position(camera % 48, offset // 48), event)


async def consume(database: Database, told: Sequence[StoredEvent], batch: int) -> list[float]:
    """Take everything in; seconds of each unit of work."""
    metrics = RecordingMetrics(MetricsRegistry())
    handlers = IndexHandlers(database, SystemWallClock(), metrics, lambda: None)
    taken: list[float] = []
    for start in range(0, len(told), batch):
        part = told[start : start + batch]

        async def work(connection: Any, part: Sequence[StoredEvent] = part) -> None:
            await handlers.segments(connection, part)
            await commit_offsets(connection, TOPIC, GROUP, part)

        begun = time.perf_counter()
        await database.write(work)
        taken.append(time.perf_counter() - begun)
    return taken


async def backend_pid(database: Database) -> int:
    """Process of the server that works for the writing connection; 0: there is none."""
    async with database.transaction() as connection:
        if connection.dialect.name != "postgresql":
            return 0
        return int(await connection.scalar(select(func.pg_backend_pid())))


def cpu_seconds(pid: int) -> float:
    """CPU time of a process of this machine; 0 where it is elsewhere."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(name: str, database: Database, options: argparse.Namespace) -> float:
    """Events a second."""
    start_us = T0 + options.days * DAY
    async with database.transaction() as connection:
        await make_days_ahead(connection, start_us)
    told = list(events(options.cameras, options.events, start_us))
    await consume(database, told[: options.batch], options.batch)  # plans, caches
    pid = await backend_pid(database)
    cpu, server, begun = time.process_time(), cpu_seconds(pid), time.perf_counter()
    taken = await consume(database, told[options.batch :], options.batch)
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    there = cpu_seconds(pid) - server
    count = len(told) - options.batch
    taken.sort()
    print(
        f"{name}: {count} segment events in {seconds:.2f} s: {count / seconds:,.0f} a second"
        f" (batches of {options.batch}; p50 {taken[len(taken) // 2] * 1000:.1f} ms,"
        f" p99 {taken[len(taken) * 99 // 100] * 1000:.1f} ms; our CPU"
        f" {used / count * 1e6:.0f} us an event"
        + (f", the server's {there / count * 1e6:.0f} us)" if pid else ")"),
        flush=True,
    )
    return count / seconds


async def run(options: argparse.Namespace) -> None:
    """Both databases, then the promise."""
    with tempfile.TemporaryDirectory() as folder:
        database = await open_database(Path(folder) / "vigie.db")
        try:
            await migrate(database, CONSUMER_MIGRATIONS)
            await migrate(database, tables.MIGRATIONS)
            await measure("embedded, empty index", database, options)
        finally:
            await database.close()
    server = server_of(os.environ)
    if server is None:
        print("PostgreSQL: not measured (VIGIE_TEST_POSTGRES is not set)")
        return
    async with bench_database(server) as made:
        filling = Filling(options.cameras, options.days, options.segment_days)
        print(await fill(made, filling), flush=True)
        rates = [await measure("PostgreSQL", made.database, options)]
    kept = max(rates) >= options.promise
    print("promise kept" if kept else "PROMISE BROKEN", f"(>= {options.promise} a second)")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cameras", type=int, default=251)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--segment-days", type=int, default=3, help="days that have segments")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--promise", type=float, default=5000)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
