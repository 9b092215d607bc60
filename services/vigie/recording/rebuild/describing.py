"""Rows of segments, hour by hour, after a reindex: what names do not tell, the digest above all.

The timeline is whole before (see `timeline`). An hour (the folder of one camera and hour) stands
in ``recording_undescribed`` until its rows are written; both change in one transaction, so that
the work goes on where it was interrupted, in this process or the next. Nothing is played, listed or
packaged from an hour before: there are no rows of it, hence no digest to take for known. Whoever
wants to see it has it described first (`Describer.next`).

Objects have the last word: where an object is another one than its name and its neighbours
suggested, the spans are corrected.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from vigie.platform.database import Database, in_chunks, insert_if_absent
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ObjectInfo, ObjectStore
from vigie.platform.reasons import OBJECT_NOT_FOUND
from vigie.recording.index import days, writer
from vigie.recording.index.convert import segment_values
from vigie.recording.index.tables import (
    DESTRUCTIONS,
    HOLD_OBJECTS,
    HOLD_PLACED,
    RUN_ENDS,
    SEGMENTS,
    SPANS,
    UNDESCRIBED,
)
from vigie.recording.keys import FootageKey, parse_key
from vigie.recording.model import PIECE_LIMIT_US, SEGMENT_LIMIT_US, Segment
from vigie.recording.rebuild.corrections import Described, correct
from vigie.recording.rebuild.parsing import (
    NotFootageError,
    RunGuesser,
    run_end_of,
    segment_of,
)
from vigie.recording.rebuild.report import ReindexReport
from vigie.recording.timeline.intervals import Interval

log = structlog.get_logger(__name__)
_AT_ONCE: Final = 4
_HOUR_US: Final = 3_600_000_000
_ATTEMPTS: Final = 3


@dataclass(slots=True)
class _Hour:
    """What the objects of one folder say."""

    folder: str
    camera: str
    start_us: int
    found: list[tuple[ObjectInfo, Segment]]
    keys: list[FootageKey]
    ends: list[ObjectInfo]
    refused: dict[str, str]
    parsed: int = 0

    @property
    def segments(self) -> list[Segment]:
        """Of the objects that are segments."""
        return [segment for _, segment in self.found]


class Describer:
    """Writes the rows that a reindex left out.

    Args:
        database: where the index is.
        store: the bucket.
        changed: called when hours got their rows: holds may have to be placed.
        left: told how many hours are left, now and then.
    """

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        *,
        changed: Callable[[], None] = lambda: None,
        left: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._database = database
        self._store = store
        self._changed = changed
        self._left = left
        self._guesser = RunGuesser()
        self._writing = asyncio.Lock()
        self._finished = False

    async def pending(self) -> int:
        """How many hours lack their rows."""
        async with self._database.reading() as connection:
            count = await connection.scalar(select(func.count()).select_from(UNDESCRIBED))
        self._finished = not count
        self._left(int(count or 0))
        return int(count or 0)

    async def next(self, camera: str, window: Interval) -> bool:
        """Describe the first hours that overlap a window; false when none of them is left to be.

        Raises:
            VigieError: store or database are unavailable.
        """
        if self._finished or window.end_us <= window.start_us:
            return False
        query = (
            select(UNDESCRIBED)
            .where(
                UNDESCRIBED.c.camera == camera,
                # A segment of an hour may end in the one after the next.
                UNDESCRIBED.c.start_us > window.start_us - _HOUR_US - SEGMENT_LIMIT_US,
                UNDESCRIBED.c.start_us < window.end_us,
            )
            .order_by(UNDESCRIBED.c.start_us, UNDESCRIBED.c.folder)
            .limit(_AT_ONCE)
        )
        async with self._database.reading() as connection:
            hours = (await connection.execute(query)).all()
        await self._describe(hours, ReindexReport())
        return bool(hours)

    async def next_of_run(self, run: str, window: Interval) -> bool:
        """The same for the camera of a run."""
        if self._finished:
            return False
        query = select(SPANS.c.camera).where(SPANS.c.run == run).limit(1)
        async with self._database.reading() as connection:
            camera = await connection.scalar(query)
        return camera is not None and await self.next(camera, window)

    async def describe_all(self, report: ReindexReport) -> None:
        """Describe every hour, the oldest first: retention waits for them.

        Raises:
            VigieError: store or database are unavailable; what was done stays done.
        """
        query = (
            select(UNDESCRIBED)
            .order_by(UNDESCRIBED.c.start_us, UNDESCRIBED.c.folder)
            .limit(_AT_ONCE * 16)
        )
        while await self.pending():
            async with self._database.reading() as connection:
                hours = (await connection.execute(query)).all()
            for start in range(0, len(hours), _AT_ONCE):
                await self._describe(hours[start : start + _AT_ONCE], report)

    async def _describe(self, rows: Sequence[Any], report: ReindexReport) -> None:
        hours = await asyncio.gather(*(self._look(row) for row in rows))
        for hour in hours:
            async with self._writing:
                await self._write(hour, report)

    async def _look(self, row: Any) -> _Hour:
        """Ask the store for the objects of a folder."""
        hour = _Hour(row.folder, row.camera, row.start_us, [], [], [], {})
        async for info in self._store.list(hour.folder):
            key = parse_key(info.key)
            if key is None or key.camera != hour.camera:
                hour.refused[info.key] = "the key is not one of footage"
            elif key.is_end:
                hour.ends.append(info)
            else:
                hour.keys.append(key)
                await self._understand(hour, info, key)
        return hour

    async def _understand(self, hour: _Hour, info: ObjectInfo, key: FootageKey) -> None:
        try:
            segment, parsed = await segment_of(self._store, info, key, self._run_of)
        except NotFootageError as error:
            hour.refused[info.key] = str(error)
        except VigieError as error:
            if error.reason.name != OBJECT_NOT_FOUND.name:
                raise  # else it was destroyed in between
        else:
            hour.found.append((info, segment))
            hour.parsed += parsed

    async def _run_of(self, key: FootageKey, duration_us: int) -> str:
        """The run under which the timeline has a segment that does not say it itself."""
        query = select(SPANS.c.run).where(
            SPANS.c.camera == key.camera,
            SPANS.c.start_us > key.instant_us - PIECE_LIMIT_US,
            SPANS.c.start_us <= key.instant_us,
            SPANS.c.end_us > key.instant_us,
            SPANS.c.first_number <= key.counter,
            SPANS.c.last_number >= key.counter,
        )
        guessed = self._guesser.run_of(key, duration_us)
        async with self._database.reading() as connection:
            run = await connection.scalar(query.order_by(SPANS.c.run).limit(1))
        return guessed if run is None else str(run)

    async def _write(self, hour: _Hour, report: ReindexReport) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                new = await self._write_once(hour)
            except IntegrityError:
                # The consumer has just written one of these rows; then it is known next time.
                if attempt == _ATTEMPTS:
                    raise
            else:
                break
        report.segments += new
        report.parsed += hour.parsed
        report.refused |= hour.refused
        # Also where nothing is held: a hold may have waited for this hour to be called applied.
        self._changed()

    async def _write_once(self, hour: _Hour) -> int:
        async with self._database.transaction() as connection:
            destroyed = await _registered(connection, [info.key for info, _ in hour.found])
            new = await _put_destroyed(connection, hour.segments, destroyed)
            standing = [s for s in hour.segments if s.object_key not in destroyed]
            # First what the store has: what is held already need not be placed.
            await _note_holds(connection, [info for info, _ in hour.found])
            indexed, refused = await _put(connection, standing)
            for info in hour.ends:
                await _put_end(connection, info, hour)
            sound = [segment for segment in standing if segment.object_key not in refused]
            described = Described(hour.camera, hour.start_us, hour.keys, sound)
            if wrong := await correct(connection, described):
                log.warning("timeline_corrected", folder=hour.folder, segments=wrong)
            await connection.execute(delete(UNDESCRIBED).where(UNDESCRIBED.c.folder == hour.folder))
        hour.refused |= refused
        return new + len(indexed)


async def _registered(connection: AsyncConnection, keys: Sequence[str]) -> dict[str, int]:
    """Object key -> when its destruction was decided."""
    found: dict[str, int] = {}
    for chunk in in_chunks(keys):
        query = select(DESTRUCTIONS.c.object_key, DESTRUCTIONS.c.decided_us).where(
            DESTRUCTIONS.c.object_key.in_(chunk)
        )
        found |= {row.object_key: row.decided_us for row in await connection.execute(query)}
    return found


async def _put_destroyed(
    connection: AsyncConnection, segments: Sequence[Segment], destroyed: dict[str, int]
) -> int:
    """Mark objects that the register names: their destruction is done again; how many are new."""
    count = 0
    for segment in segments:
        decided_us = destroyed.get(segment.object_key)
        if decided_us is None:
            continue
        known = select(SEGMENTS.c.object_key).where(
            SEGMENTS.c.object_key == segment.object_key, SEGMENTS.c.start_us == segment.start_us
        )
        if (await connection.execute(known)).first() is None:
            await days.make_days(connection, [segment.start_us])
            values = segment_values(segment) | {"destroying_us": decided_us}
            await connection.execute(insert(SEGMENTS).values(**values))
            # It was gone, and a copy of the bucket brought it back: the next round finishes it.
            undone = update(DESTRUCTIONS).where(DESTRUCTIONS.c.object_key == segment.object_key)
            await connection.execute(undone.values(destroyed_us=None))
            count += 1
    return count


async def _put(
    connection: AsyncConnection, segments: Sequence[Segment]
) -> tuple[list[writer.Indexed], dict[str, str]]:
    """Rows of segments: those that are new, and object key -> why it has none."""
    try:
        return await writer.put_segments(connection, segments), {}
    except writer.ConflictingSegmentError:
        pass  # nothing was written yet: see which one it is
    indexed: list[writer.Indexed] = []
    refused: dict[str, str] = {}
    for segment in segments:
        try:
            one = await writer.put_segment(connection, segment)
        except writer.ConflictingSegmentError:
            refused[segment.object_key] = f"its place in run {segment.run} is taken"
        else:
            indexed += [one] if one is not None else []
    return indexed, refused


async def _note_holds(connection: AsyncConnection, infos: Sequence[ObjectInfo]) -> None:
    """Holds as the store has them, so that retention sees them."""
    rows = [
        {"object_key": info.key, "hold": hold, "size_bytes": info.size_bytes, "state": HOLD_PLACED}
        for info in infos
        for hold in sorted(info.holds)
    ]
    await insert_if_absent(connection, HOLD_OBJECTS, rows, key=("object_key", "hold"))


async def _put_end(connection: AsyncConnection, info: ObjectInfo, hour: _Hour) -> None:
    key = parse_key(info.key)
    assert key is not None
    try:
        end = run_end_of(info, key)
    except NotFootageError as error:
        hour.refused[info.key] = str(error)
        return
    values = {
        "run": end.run,
        "camera": end.camera,
        "end_us": end.end_us,
        "segment_count": end.segment_count,
        "reason": end.reason,
        "object_key": end.object_key,
    }
    await insert_if_absent(connection, RUN_ENDS, values, key=("run",))
