"""How events change the index. Every method is idempotent: replays change nothing.

The caller owns the transaction, and commits the consumer's position in it: rows and position
become durable together, which makes the effect exactly once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf.unknown_fields import UnknownFieldSet
from sqlalchemy import Select, bindparam, select

from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.database import in_chunks, insert_if_absent, insert_rows, one_of, upsert
from vigie.platform.database.connection import AsyncConnection
from vigie.recording.index import days, spans
from vigie.recording.index.convert import (
    INTEGER_LIMIT,
    EventInvalidError,
    EventUnknownError,
    camera_state_from_event,
    camera_state_values,
    segment_from_event,
    segment_from_row,
    segment_values,
)
from vigie.recording.index.outages import OutageInvalidError, put_outage
from vigie.recording.index.tables import (
    CAMERA_STATES,
    DESTROYED_SPANS,
    DESTRUCTIONS,
    HOLD_CAMERAS,
    HOLD_OBJECTS,
    HOLD_TO_PLACE,
    HOLDS,
    RUN_ENDS,
    SEGMENTS,
    SPANS,
)
from vigie.recording.model import Segment
from vigie.registry.v1 import events_pb2 as registry_pb2

_Near = dict[str, list[spans.SpanRow]]
_PLACE: Final = select(SEGMENTS).where(
    SEGMENTS.c.run == bindparam("run"), SEGMENTS.c.number == bindparam("number")
)


@cache
def _known(dialect: str, *, is_one: bool) -> Select[Any]:
    """Rows of given keys; the time says which days of the index are looked at."""
    return select(SEGMENTS).where(
        one_of(dialect, SEGMENTS.c.object_key, "keys", is_one=is_one),
        SEGMENTS.c.start_us >= bindparam("first_us"),
        SEGMENTS.c.start_us <= bindparam("last_us"),
    )


@cache
def _destroyed(dialect: str, *, is_one: bool) -> Select[Any]:
    column = DESTRUCTIONS.c.object_key
    return select(column).where(one_of(dialect, column, "keys", is_one=is_one))


@cache
def _holds_on(dialect: str, *, is_one: bool) -> Select[Any]:
    """Holds in force on cameras that overlap a time."""
    return (
        select(HOLDS.c.hold, HOLD_CAMERAS.c.camera, HOLDS.c.start_us, HOLDS.c.end_us)
        .join(HOLD_CAMERAS, HOLD_CAMERAS.c.hold == HOLDS.c.hold)
        .where(
            one_of(dialect, HOLD_CAMERAS.c.camera, "cameras", is_one=is_one),
            HOLDS.c.released_us.is_(None),
            HOLDS.c.start_us < bindparam("end_us"),
            HOLDS.c.end_us > bindparam("start_us"),
        )
    )


class ConflictingSegmentError(EventInvalidError):
    """Two different objects claim the same place; the second is quarantined (I7)."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """A segment that is new in the index.

    Attributes:
        segment: what it is.
        is_held: a hold in force takes it in, and the store has to be told.
    """

    segment: Segment
    is_held: bool


async def apply_segment_events(
    connection: AsyncConnection, events: Sequence[ingest_pb2.SegmentEvent]
) -> list[Indexed]:
    """Apply events of topic ``segments``; the segments that are new in the index.

    What they say of segments, of ends of runs and of outages stands in tables of their own: only
    the order within a kind matters, so that all segments are written together.

    Raises:
        EventInvalidError: an event says something impossible.
        EventUnknownError: an event says something that only a newer program knows.
    """
    segments: list[Segment] = []
    for event in events:
        what = event.WhichOneof("what")
        if what == "segment_stored":
            segments.append(segment_from_event(event.camera, event.segment_stored))
        elif what == "run_ended":
            await put_run_end(connection, event.camera, event.run_ended)
        elif what == "outage":
            try:
                await put_outage(connection, event.camera, event.outage)
            except OutageInvalidError as error:
                raise EventInvalidError(str(error)) from error
        else:
            # What this version has no name for is kept by protobuf as an unknown field.
            kind = EventUnknownError if len(UnknownFieldSet(event)) else EventInvalidError
            raise kind(f"segment event of {event.camera!r} says nothing this version knows")
    return await put_segments(connection, segments)


async def put_segment(connection: AsyncConnection, segment: Segment) -> Indexed | None:
    """Index a segment; ``None`` when it was indexed, or destroyed, before.

    Raises:
        ConflictingSegmentError: its key or its place in the run belongs to another object.
    """
    return next(iter(await put_segments(connection, [segment])), None)


async def put_segments(connection: AsyncConnection, segments: Sequence[Segment]) -> list[Indexed]:
    """Index segments, in a handful of statements however many they are; those that are new.

    Raises:
        ConflictingSegmentError: a key or a place in a run belongs to another object.
    """
    indexed: list[Indexed] = []
    for chunk in in_chunks(segments):
        indexed += await _put(connection, chunk)
    return indexed


async def _put(connection: AsyncConnection, segments: Sequence[Segment]) -> list[Indexed]:
    new, near = await _unknown(connection, _without_repeats(segments))
    if not new:
        return []
    await days.make_days(connection, (segment.start_us for segment in new))
    await insert_rows(connection, SEGMENTS, [segment_values(segment) for segment in new])
    await spans.add_segments(connection, SPANS, new, near=near)
    held = await _hold_segments(connection, new)
    return [Indexed(segment, is_held=segment.object_key in held) for segment in new]


def _without_repeats(segments: Sequence[Segment]) -> list[Segment]:
    """Each object once; an object that is told twice is told alike."""
    by_key: dict[str, Segment] = {}
    by_place: dict[tuple[str, int], Segment] = {}
    for segment in segments:
        first = by_key.setdefault(segment.object_key, segment)
        other = by_place.setdefault((segment.run, segment.number), segment)
        for known in (first, other):
            if known is not segment and known != segment:
                raise _conflict(segment, known.object_key)
    return list(by_key.values())


async def _unknown(
    connection: AsyncConnection, segments: Sequence[Segment]
) -> tuple[list[Segment], _Near]:
    """Segments that are neither indexed nor destroyed, and the spans near them.

    A place in a run is looked up in the spans, which are few and lie together: the rows of
    segments lie in as many days as the index has.
    """
    dialect = connection.dialect.name
    if not segments:
        return [], {}
    times = [segment.start_us for segment in segments]
    wanted = {
        "keys": _bound([segment.object_key for segment in segments]),
        "first_us": min(times),
        "last_us": max(times),
    }
    rows = await connection.execute(_known(dialect, is_one=len(segments) == 1), wanted)
    known = {row.object_key: segment_from_row(row) for row in rows}
    new: list[Segment] = []
    for segment in segments:
        stands = known.get(segment.object_key)
        if stands is None:
            new.append(segment)
        elif stands != segment:
            raise _conflict(segment, stands.object_key)
    if not new:
        return [], {}
    near = await _refuse_taken_places(connection, new)
    keys = {"keys": _bound([segment.object_key for segment in new])}
    destroyed = _destroyed(dialect, is_one=len(new) == 1)
    # A replay from before its destruction does not bring an object back.
    gone = set((await connection.execute(destroyed, keys)).scalars())
    return [segment for segment in new if segment.object_key not in gone], near


async def _refuse_taken_places(connection: AsyncConnection, new: Sequence[Segment]) -> _Near:
    """The spans near segments, after a look whether another object has the place of one."""
    stored: _Near = {}
    for table in (DESTROYED_SPANS, SPANS):
        stored = near = await spans.near_spans(connection, table, new)
        for segment in new:
            if not any(
                row.first_number <= segment.number <= row.last_number
                for row in near.get(segment.run, ())
            ):
                continue
            place = {"run": segment.run, "number": segment.number}
            other = (await connection.execute(_PLACE, place)).first()
            if other is not None:
                raise _conflict(segment, other.object_key)
    return stored


def _conflict(segment: Segment, known: str) -> ConflictingSegmentError:
    return ConflictingSegmentError(
        f"segment {segment.object_key!r} contradicts {known!r} in the index"
    )


async def put_run_end(connection: AsyncConnection, camera: str, ended: ingest_pb2.RunEnded) -> None:
    """Note how a run ended."""
    if not ended.run or ended.end_us <= 0 or ended.segment_count > INTEGER_LIMIT:
        raise EventInvalidError(f"run end of {camera!r} without run or time")
    values = {
        "run": ended.run,
        "camera": camera,
        "end_us": ended.end_us,
        "segment_count": ended.segment_count,
        "reason": ended.reason,
        "object_key": ended.object_key,
    }
    await upsert(connection, RUN_ENDS, values, key=("run",))


async def put_camera_state(
    connection: AsyncConnection, state: registry_pb2.CameraState, told_us: int
) -> None:
    """Add a state to the history of a camera.

    Raises:
        EventInvalidError: it says something impossible.
    """
    values = camera_state_values(camera_state_from_event(state, told_us))
    await upsert(connection, CAMERA_STATES, values, key=("camera", "revision"))


def _bound(values: list[str]) -> list[str] | str:
    """What is bound for `one_of`: the list, or its only value."""
    return values[0] if len(values) == 1 else values


async def hold_segment(connection: AsyncConnection, segment: Segment) -> bool:
    """Let the holds in force on a new segment's time take it in; whether there are any."""
    return bool(await _hold_segments(connection, [segment]))


async def _hold_segments(connection: AsyncConnection, segments: Sequence[Segment]) -> set[str]:
    """Let the holds in force on the time of new segments take them in; keys that are held."""
    cameras = sorted({segment.camera for segment in segments})
    holds_on = _holds_on(connection.dialect.name, is_one=len(cameras) == 1)
    wanted = {
        "cameras": _bound(cameras),
        "start_us": min(segment.start_us for segment in segments),
        "end_us": max(segment.end_us for segment in segments),
    }
    found = (await connection.execute(holds_on, wanted)).all()
    rows = [
        {
            "object_key": segment.object_key,
            "hold": hold.hold,
            "size_bytes": segment.size_bytes,
            "state": HOLD_TO_PLACE,
        }
        for hold in found
        for segment in segments
        if hold.camera == segment.camera
        and hold.start_us < segment.end_us
        and hold.end_us > segment.start_us
    ]
    if rows:
        await insert_if_absent(connection, HOLD_OBJECTS, rows, key=("object_key", "hold"))
    return {str(row["object_key"]) for row in rows}
