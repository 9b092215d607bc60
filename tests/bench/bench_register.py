"""What the register of destructions costs on PostgreSQL: its size, its check, its end.

    VIGIE_TEST_POSTGRES=postgresql://… python tests/bench/bench_register.py

A day of 251 cameras, or as many entries as asked for. Measured are bytes an entry (table and
indexes, as the server counts them), bytes a record of topic ``destructions`` as a broker stores it,
the check of the register against its topic (from memory: the brokers are not in it), and the
folding of entries that have passed their time.
"""

import argparse
import asyncio
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

from aiokafka.record.default_records import DefaultRecordBatchBuilder

sys.path.insert(0, str(Path(__file__).parents[1]))

from postgresql_estate import DAY_US, T0_US, Made, bench_database, server_of

from vigie.platform.clock import ManualWallClock
from vigie.platform.database import Database, insert_rows
from vigie.platform.eventlog import EventLog, Position, StoredEvent, make_event
from vigie.platform.eventlog.kafka.records import record_of
from vigie.platform.objectstore import ObjectStore
from vigie.recording.fsck.register import check_register
from vigie.recording.fsck.view import View
from vigie.recording.index import spans, tables
from vigie.recording.keys import segment_key
from vigie.recording.model import Segment
from vigie.recording.retention.folding import ENTRY_DAYS, fold_register
from vigie.recording.retention.sweeper import destruction_event, register_values

CAMERAS, SEGMENT_US = 251, 30_000_000
DECIDED_US = T0_US + 31 * DAY_US
_TOGETHER = 1000


def destroyed(count: int) -> list[Segment]:
    """Segments of 251 cameras, a run each."""
    runs = [hashlib.md5(b"%d" % camera).hexdigest() for camera in range(CAMERAS)]
    segments = []
    for place in range(count):
        number, camera = divmod(place, CAMERAS)
        name, run = f"cam-{camera:05d}", runs[camera]
        start_us = T0_US + number * SEGMENT_US + camera * 1000
        segments.append(
            replace(
                spans.NOTHING,
                object_key=segment_key("footage", name, run, start_us, number),
                camera=name,
                run=run,
                number=number,
                start_us=start_us,
                end_us=start_us + SEGMENT_US,
                sha256=hashlib.sha256(b"%d" % place).hexdigest(),
            )
        )
    return segments


async def enter(database: Database, segments: Sequence[Segment]) -> None:
    """Let the register have them, and the destroyed spans."""
    for start in range(0, len(segments), _TOGETHER):
        part = segments[start : start + _TOGETHER]
        rows = [
            register_values(s, "law", DECIDED_US) | {"destroyed_us": DECIDED_US + 1} for s in part
        ]
        async with database.transaction() as connection:
            await insert_rows(connection, tables.DESTRUCTIONS, rows)
            await spans.add_segments(connection, tables.DESTROYED_SPANS, part)


class Topic:
    """The topic, in memory."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        clock = ManualWallClock(DECIDED_US)
        self.events = [
            StoredEvent(
                "destructions",
                Position(0, offset),
                make_event(
                    destruction_event(segment, "law", DECIDED_US),
                    key=segment.camera,
                    source="vigie/recording",
                    wall_clock=clock,
                    event_id=f"destruction:{segment.object_key}",
                ),
            )
            for offset, segment in enumerate(segments)
        ]

    async def read(self, topic: str) -> AsyncIterator[StoredEvent]:
        """See `EventLog.read`."""
        assert topic == "destructions"
        for stored in self.events:
            yield stored

    def bytes_a_record(self) -> float:
        """As a broker stores one, without compression."""
        sizes = []
        for stored in self.events[:1000]:
            record = record_of(stored.event)
            size = DefaultRecordBatchBuilder.size_of(record.key, record.value, list(record.headers))
            sizes.append(size)
        return sum(sizes) / len(sizes)


async def size_bytes(made: Made, table: str) -> int:
    rows = await made.test.execute(f"SELECT pg_total_relation_size('recording.{table}') AS size")
    return int(rows[0]["size"])


async def check(made: Made, topic: Topic, now_us: int) -> float:
    """Seconds that the check takes."""
    view = View(
        database=made.database, store=cast("ObjectStore", None),
        event_log=cast("EventLog", topic), prefix="footage", legal_zone=ZoneInfo("Europe/Paris"),
        now_us=now_us, bound_us=now_us, deep=False,
    )  # fmt: skip
    begun = time.perf_counter()
    findings = [finding async for finding in check_register(view)]
    assert findings == [], findings[:3]
    return time.perf_counter() - begun


async def measure(made: Made, count: int) -> None:
    """Fill, look, check, fold."""
    segments = destroyed(count)
    topic = Topic(segments)
    await enter(made.database, segments)
    await made.test.execute("ANALYZE recording.recording_destructions")
    entry = await size_bytes(made, "recording_destructions") / count
    print(f"{count:,} entries: {entry:,.0f} bytes an entry; topic: "
          f"{topic.bytes_a_record():,.0f} bytes a record", flush=True)  # fmt: skip

    rate = count / await check(made, topic, DECIDED_US + DAY_US)
    print(f"check: {rate:,.0f} entries a second", flush=True)

    begun, end_us = time.perf_counter(), DECIDED_US + ENTRY_DAYS * DAY_US + 2
    folded = await fold_register(made.database, end_us)
    seconds = time.perf_counter() - begun
    assert folded == count, folded
    left = await size_bytes(made, "recording_folded_destructions")
    print(f"folding: {count / seconds:,.0f} entries a second; {left:,} bytes are left of them all")
    rate = count / await check(made, topic, end_us)
    print(f"check of what is folded: {rate:,.0f} events a second", flush=True)


async def run(count: int) -> None:
    """Where there is a server."""
    server = server_of(os.environ)
    if server is None:
        print("PostgreSQL: not measured (VIGIE_TEST_POSTGRES is not set)")
        return
    async with bench_database(server) as made:
        await measure(made, count)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=100_000)
    asyncio.run(run(parser.parse_args().entries))


if __name__ == "__main__":
    main()
