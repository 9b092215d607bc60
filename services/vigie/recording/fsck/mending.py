"""The steps of a repair, one function a kind; every one may be done again."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import delete, insert, select, update

from vigie.evidence.v1.events_pb2 import HoldState
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.clock import WallClock
from vigie.platform.database import Database, in_chunks, insert_if_absent, upsert
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import EventLog, StoredEvent, Unprocessable, parse_event
from vigie.platform.objectstore import ObjectStore
from vigie.recording.attributes import (
    AttributesMissingError,
    RunEnd,
    end_attributes,
    run_end_from_object,
    run_end_from_row,
    segment_attributes,
)
from vigie.recording.fsck.plan import Doing, Step
from vigie.recording.fsck.witnesses import Told
from vigie.recording.holdkeeper import HoldKeeper
from vigie.recording.index import days, holdings, spans, writer
from vigie.recording.index.convert import segment_from_row, segment_values
from vigie.recording.index.outages import put_outage
from vigie.recording.index.tables import (
    CAMERA_STATES,
    DESTROYED_SPANS,
    DESTRUCTIONS,
    FOLDED_DESTRUCTIONS,
    HOLD_OBJECTS,
    HOLD_TO_PLACE,
    HOLD_TO_TAKE_OFF,
    HOLDS,
    OUTAGES,
    RUN_ENDS,
    SEGMENTS,
    SPANS,
)
from vigie.recording.model import Segment
from vigie.registry.v1 import events_pb2 as registry_pb2

_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_END_TYPE: Final = "video/mp4"


class NotMendedError(Exception):
    """A step could not be done; it says why, and nothing was changed."""


class MendableStore(ObjectStore, Protocol):
    """A store whose objects can be mended; see `DirectoryObjectStore`."""

    async def redescribe(
        self,
        key: str,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        holds: frozenset[str] = ...,
    ) -> None:
        """Write the record of an object anew when its content is what it should be."""
        ...

    async def set_aside(self, key: str) -> None:
        """Move an object that is not ours into the store's quarantine."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What repairs stand on."""

    database: Database
    store: MendableStore
    event_log: EventLog
    wall_clock: WallClock
    keeper: HoldKeeper


async def do_step(parts: Parts, step: Step, told: Told) -> None:
    """Do one step.

    Raises:
        NotMendedError: it cannot be done, and why.
        VigieError: store, database or log refuse.
    """
    if step.doing is Doing.SET_ASIDE:
        await parts.store.set_aside(step.target)
    elif step.doing is Doing.DESCRIBE:
        assert step.segment is not None
        await _describe(parts, step.segment)
    elif step.doing is Doing.INDEX:
        assert step.segment is not None
        for why_not in (await index_all(parts, [step.segment])).values():
            raise NotMendedError(why_not)
    elif step.doing is Doing.FINISH:
        await _finish(parts, step.target)
    elif step.doing is Doing.RUN:
        await _run(parts, step.target, told)
    elif step.doing is Doing.HOLD:
        hold, _, key = step.target.partition(" ")
        await _hold(parts, hold, key)
    else:
        topic, _, key = step.target.partition("/")
        await (_tell if step.doing is Doing.TELL else _forget)(parts, topic, key)


async def _describe(parts: Parts, segment: Segment) -> None:
    key = segment.object_key
    async with parts.database.reading() as connection:
        held = await holdings.holds_on(connection, [key])
    info = await parts.store.stat(key)
    mime, attributes = f'video/mp4; codecs="{segment.codec}"', {}
    if info is not None and not info.foreign:
        attributes = dict(info.metadata)  # what the index does not know of: seek table, rates
        if info.content_type.startswith("video/"):
            mime = info.content_type
    attributes |= segment_attributes(segment, mime)
    await parts.store.redescribe(
        key,
        sha256=segment.sha256,
        content_type=mime,
        metadata=attributes,
        holds=frozenset(held.get(key, ())),
    )


async def index_all(parts: Parts, segments: Sequence[Segment]) -> dict[str, str]:
    """Make rows anew, all at once: rows may have changed places with each other.

    Returns:
        Object key -> why it could not be indexed.
    """
    refused: dict[str, str] = {}
    keys = [segment.object_key for segment in segments]
    async with parts.database.transaction() as connection:
        for chunk in in_chunks(keys):
            await connection.execute(delete(SEGMENTS).where(SEGMENTS.c.object_key.in_(chunk)))
        for segment in segments:
            why_not = await _index(parts, connection, segment)
            if why_not:
                refused[segment.object_key] = why_not
    return refused


async def _index(parts: Parts, connection: AsyncConnection, segment: Segment) -> str:
    """Insert the row of a segment; why not, when its place is that of another object."""
    key = segment.object_key
    taken = (SEGMENTS.c.run == segment.run) & (SEGMENTS.c.number == segment.number)
    other = (await connection.execute(select(SEGMENTS.c.object_key).where(taken))).scalar()
    if other is not None:
        if await parts.store.stat(other) is not None:
            return f"its place in run {segment.run} is taken by {other}"
        await connection.execute(delete(SEGMENTS).where(SEGMENTS.c.object_key == other))
    register = select(DESTRUCTIONS.c.decided_us).where(DESTRUCTIONS.c.object_key == key)
    destroying_us = (await connection.execute(register)).scalar()
    values = segment_values(segment) | {"destroying_us": destroying_us}
    await days.make_days(connection, [segment.start_us])
    await connection.execute(insert(SEGMENTS).values(**values))
    if destroying_us is None:
        await writer.hold_segment(connection, segment)
    else:  # retention finishes what it has begun
        reopened = update(DESTRUCTIONS).where(DESTRUCTIONS.c.object_key == key)
        await connection.execute(reopened.values(destroyed_us=None))
    return ""


async def _finish(parts: Parts, key: str) -> None:
    if await parts.store.stat(key) is not None:
        raise NotMendedError("the object is still there")
    async with parts.database.transaction() as connection:
        await connection.execute(
            update(DESTRUCTIONS)
            .where(DESTRUCTIONS.c.object_key == key, DESTRUCTIONS.c.destroyed_us.is_(None))
            .values(destroyed_us=parts.wall_clock.now_us())
        )


async def _run(parts: Parts, run: str, told: Told) -> None:
    """Spans from segments, destroyed spans from the register, the end from who knows it."""
    async with parts.database.transaction() as connection:
        stored, destroyed = await _remake_spans(connection, run)
        row = (await connection.execute(select(RUN_ENDS).where(RUN_ENDS.c.run == run))).first()
        if not stored and not destroyed:
            await connection.execute(delete(RUN_ENDS).where(RUN_ENDS.c.run == run))
    if not stored:
        return  # the end of a run goes with its last segment
    stands = None if row is None else run_end_from_row(row)
    end = told.ends.get(run) or await _shown_end(parts, stands, run) or stands
    if end is None:
        return
    async with parts.database.transaction() as connection:
        values = {name: getattr(end, name) for name in RUN_ENDS.columns.keys()}  # noqa: SIM118 - of a collection of columns
        await upsert(connection, RUN_ENDS, values, key=("run",))
    await _store_end(parts, end)


async def _remake_spans(connection: AsyncConnection, run: str) -> tuple[int, int]:
    """How many segments of the run are stored, and destroyed."""
    query = select(SEGMENTS).where(SEGMENTS.c.run == run).order_by(SEGMENTS.c.number)
    rows = (await connection.execute(query)).all()
    gone = select(DESTRUCTIONS).where(DESTRUCTIONS.c.run == run).order_by(DESTRUCTIONS.c.number)
    register = (await connection.execute(gone)).all()
    for table in (SPANS, DESTROYED_SPANS):
        await connection.execute(delete(table).where(table.c.run == run))
    for row in rows:
        if row.destroying_us is None:
            await spans.add_segment(connection, SPANS, segment_from_row(row))
    folded = FOLDED_DESTRUCTIONS.select().where(FOLDED_DESTRUCTIONS.c.run == run)
    names = [column.name for column in FOLDED_DESTRUCTIONS.columns]
    await connection.execute(DESTROYED_SPANS.insert().from_select(names, folded))
    gone_segments = [spans.destroyed_segment(row) for row in register]
    await spans.add_segments(connection, DESTROYED_SPANS, gone_segments)
    return len(rows), len(register)


async def _shown_end(parts: Parts, stands: RunEnd | None, run: str) -> RunEnd | None:
    """What a span end object says: where the row names it, else at the end of the run."""
    async with parts.database.reading() as connection:
        query = select(SEGMENTS).where(SEGMENTS.c.run == run).order_by(SEGMENTS.c.number.desc())
        last = (await connection.execute(query.limit(1))).first()
    names = [] if stands is None else [stands.object_key]
    if last is not None:
        folder = last.object_key.rpartition("/")[0].rpartition("/")[0]
        listed = parts.store.list_keys(f"{folder}/")
        names += [found.key async for found in listed if found.key.endswith("_end")]
    for name in names:
        info = await parts.store.stat(name)
        try:
            shown = None if info is None else run_end_from_object(info)
        except AttributesMissingError:
            continue
        if shown is not None and shown.run == run:
            return shown
    return None


async def _store_end(parts: Parts, end: RunEnd) -> None:
    """The span end object, empty as it always is."""
    if not end.object_key:
        return
    attributes = end_attributes(end)
    if await parts.store.stat(end.object_key) is None:
        await parts.store.put_bytes(
            end.object_key,
            b"",
            sha256=_EMPTY_SHA256,
            content_type=_END_TYPE,
            metadata=attributes,
        )
    else:
        await parts.store.redescribe(
            end.object_key, sha256=_EMPTY_SHA256, content_type=_END_TYPE, metadata=attributes
        )


async def _newest(parts: Parts, topic: str, key: str) -> StoredEvent | None:
    newest: StoredEvent | None = None
    async for stored in parts.event_log.read(topic):
        if topic != "segments":
            newest = stored if stored.event.key == key else newest
            continue
        try:
            event = parse_event(stored, ingest_pb2.SegmentEvent)
        except Unprocessable:
            continue
        if event.HasField("outage") and event.outage.outage == key:
            newest = stored
    return newest


async def _tell(parts: Parts, topic: str, key: str) -> None:
    stored = await _newest(parts, topic, key)
    if stored is None:
        raise NotMendedError(f"topic {topic} says nothing of {key} any more")
    try:
        async with parts.database.transaction() as connection:
            await _say(connection, topic, stored)
    except (Unprocessable, ValueError) as why:
        raise NotMendedError(str(why)) from why
    if topic == "holds":
        await parts.keeper.work()


async def _say(connection: AsyncConnection, topic: str, stored: StoredEvent) -> None:
    if topic == "cameras":
        camera = parse_event(stored, registry_pb2.CameraState)
        await writer.put_camera_state(connection, camera, stored.event.time_us)
    elif topic == "segments":
        event = parse_event(stored, ingest_pb2.SegmentEvent)
        named = OUTAGES.c.outage == event.outage.outage
        await connection.execute(delete(OUTAGES).where(named))
        await put_outage(connection, event.camera, event.outage)
    elif stored.event.value is None:
        await holdings.release_hold(connection, stored.event.key, stored.event.time_us)
    else:
        state = parse_event(stored, HoldState)
        # The newest word of the topic: a release that stands in the index was not told.
        known = update(HOLDS).where(HOLDS.c.hold == state.hold)
        await connection.execute(known.values(released_us=None))
        await holdings.put_hold(connection, state)


async def _forget(parts: Parts, topic: str, key: str) -> None:
    statement: Any
    if topic == "segments":
        statement = delete(OUTAGES).where(OUTAGES.c.outage == key)
    else:
        camera, _, revision = key.rpartition("@")
        statement = delete(CAMERA_STATES).where(
            CAMERA_STATES.c.camera == camera, CAMERA_STATES.c.revision == int(revision)
        )
    async with parts.database.transaction() as connection:
        await connection.execute(statement)


async def _hold(parts: Parts, hold: str, key: str) -> None:
    """Say once more what is to be done for one object; the keeper of holds does it."""
    stored = await _newest(parts, "holds", hold)
    value = None if stored is None or stored.event.value is None else stored
    active = value is not None and not parse_event(value, HoldState).HasField("release_time")
    state = HOLD_TO_PLACE if active else HOLD_TO_TAKE_OFF
    info = await parts.store.stat(key)
    row = {
        "object_key": key,
        "hold": hold,
        "size_bytes": 0 if info is None else info.size_bytes,
        "state": state,
    }
    async with parts.database.transaction() as connection:
        await insert_if_absent(connection, HOLD_OBJECTS, row, key=("object_key", "hold"))
        await connection.execute(
            update(HOLD_OBJECTS)
            .where(HOLD_OBJECTS.c.object_key == key, HOLD_OBJECTS.c.hold == hold)
            .values(state=state)
        )
    await parts.keeper.work()
