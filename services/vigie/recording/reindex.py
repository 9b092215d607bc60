"""Rebuilds the index from the bucket alone (`vigie recording reindex`).

1. Every object below the prefix is listed; its attributes give its row. An object without them is
   read: its boxes give media times and parameters, its key gives camera, run, start and number.
2. Rows go into new tables, in batches; the index in use is not touched and goes on being read.
   On the embedded database these are made for the purpose; on PostgreSQL, where a service may not
   make tables, they stand ready and empty (``staging_…``).
3. Destroyed spans are made anew from the register of destructions (which is no part of the index:
   it says what the bucket cannot). An object that the register names stays marked for
   destruction.
4. In one transaction the new rows take the place of the old ones.

Outages, states of cameras and holds are not in the bucket: they are kept, and come from their
topics. Holds on objects are noted as the store has them, so that retention sees them.

Run it while nothing else writes the index, or let the consumer replay what came meanwhile:
indexing is idempotent.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy import Column, Index, MetaData, Table, delete, insert, select

from vigie.media.bmff.reader import drive_async, fragment_steps, header_steps
from vigie.media.errors import MediaError
from vigie.platform.database import Database, insert_if_absent
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.migrations import ONLY_ON
from vigie.platform.objectstore import ObjectInfo, ObjectStore
from vigie.recording.attributes import (
    AttributesMissingError,
    RunEnd,
    run_end_from_object,
    segment_from_object,
)
from vigie.recording.index import days, spans
from vigie.recording.index.convert import (
    EventInvalidError,
    check_segment,
    segment_values,
)
from vigie.recording.index.tables import (
    DESTROYED_SPANS,
    DESTRUCTIONS,
    HOLD_OBJECTS,
    HOLD_PLACED,
    INDEX_TABLES,
    RUN_ENDS,
    SEGMENTS,
    SPANS,
)
from vigie.recording.keys import FootageKey, parse_key
from vigie.recording.model import Segment

log = structlog.get_logger(__name__)
_BATCH: Final = 500
_SLEW_PPM: Final = 500


@dataclass(slots=True)
class ReindexReport:
    """What was found in the bucket.

    Attributes:
        segments: rows written.
        run_ends: span end objects.
        parsed: segments whose attributes were missing and whose content was read instead.
        refused: key -> why an object could not be indexed (not ours, damaged, in conflict).
    """

    segments: int = 0
    run_ends: int = 0
    parsed: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def new_tables(prefix: str = "recording_new_") -> dict[str, Table]:
    """Copies of the tables of the index under new names, by the name of the original."""
    metadata = MetaData()
    copies: dict[str, Table] = {}
    for table in INDEX_TABLES:
        columns = [
            Column(c.name, c.type, primary_key=c.primary_key, nullable=c.nullable,
                   autoincrement=False)
            for c in table.columns
        ]  # fmt: skip
        name = table.name.replace("recording_", prefix)
        copy = Table(name, metadata, *columns)
        for index in table.indexes:
            assert index.name is not None
            if index.info.get(ONLY_ON, "sqlite") != "sqlite":
                continue
            index_name = index.name.replace("recording_", prefix)
            named = [copy.c[column.name] for column in index.columns]
            Index(index_name, *named, unique=index.unique)
        copies[table.name] = copy
    return copies


class Reindexer:
    """Rebuilds the index.

    Args:
        database: where the index is.
        store: the bucket.
        prefix: what the keys of footage begin with.
    """

    def __init__(self, database: Database, store: ObjectStore, *, prefix: str = "footage") -> None:
        self._database = database
        self._store = store
        self._prefix = prefix
        self._tables = new_tables()

    async def rebuild(self) -> ReindexReport:
        """Rebuild everything; the index in use changes at the very end, all at once.

        Raises:
            VigieError: store or database are unavailable; the index is as it was.
        """
        report = ReindexReport()
        await self._recreate()
        runs = RunGuesser()
        batch: list[ObjectInfo] = []
        async for info in self._store.list(f"{self._prefix}/"):
            batch.append(info)
            if len(batch) == _BATCH:
                await self._take(batch, runs, report)
                batch = []
        await self._take(batch, runs, report)
        async with self._database.transaction() as connection:
            await self._destroyed(connection)
            await self._replace(connection)
        log.info("reindexed", segments=report.segments, refused=len(report.refused))
        return report

    async def _recreate(self) -> None:
        async with self._database.transaction() as connection:
            if connection.dialect.name == "postgresql":
                self._tables = new_tables("staging_")
            await self._empty(connection)
            if connection.dialect.name != "postgresql":
                metadata = next(iter(self._tables.values())).metadata
                await connection.run_sync(metadata.create_all)

    async def _empty(self, connection: AsyncConnection) -> None:
        """Leave nothing in the new tables, or of them."""
        if connection.dialect.name != "postgresql":
            metadata = next(iter(self._tables.values())).metadata
            await connection.run_sync(metadata.drop_all)
            return
        # Millions of rows take longer than any statement of the service is given.
        await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        for table in self._tables.values():
            await connection.execute(delete(table))

    async def _take(
        self, batch: list[ObjectInfo], runs: "RunGuesser", report: ReindexReport
    ) -> None:
        found: list[tuple[ObjectInfo, Segment | RunEnd]] = []
        for info in batch:
            try:
                found.append((info, await self._understand(info, runs, report)))
            except (AttributesMissingError, MediaError, EventInvalidError) as error:
                report.refused[info.key] = str(error)
        async with self._database.transaction() as connection:
            for info, what in found:
                if isinstance(what, RunEnd):
                    await self._put_end(connection, what, report)
                elif not await self._put_segment(connection, info, what):
                    report.refused[info.key] = f"its place in run {what.run} is taken"
                else:
                    report.segments += 1

    async def _understand(
        self, info: ObjectInfo, runs: "RunGuesser", report: ReindexReport
    ) -> Segment | RunEnd:
        key = parse_key(info.key)
        if key is None:
            raise AttributesMissingError("the key is not one of footage")
        if key.is_end:
            return self._run_end(info, key)
        try:
            return segment_from_object(info)
        except AttributesMissingError:
            report.parsed += 1
            return await self._parse(info, key, runs)

    def _run_end(self, info: ObjectInfo, key: FootageKey) -> RunEnd:
        """The end of a run; of one whose attributes were lost in a copy, what its key says."""
        try:
            return run_end_from_object(info)
        except AttributesMissingError:
            if not key.run:
                raise
            return RunEnd(key.camera, key.run, key.instant_us, key.counter, 0, info.key)

    async def _parse(self, info: ObjectInfo, key: FootageKey, runs: "RunGuesser") -> Segment:
        """A segment from its content: what to do when attributes were lost in a copy."""

        async def read(offset: int, length: int) -> bytes:
            parts = self._store.read(info.key, offset=offset, length=length)
            return b"".join([chunk async for chunk in parts])

        header = await drive_async(header_steps(info.size_bytes), read)
        fragments = await drive_async(fragment_steps(info.size_bytes, header), read)
        if not fragments:
            raise AttributesMissingError("no fragment")
        media_start = fragments[0].base_decode_time
        media_duration = fragments[-1].end_decode_time - media_start
        duration_us = media_duration * 1_000_000 // header.timescale
        segment = Segment(
            object_key=info.key,
            camera=key.camera,
            run=key.run or runs.run_of(key, media_start, duration_us),
            number=key.counter,
            start_us=key.instant_us,
            end_us=key.instant_us + duration_us,
            media_start_ticks=media_start,
            media_duration_ticks=media_duration,
            timescale=header.timescale,
            sample_count=sum(len(fragment.table.sizes) for fragment in fragments),
            size_bytes=info.size_bytes,
            sha256=info.sha256,
            codec=header.configuration.codec_string,
            width=header.width,
            height=header.height,
            camera_clock_offset_us=None,
            header_sha256=hashlib.sha256(header.data).hexdigest(),
        )
        check_segment(segment)
        return segment

    async def _put_segment(
        self, connection: AsyncConnection, info: ObjectInfo, segment: Segment
    ) -> bool:
        table = self._tables[SEGMENTS.name]
        taken = select(table.c.object_key).where(
            table.c.run == segment.run, table.c.number == segment.number
        )
        if (await connection.execute(taken)).first() is not None:
            return False
        register = select(DESTRUCTIONS.c.decided_us).where(
            DESTRUCTIONS.c.object_key == segment.object_key
        )
        destroying_us = (await connection.execute(register)).scalar()
        values = segment_values(segment) | {"destroying_us": destroying_us}
        await connection.execute(insert(table).values(**values))
        if destroying_us is None:
            await spans.add_segment(connection, self._tables[SPANS.name], segment)
        holds = [
            {
                "object_key": info.key,
                "hold": hold,
                "size_bytes": info.size_bytes,
                "state": HOLD_PLACED,
            }
            for hold in sorted(info.holds)
        ]
        await insert_if_absent(connection, HOLD_OBJECTS, holds, key=("object_key", "hold"))
        return True

    async def _put_end(
        self, connection: AsyncConnection, end: RunEnd, report: ReindexReport
    ) -> None:
        values = {
            "run": end.run,
            "camera": end.camera,
            "end_us": end.end_us,
            "segment_count": end.segment_count,
            "reason": end.reason,
            "object_key": end.object_key,
        }
        table = self._tables[RUN_ENDS.name]
        report.run_ends += await insert_if_absent(connection, table, values, key=("run",))

    async def _destroyed(self, connection: AsyncConnection) -> None:
        """Destroyed spans from the register."""
        rows = await connection.execute(
            select(DESTRUCTIONS).order_by(DESTRUCTIONS.c.run, DESTRUCTIONS.c.number)
        )
        for row in rows:
            segment = destroyed_segment(row)
            await spans.add_segment(connection, self._tables[DESTROYED_SPANS.name], segment)

    async def _replace(self, connection: AsyncConnection) -> None:
        await self._make_days(connection)
        for table in INDEX_TABLES:
            copy = self._tables[table.name]
            names = [column.name for column in table.columns]
            await connection.execute(delete(table))
            await connection.execute(
                table.insert().from_select(names, select(*(copy.c[name] for name in names)))
            )
        await self._empty(connection)

    async def _make_days(self, connection: AsyncConnection) -> None:
        """Make the days in which the new rows will stand."""
        if connection.dialect.name != "postgresql":
            return
        await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        day = self._tables[SEGMENTS.name].c.start_us // days.DAY_US
        found = (await connection.execute(select(day).distinct())).scalars()
        await days.make_days(connection, [number * days.DAY_US for number in found])


class RunGuesser:
    """Tells which run an object without attributes belongs to whose (older) key does not say it.

    Objects come in order of their keys, hence of their time for each camera: the next number with
    the next media time, at the time at which the last one ended, is of the same run.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, int, int]] = {}

    def run_of(self, key: FootageKey, media_start: int, duration_us: int) -> str:
        """The run of a segment: known from its predecessor, else named after its key."""
        last = self._last.get(key.camera)
        run = ""
        if last is not None and last[1] == key.counter:
            slack_us = 1000 + duration_us * _SLEW_PPM // 1_000_000
            if abs(last[2] - key.instant_us) <= slack_us and media_start > 0:
                run = last[0]
        if not run:
            digest = hashlib.sha256(f"{key.camera}/{key.instant_us}".encode()).hexdigest()
            run = f"{key.instant_us // 1000:012x}7{digest[:19]}"
        self._last[key.camera] = (run, key.counter + 1, key.instant_us + duration_us)
        return run


def destroyed_segment(row: object) -> Segment:
    """What the register knows of a segment, as far as spans need it."""
    known = {
        name: getattr(row, name)
        for name in ("object_key", "camera", "run", "number", "start_us", "end_us", "sha256")
    }
    return Segment(
        **known,
        media_start_ticks=0,
        media_duration_ticks=0,
        timescale=0,
        sample_count=0,
        size_bytes=0,
        codec="",
        width=0,
        height=0,
        camera_clock_offset_us=None,
        header_sha256="",
    )
