"""Measures the embedded storage: appends a second, store throughput beside cp and sha256sum."""

import argparse
import asyncio
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from vigie.platform.clock import SystemWallClock
from vigie.platform.database import open_database
from vigie.platform.eventlog import EmbeddedEventLog, Event, TopicSpec, open_event_log
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.objectstore import open_directory_store

TOPIC = TopicSpec(name="accesses", compacted=False, partitions=1, why="a benchmark")
MEGABYTE = 1_000_000


def event(identifiers: IdentifierSource) -> Event:
    return Event(
        key="person-1",
        type="vigie.audit.v1.AccessRecord",
        value=os.urandom(400),
        id=identifiers.text(),
        time_us=0,
        source="vigie/bench",
    )


async def append_alone(log: EmbeddedEventLog, ids: IdentifierSource, count: int) -> None:
    for _ in range(count):
        await log.append("accesses", [event(ids)])


async def bench_appends(folder: Path, count: int) -> None:
    clock = SystemWallClock()
    ids = IdentifierSource(clock)
    database = await open_database(folder / "vigie.sqlite3")
    log = await open_event_log(database, clock)
    await log.declare([TOPIC])
    for writers in (1, 64):
        start = time.perf_counter()
        await asyncio.gather(*(append_alone(log, ids, count // writers) for _ in range(writers)))
        elapsed = time.perf_counter() - start
        done = count // writers * writers
        print(f"append, durable, {writers:3} at once: {done / elapsed:9.0f} events/s")
    start = time.perf_counter()
    read = len([stored async for stored in log.read("accesses")])
    print(f"read:                          {read / (time.perf_counter() - start):9.0f} events/s")
    await log.close()
    await database.close()


async def bench_store(folder: Path, files: int, size_bytes: int) -> None:
    sources = []
    for number in range(files):
        source = folder / f"source-{number}"
        source.write_bytes(os.urandom(size_bytes))
        sources.append((source, hashlib.sha256(source.read_bytes()).hexdigest()))
    total_mb = files * size_bytes / MEGABYTE
    for link in (False, True):
        store = await open_directory_store(
            folder / f"store-{link}", SystemWallClock(), link_sources=link
        )
        start = time.perf_counter()
        await asyncio.gather(
            *(
                store.put_file(
                    f"footage/cam-{number % 4}/{number}.m4v",
                    source,
                    sha256=sha256,
                    content_type="video/mp4",
                    metadata={},
                )
                for number, (source, sha256) in enumerate(sources)
            )
        )
        rate = total_mb / (time.perf_counter() - start)
        print(f"put_file, {'linked' if link else 'copied'}, verified, durable: {rate:6.0f} MB/s")
        await store.close()
    start = time.perf_counter()
    for source, _ in sources:
        copy = folder / f"copy-{source.name}"
        subprocess.run(["cp", source, copy], check=True)
        subprocess.run(["sha256sum", copy], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["sync", copy], check=True)
    print(
        f"cp; sha256sum; sync a file:        {total_mb / (time.perf_counter() - start):6.0f} MB/s"
    )


async def bench_listing(folder: Path, objects: int) -> None:
    store = await open_directory_store(folder / "listing", SystemWallClock())
    empty = hashlib.sha256(b"").hexdigest()
    for number in range(objects):
        await store.put_bytes(
            f"footage/cam-{number % 10}/{number // 100:05}/{number}.m4v",
            b"",
            sha256=empty,
            content_type="video/mp4",
            metadata={},
        )
    start = time.perf_counter()
    listed = len([info async for info in store.list()])
    print(f"list with records:             {listed / (time.perf_counter() - start):9.0f} objects/s")
    await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2000, help="events appended a measurement")
    parser.add_argument("--files", type=int, default=16, help="files put")
    parser.add_argument("--megabytes", type=int, default=15, help="size of each file")
    parser.add_argument("--objects", type=int, default=500, help="objects listed")
    parser.add_argument("--folder", type=Path, default=None, help="where (default: temporary)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vigie-bench-", dir=options.folder))
    try:
        asyncio.run(bench_appends(folder, options.events))
        asyncio.run(bench_store(folder, options.files, options.megabytes * MEGABYTE))
        asyncio.run(bench_listing(folder, options.objects))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
