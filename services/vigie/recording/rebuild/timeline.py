"""The timeline from a listing of the bucket alone, cameras in parallel.

1. The cameras are the folders below the prefix. A few are listed at a time, each by its own
   requests; memory is bounded by what spans and hours of so many cameras take.
2. Rows go into new tables, a camera in a transaction; the index in use is not touched and goes on
   being read. On the embedded database these are made for the purpose; on PostgreSQL, where a
   service may not make tables, they stand ready and empty (``staging_…``).
3. Destroyed spans are made anew from the register of destructions, folded entries first (it is no
   part of the index: it says what the bucket cannot).
4. In one transaction the new rows take the place of the old ones. Rows of segments, which need
   attributes, are none of them: the hours that lack them stand in ``recording_undescribed``
   already, and `describing` makes them.

Outages, states of cameras and holds are not in the bucket: they are kept, and come from their
topics.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy import Column, Index, MetaData, Table, delete, select

from vigie.platform.database import Database, insert_if_absent, insert_rows
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.migrations import ONLY_ON
from vigie.platform.objectstore import ObjectStore
from vigie.recording.index import days, spans
from vigie.recording.index.tables import (
    DESTROYED_SPANS,
    DESTRUCTIONS,
    FOLDED_DESTRUCTIONS,
    INDEX_TABLES,
    RUN_ENDS,
    SEGMENTS,
    SPANS,
    UNDESCRIBED,
)
from vigie.recording.rebuild.camera import NOT_FOOTAGE, CameraLister, CameraTimeline
from vigie.recording.rebuild.report import ReindexReport

log = structlog.get_logger(__name__)
_CAMERAS_AT_ONCE: Final = 8
_ROWS: Final = 1000


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


class TimelineRebuilder:
    """Makes spans and ends of runs anew.

    Args:
        database: where the index is.
        store: the bucket.
        prefix: what the keys of footage begin with.
        at_once: cameras that are listed at a time.
    """

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        *,
        prefix: str = "footage",
        at_once: int = _CAMERAS_AT_ONCE,
    ) -> None:
        self._database = database
        self._store = store
        self._prefix = prefix
        self._at_once = at_once
        self._tables = new_tables()
        self._camera_of: dict[str, str] = {}

    async def rebuild(self, report: ReindexReport) -> None:
        """Make the timeline; the index in use changes at the very end, all at once.

        Raises:
            VigieError: store or database are unavailable; the index is as it was.
        """
        await self._recreate()
        top = await self._store.folder(f"{self._prefix}/")
        report.refused |= dict.fromkeys((one.key for one in top.objects), NOT_FOOTAGE)
        waiting = iter(top.folders)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._at_once):
                    group.create_task(self._work(waiting, report))
        except ExceptionGroup as failures:
            # One of them says it: the others are of the same store, or were told to end.
            raise failures.exceptions[0] from None
        await self._destroyed()
        async with self._database.transaction() as connection:
            await self._replace(connection)
        log.info("timeline_rebuilt", segments=report.listed, refused=len(report.refused))

    async def _work(self, waiting: Iterator[str], report: ReindexReport) -> None:
        for folder in waiting:
            camera = folder.removeprefix(f"{self._prefix}/").removesuffix("/")
            destroyed = partial(self._registered, camera)
            lister = CameraLister(self._store, self._prefix, camera, destroyed, report)
            await self._put(await lister.read())

    async def _registered(self, camera: str, day: int) -> frozenset[str]:
        """Keys of a camera's day whose destruction was decided: they are no footage any more."""
        query = select(DESTRUCTIONS.c.object_key).where(
            DESTRUCTIONS.c.camera == camera,
            DESTRUCTIONS.c.start_us >= day * days.DAY_US,
            DESTRUCTIONS.c.start_us < (day + 1) * days.DAY_US,
        )
        async with self._database.reading() as connection:
            return frozenset((await connection.execute(query)).scalars())

    async def _put(self, found: CameraTimeline) -> None:
        # A run has one camera; a copy under another name takes nothing of it.
        of_others = [
            run
            for run in found.rows
            if self._camera_of.setdefault(run, found.camera) != found.camera
        ]
        for run in of_others:
            log.warning("run_of_another_camera", run=run, camera=found.camera)
            del found.rows[run]
        rows = [
            {"run": run, "first_number": row.first, "last_number": row.last,
             "camera": found.camera, "start_us": row.start_us, "end_us": row.end_us}
            for run, of_run in found.rows.items()
            for row in of_run
        ]  # fmt: skip
        hours = [
            {"folder": folder, "camera": found.camera, "start_us": start_us}
            for folder, start_us in found.hours.items()
        ]
        async with self._database.transaction() as connection:
            await _in_parts(connection, self._tables[SPANS.name], rows)
            for end in found.ends.values():
                values = {
                    "run": end.run,
                    "camera": end.camera,
                    "end_us": end.end_us,
                    "segment_count": end.segment_count,
                    "reason": end.reason,
                    "object_key": end.object_key,
                }
                await insert_if_absent(
                    connection, self._tables[RUN_ENDS.name], values, key=("run",)
                )
            # Noted before the index changes: an hour that is described once more does no harm.
            await connection.execute(
                delete(UNDESCRIBED).where(UNDESCRIBED.c.camera == found.camera)
            )
            await _in_parts(connection, UNDESCRIBED, hours)

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
        for table in self._tables.values():
            await connection.execute(delete(table))

    async def _destroyed(self) -> None:
        """Destroyed spans from the register, which is longer than what memory should hold."""
        table = self._tables[DESTROYED_SPANS.name]
        names = [column.name for column in FOLDED_DESTRUCTIONS.columns]
        async with self._database.transaction() as connection:
            await connection.execute(table.insert().from_select(names, select(FOLDED_DESTRUCTIONS)))
        place = sa.tuple_(DESTRUCTIONS.c.run, DESTRUCTIONS.c.number)
        query = select(DESTRUCTIONS).order_by(DESTRUCTIONS.c.run, DESTRUCTIONS.c.number)
        last: tuple[str, int] = ("", -1)
        while True:
            async with self._database.transaction() as connection:
                page = query.where(place > sa.tuple_(*last)).limit(_ROWS)
                rows = (await connection.execute(page)).all()
                segments = [spans.destroyed_segment(row) for row in rows]
                await spans.add_segments(connection, table, segments)
            if len(rows) < _ROWS:
                return
            last = (rows[-1].run, rows[-1].number)

    async def _replace(self, connection: AsyncConnection) -> None:
        for table in INDEX_TABLES:
            copy = self._tables[table.name]
            names = [column.name for column in table.columns]
            if table is SEGMENTS:
                await days.clear(connection)
            else:
                await connection.execute(delete(table))
            await connection.execute(
                table.insert().from_select(names, select(*(copy.c[name] for name in names)))
            )
        await self._empty(connection)


async def _in_parts(
    connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]
) -> None:
    for start in range(0, len(rows), _ROWS):
        await insert_rows(connection, table, rows[start : start + _ROWS])
