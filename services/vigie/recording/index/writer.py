"""How events change the index. Every method is idempotent: replays change nothing.

The caller owns the transaction, and commits the consumer's position in it: rows and position
become durable together, which makes the effect exactly once.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, bindparam, insert, or_, select

from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.database import insert_if_absent, upsert
from vigie.platform.database.connection import AsyncConnection
from vigie.recording.index import spans
from vigie.recording.index.convert import (
    EventInvalidError,
    camera_state_from_event,
    camera_state_values,
    segment_from_event,
    segment_from_row,
    segment_values,
)
from vigie.recording.index.outages import OutageInvalidError, put_outage
from vigie.recording.index.tables import (
    CAMERA_STATES,
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

_KNOWN: Final = select(SEGMENTS).where(
    or_(
        SEGMENTS.c.object_key == bindparam("object_key"),
        and_(SEGMENTS.c.run == bindparam("run"), SEGMENTS.c.number == bindparam("number")),
    )
)
_DESTROYED: Final = select(DESTRUCTIONS.c.object_key).where(
    DESTRUCTIONS.c.object_key == bindparam("object_key")
)
_INSERT: Final = insert(SEGMENTS)
_HOLDS_ON: Final = (
    select(HOLDS.c.hold)
    .join(HOLD_CAMERAS, HOLD_CAMERAS.c.hold == HOLDS.c.hold)
    .where(
        HOLD_CAMERAS.c.camera == bindparam("camera"),
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


async def apply_segment_event(
    connection: AsyncConnection, event: ingest_pb2.SegmentEvent
) -> Indexed | None:
    """Apply one event of topic ``segments``; the segment, when a new one was indexed.

    Raises:
        EventInvalidError: the event says something impossible.
    """
    what = event.WhichOneof("what")
    if what == "segment_stored":
        return await put_segment(connection, segment_from_event(event.camera, event.segment_stored))
    if what == "run_ended":
        await put_run_end(connection, event.camera, event.run_ended)
    elif what == "outage":
        try:
            await put_outage(connection, event.camera, event.outage)
        except OutageInvalidError as error:
            raise EventInvalidError(str(error)) from error
    else:
        raise EventInvalidError(
            f"segment event of {event.camera!r} says nothing this version knows"
        )
    return None


async def put_segment(connection: AsyncConnection, segment: Segment) -> Indexed | None:
    """Index a segment; ``None`` when it was indexed, or destroyed, before.

    Raises:
        ConflictingSegmentError: its key or its place in the run belongs to another object.
    """
    values = segment_values(segment)
    place = {name: values[name] for name in ("object_key", "run", "number")}
    known = (await connection.execute(_KNOWN, place)).first()
    if known is not None:
        if segment_from_row(known) != segment:
            raise ConflictingSegmentError(
                f"segment {segment.object_key!r} contradicts {known.object_key!r} in the index"
            )
        return None
    destroyed = await connection.execute(_DESTROYED, {"object_key": segment.object_key})
    if destroyed.first() is not None:
        return None  # a replay from before its destruction: it does not come back
    await connection.execute(_INSERT, values)
    await spans.add_segment(connection, SPANS, segment)
    return Indexed(segment, is_held=await hold_segment(connection, segment))


async def put_run_end(connection: AsyncConnection, camera: str, ended: ingest_pb2.RunEnded) -> None:
    """Note how a run ended."""
    if not ended.run or ended.end_us <= 0:
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


async def put_camera_state(connection: AsyncConnection, state: registry_pb2.CameraState) -> None:
    """Add a state to the history of a camera."""
    values = camera_state_values(camera_state_from_event(state))
    await upsert(connection, CAMERA_STATES, values, key=("camera", "revision"))


async def hold_segment(connection: AsyncConnection, segment: Segment) -> bool:
    """Let the holds in force on a new segment's time take it in; whether there are any."""
    found = await connection.execute(
        _HOLDS_ON,
        {"camera": segment.camera, "start_us": segment.start_us, "end_us": segment.end_us},
    )
    rows = [
        {
            "object_key": segment.object_key,
            "hold": hold,
            "size_bytes": segment.size_bytes,
            "state": HOLD_TO_PLACE,
        }
        for (hold,) in found
    ]
    if rows:
        await insert_if_absent(connection, HOLD_OBJECTS, rows, key=("object_key", "hold"))
    return bool(rows)
