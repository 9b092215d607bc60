"""Takes into the index what the bucket has and a restored, older database does not know.

A database that was restored from yesterday's copy lacks the rows, and the events, of what was
recorded since; its timeline would call that footage missing. Every object says what it is, so the
rows are made from the bucket while the product runs: recording does not wait for it. Everything is
idempotent, so an interruption costs nothing but time.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import select

from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.database import Database, in_chunks, insert_if_absent
from vigie.platform.objectstore import ObjectInfo, ObjectStore
from vigie.recording.attributes import (
    AttributesMissingError,
    run_end_from_object,
    segment_from_object,
)
from vigie.recording.index import writer
from vigie.recording.index.tables import HOLD_OBJECTS, HOLD_PLACED, RUN_ENDS, SEGMENTS
from vigie.recording.keys import parse_key
from vigie.recording.metrics import RecordingMetrics

log = structlog.get_logger(__name__)
_BATCH: Final = 200
_AT_ONCE: Final = 16


@dataclass(slots=True)
class CatchUpReport:
    """What was found.

    Attributes:
        segments: indexed anew.
        run_ends: ends of runs noted anew.
        refused: objects that could not be indexed: not ours, damaged, in conflict; fsck names them.
    """

    segments: int = 0
    run_ends: int = 0
    refused: int = 0


async def catch_up(
    database: Database, store: ObjectStore, metrics: RecordingMetrics, *, prefix: str = "footage"
) -> CatchUpReport:
    """Index every object of the bucket that the index does not know.

    Raises:
        VigieError: database or store are unavailable; begin again later.
    """
    report = CatchUpReport()
    async for batch in _batches(store, prefix):
        unknown = await _unknown(database, batch)
        for start in range(0, len(unknown), _AT_ONCE):
            some = unknown[start : start + _AT_ONCE]
            found = await asyncio.gather(*(store.stat(key) for key in some))
            infos = [info for info in found if info is not None]
            await _take(database, infos, report, metrics)
    log.warning(
        "caught_up_with_the_bucket",
        segments=report.segments,
        run_ends=report.run_ends,
        refused=report.refused,
    )
    return report


async def _batches(store: ObjectStore, prefix: str) -> AsyncIterator[list[str]]:
    """Keys of the bucket: attributes are asked for where they are needed only."""
    batch: list[str] = []
    async for listed in store.list_keys(f"{prefix}/"):
        batch.append(listed.key)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _unknown(database: Database, batch: list[str]) -> list[str]:
    known: set[str] = set()
    async with database.reading() as connection:
        for table in (SEGMENTS, RUN_ENDS):
            for chunk in in_chunks(batch):
                query = select(table.c.object_key).where(table.c.object_key.in_(chunk))
                known |= set((await connection.execute(query)).scalars())
    return [key for key in batch if key not in known]


async def _take(
    database: Database, batch: list[ObjectInfo], report: CatchUpReport, metrics: RecordingMetrics
) -> None:
    for info in batch:
        try:
            async with database.transaction() as connection:
                key = parse_key(info.key)
                if key is None:
                    report.refused += 1
                elif key.is_end:
                    end = run_end_from_object(info)
                    told = ingest_pb2.RunEnded(
                        run=end.run,
                        end_us=end.end_us,
                        segment_count=end.segment_count,
                        reason=ingest_pb2.RunEndReason.ValueType(end.reason),
                        object_key=end.object_key,
                    )
                    await writer.put_run_end(connection, end.camera, told)
                    report.run_ends += 1
                elif await writer.put_segment(connection, segment_from_object(info)):
                    holds = [
                        {"object_key": info.key, "hold": hold, "size_bytes": info.size_bytes,
                         "state": HOLD_PLACED}
                        for hold in sorted(info.holds)
                    ]  # fmt: skip
                    await insert_if_absent(
                        connection, HOLD_OBJECTS, holds, key=("object_key", "hold")
                    )
                    report.segments += 1
                    metrics.caught_up.inc()
        except (AttributesMissingError, writer.ConflictingSegmentError, ValueError) as why:
            report.refused += 1
            log.warning("object_not_indexed", object_key=info.key, why=str(why))
