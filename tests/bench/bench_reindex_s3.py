"""The timeline rebuilt from the bucket listing alone: names a second, rows a second, minutes.

    VIGIE_TEST_S3=… VIGIE_TEST_POSTGRES=… python tests/bench/bench_reindex_s3.py
    python tests/bench/bench_reindex_s3.py --cameras 14 --days 10 --store seaweedfs

A bucket is filled with the objects of cameras and days, as ingest names and describes them, and
the index made anew from it on PostgreSQL (without it: on SQLite). Measured in one run: the port's
own listing, one after the other (what reindex did before); the names alone, cameras in parallel;
the whole timeline, with what it asks objects for and its rows; then, for so many seconds, rows of
segments as they follow in the background. What 251 cameras x 30 days would take is extrapolated
from the part that was measured. Store, database and this program share the machine.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bucket_estate import SEGMENTS_A_DAY, fill
from postgresql_estate import bench_database, server_of
from sqlalchemy import func, select

from servers_s3 import S3Server, new_bucket, remove_bucket
from vigie.platform.clock import SystemWallClock
from vigie.platform.database import Database, migrate, open_database
from vigie.platform.objectstore import ObjectStore
from vigie.platform.objectstore.s3.opening import open_s3_store
from vigie.recording.index import tables
from vigie.recording.rebuild.describing import Describer
from vigie.recording.rebuild.report import ReindexReport
from vigie.recording.rebuild.timeline import TimelineRebuilder

SERVERS = {"minio": "VIGIE_TEST_S3", "seaweedfs": "VIGIE_TEST_SEAWEED_S3"}
WHOLE = 251 * 30 * SEGMENTS_A_DAY
MUST_REACH_MINUTES = 15


class Stopwatch:
    """Wall-clock and processor seconds of this process."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def tell(self, what: str, count: int) -> float:
        """Print what so many took; how many a second."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        rate = count / wall
        print(f"  {what}: {rate:7.0f} a second ({cpu / count * 1e6:.1f} us CPU of ours each)")
        return rate


@contextlib.asynccontextmanager
async def index(folder: Path) -> AsyncIterator[Database]:
    """An empty index on PostgreSQL, or on SQLite where there is no server."""
    server = server_of(os.environ)
    if server is not None:
        async with bench_database(server) as made:
            yield made.database
        return
    print("no server: VIGIE_TEST_POSTGRES is not set; SQLite instead")
    database = await open_database(folder / "data" / "vigie.sqlite")
    try:
        await migrate(database, tables.MIGRATIONS)
        yield database
    finally:
        await database.close()


async def names_in_parallel(store: ObjectStore, at_once: int) -> int:
    """List every camera's names, so many cameras at a time."""
    waiting = iter((await store.folder("footage/")).folders)
    count = 0

    async def work() -> None:
        nonlocal count
        for folder in waiting:
            async for _ in store.list_keys(folder):
                count += 1

    await asyncio.gather(*(work() for _ in range(at_once)))
    return count


async def measure(store: ObjectStore, database: Database, options: argparse.Namespace) -> None:
    count = options.cameras * options.days * SEGMENTS_A_DAY
    watch = Stopwatch()
    listed = 0
    async for _ in store.list("footage/"):
        listed += 1
        if listed == options.before:
            break
    before = watch.tell("objects with attributes, one listing (as before)", listed)
    watch = Stopwatch()
    listed = await names_in_parallel(store, options.at_once)
    watch.tell(f"names, {options.at_once} cameras at once", listed)
    report = ReindexReport()
    watch = Stopwatch()
    await TimelineRebuilder(database, store, at_once=options.at_once).rebuild(report)
    rate = watch.tell("the whole timeline, names into spans", report.listed)
    assert (report.listed, report.refused) == (count, {}), "not what was stored"
    async with database.reading() as connection:
        spans = await connection.scalar(select(func.count()).select_from(tables.SPANS))
        last_us = await connection.scalar(select(func.max(tables.SPANS.c.end_us)))
    print(f"    {spans} rows of spans, {report.run_ends} ends of runs, until {last_us}")
    minutes, then = WHOLE / rate / 60, WHOLE / before / 60
    verdict = "yes" if minutes <= MUST_REACH_MINUTES else "NO"
    print(
        f"  251 cameras x 30 days ({WHOLE / 1e6:.1f} million segments), extrapolated:"
        f" {minutes:.1f} minutes ({then / minutes:.1f} x faster than one listing);"
        f" must reach {MUST_REACH_MINUTES}: {verdict}"
    )
    described = ReindexReport()
    watch = Stopwatch()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(options.seconds):
            await Describer(database, store).describe_all(described)
    watch.tell("rows of segments, in the background", max(1, described.segments))


async def run(server: S3Server, options: argparse.Namespace, folder: Path) -> None:
    bucket = new_bucket(server)
    try:
        config = server.config(folder, bucket, prefix="bench/")
        begun = time.perf_counter()
        count = await asyncio.to_thread(fill, server, config, options.cameras, options.days)
        print(
            f"{server.kind}: {options.cameras} cameras x {options.days} days, {count} objects,"
            f" stored in {time.perf_counter() - begun:.0f} s; load {os.getloadavg()[0]:.1f}"
        )
        store = await open_s3_store(config, SystemWallClock(), workspace=None)
        try:
            async with index(folder) as database:
                await measure(store, database, options)
        finally:
            await store.close()
    finally:
        await asyncio.to_thread(remove_bucket, server, bucket)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=8, help="cameras listed at a time")
    parser.add_argument("--before", type=int, default=10_000, help="objects of the old listing")
    parser.add_argument("--seconds", type=float, default=20, help="of the background")
    parser.add_argument("--store", choices=sorted(SERVERS), default="minio")
    options = parser.parse_args()
    name = SERVERS[options.store]
    if not os.environ.get(name):
        print(f"no server: {name} is not set; nothing was measured")
        return
    server = S3Server(
        options.store,
        os.environ[name],
        os.environ[f"{name}_ACCESS_KEY"],
        os.environ[f"{name}_SECRET_KEY"],
    )
    with tempfile.TemporaryDirectory(prefix="vigie-bench-reindex-") as folder:
        await run(server, options, Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
