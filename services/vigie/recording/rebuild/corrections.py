"""Corrects spans that names suggested, once the objects of an hour have been asked.

Names are right as long as runs are what they should be: numbers without hole or repeat, each
segment up to the next. Where a bucket is damaged they are not, and spans would then tell of footage
that is not there, is not whole, or is of another run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import select

from vigie.platform.database.connection import AsyncConnection
from vigie.recording.index import spans
from vigie.recording.index.convert import segment_from_row
from vigie.recording.index.tables import SEGMENTS, SPANS, UNDESCRIBED
from vigie.recording.keys import FootageKey
from vigie.recording.model import PIECE_LIMIT_US, SEGMENT_LIMIT_US, Segment

HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of an hour of a camera.

    Attributes:
        camera: its identifier.
        hour_us: when the hour begins.
        keys: of all objects that are named as segments, whatever they are.
        segments: those of them that are segments and are not destroyed.
    """

    camera: str
    hour_us: int
    keys: Sequence[FootageKey]
    segments: Sequence[Segment]


async def correct(connection: AsyncConnection, hour: Described) -> int:
    """Bring spans in line with the segments of an hour; how many places were wrong."""
    return await _take_back(connection, hour) + await _straighten(connection, hour)


async def _take_back(connection: AsyncConnection, hour: Described) -> int:
    """Take out of the spans what is named as a segment of a run and is none of it."""
    there = {(segment.run, segment.number) for segment in hour.segments}
    starts = {(key.counter, key.instant_us) for key in hour.keys}
    wrong = 0
    rows = await _spans(connection, hour)
    for number, start_us in sorted(starts):
        for row in rows:
            claims = row.first_number <= number <= row.last_number
            if not (claims and row.start_us <= start_us < row.end_us):
                continue
            if (row.run, number) in there or await _is_elsewhere(
                connection, hour.camera, row.run, number
            ):
                continue
            following = [at for n, at in starts if n == number + 1 and at > start_us]
            until_us = min(following, default=max(start_us + 1, hour.hour_us + HOUR_US))
            end_us = row.end_us if number == row.last_number else min(until_us, row.end_us)
            await spans.remove_segment(connection, SPANS, _place(row, number, (start_us, end_us)))
            wrong += 1
            rows = await _spans(connection, hour)
            break
    return wrong


async def _is_elsewhere(connection: AsyncConnection, camera: str, run: str, number: int) -> bool:
    """Whether a segment of another run is, or may still be found, in a folder of its own."""
    place = (SEGMENTS.c.run == run) & (SEGMENTS.c.number == number)
    if (await connection.execute(select(SEGMENTS.c.run).where(place).limit(1))).first():
        return True
    named = select(UNDESCRIBED.c.folder).where(
        UNDESCRIBED.c.camera == camera, UNDESCRIBED.c.folder.contains(f"/{run}/")
    )
    return (await connection.execute(named.limit(1))).first() is not None


async def _straighten(connection: AsyncConnection, hour: Described) -> int:
    """Let spans begin and end where segments do."""
    by_place = {(segment.run, segment.number): segment for segment in hour.segments}
    for run in sorted({segment.run for segment in hour.segments}):
        for beside in await _beside(connection, run, hour):
            by_place.setdefault((run, beside.number), beside)
    wrong = 0
    rows = await _spans(connection, hour)
    for (run, number), segment in sorted(by_place.items()):
        row = next(
            (r for r in rows if r.run == run and r.first_number <= number <= r.last_number), None
        )
        if row is None:
            continue
        after = by_place.get((run, number + 1))
        start_us = row.start_us if number == row.first_number else segment.start_us
        end_us = segment.end_us  # where it is not known, the next hour will tell
        if number == row.last_number:
            end_us = row.end_us
        elif after is not None:
            end_us = after.start_us
        if (start_us, end_us) != (segment.start_us, segment.end_us):
            await spans.remove_segment(connection, SPANS, _place(row, number, (start_us, end_us)))
            await spans.add_segment(connection, SPANS, segment)
            wrong += 1
            rows = await _spans(connection, hour)
    return wrong


async def _spans(connection: AsyncConnection, hour: Described) -> Sequence[Any]:
    """Rows of spans that touch an hour."""
    query = select(SPANS).where(
        SPANS.c.camera == hour.camera,
        SPANS.c.start_us > hour.hour_us - PIECE_LIMIT_US,
        SPANS.c.start_us < hour.hour_us + HOUR_US + SEGMENT_LIMIT_US,
        SPANS.c.end_us >= hour.hour_us,
    )
    rows: Sequence[Any] = (await connection.execute(query)).all()
    return rows


async def _beside(connection: AsyncConnection, run: str, hour: Described) -> list[Segment]:
    """The segments of a run before and after those of an hour, where they have rows."""
    numbers = [segment.number for segment in hour.segments if segment.run == run]
    query = select(SEGMENTS).where(
        SEGMENTS.c.run == run,
        SEGMENTS.c.number.in_([min(numbers) - 1, max(numbers) + 1]),
        SEGMENTS.c.start_us > hour.hour_us - SEGMENT_LIMIT_US,
        SEGMENTS.c.start_us < hour.hour_us + HOUR_US + SEGMENT_LIMIT_US,
        SEGMENTS.c.destroying_us.is_(None),
    )
    return [segment_from_row(row) for row in await connection.execute(query)]


def _place(row: Any, number: int, times: tuple[int, int]) -> Segment:
    """A number of a row of spans, as far as spans need it."""
    return replace(
        spans.NOTHING,
        camera=row.camera,
        run=row.run,
        number=number,
        start_us=times[0],
        end_us=times[1],
    )
