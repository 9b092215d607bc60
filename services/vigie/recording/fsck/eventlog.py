"""I1 (events tell of durable objects), I5 (access records), I6 (what the index was told)."""

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import select

from vigie.audit.v1 import events_pb2 as audit_pb2
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.objectstore import ObjectInfo
from vigie.platform.reasons import TOPIC_UNKNOWN
from vigie.recording.fsck.report import Finding, error, warning
from vigie.recording.fsck.view import BATCH, View
from vigie.recording.index.convert import (
    EventInvalidError,
    camera_state_from_event,
    camera_state_from_row,
)
from vigie.recording.index.tables import CAMERA_STATES, OUTAGES
from vigie.registry.v1 import events_pb2 as registry_pb2

_REINDEX = "let the consumer catch up (metric vigie_consumer_lag_events); else reindex"


async def check_segment_events(view: View) -> AsyncIterator[Finding]:
    """I1: every segment that was told of is in the store, with the digest that was told."""
    outages: dict[str, tuple[str, ingest_pb2.Outage]] = {}
    told: list[ingest_pb2.SegmentEvent] = []
    async for stored in view.events("segments"):
        try:
            event = parse_event(stored, ingest_pb2.SegmentEvent)
        except Unprocessable as why:
            yield error(
                "I1",
                f"an event cannot be read: {why}",
                "look at the quarantine",
                offset=stored.position.offset,
            )
            continue
        if event.HasField("outage"):
            outages[event.outage.outage] = (event.camera, event.outage)
        elif event.HasField("segment_stored"):
            told.append(event)
            if len(told) == BATCH:
                for finding in await _segment_events(view, told):
                    yield finding
                told.clear()
    for finding in await _segment_events(view, told):
        yield finding
    for camera, outage in outages.values():
        wrong = await _outage(view, camera, outage)
        if wrong is not None:
            yield wrong


async def _segment_events(view: View, events: Sequence[ingest_pb2.SegmentEvent]) -> list[Finding]:
    """The store first, then the index, then the register: the order in which footage goes."""
    keys = [event.segment_stored.object_key for event in events]
    infos = [await view.store.stat(key) for key in keys]
    rows = await view.segment_rows(keys)
    destroyed = await view.registered_keys(keys)
    findings = [
        _segment_event(event, info, rows.get(key))
        for event, key, info in zip(events, keys, infos, strict=True)
        if key not in destroyed
    ]
    return [finding for finding in findings if finding is not None]


def _segment_event(
    event: ingest_pb2.SegmentEvent, info: ObjectInfo | None, row: Any
) -> Finding | None:
    told = event.segment_stored
    where = {"camera": event.camera, "object_key": told.object_key}
    finding: Finding | None = None
    if info is None:
        finding = error(
            "I1",
            "an event tells of an object that the store does not have",
            "restore the object from a copy; its footage is lost otherwise",
            **where,
        )
    elif (info.sha256, info.size_bytes) != (told.sha256, told.size_bytes):
        finding = error(
            "I1",
            "an event tells of another object than the store has",
            "keep both digests as evidence; restore the object from a copy",
            **where,
        )
    elif row is None:
        finding = error("I6", "a segment that was told of is not in the index", _REINDEX, **where)
    elif (row.sha256, row.start_us, row.end_us, row.run, row.number) != (
        told.sha256,
        told.start_us,
        told.start_us + told.duration_us,
        told.run,
        told.number,
    ):
        finding = error("I6", "the index contradicts the event of a segment", "reindex", **where)
    return finding


async def _outage(view: View, camera: str, told: ingest_pb2.Outage) -> Finding | None:
    """I6: the newest word about an outage is what the index has."""
    async with view.database.reading() as connection:
        query = select(OUTAGES).where(OUTAGES.c.outage == told.outage).order_by(OUTAGES.c.piece_us)
        rows = (await connection.execute(query)).all()
    end_us = told.end_us or told.known_until_us
    expected_empty = end_us <= told.start_us
    where = {"camera": camera, "outage": told.outage}
    if not rows:
        if expected_empty and told.end_us:
            return None
        return error("I6", "an outage that was told of is not in the index", _REINDEX, **where)
    joined = all(a.end_us == b.start_us for a, b in pairwise(rows))
    shape = (rows[0].start_us, rows[-1].end_us, {row.cause for row in rows})
    # A later word than the bound may have stretched or closed it since.
    longer = told.end_us == 0 and rows[-1].end_us >= end_us
    agrees = shape == (told.start_us, max(end_us, told.start_us), {told.cause})
    if joined and (agrees or (longer and shape[0] == told.start_us and shape[2] == {told.cause})):
        return None
    return error("I6", "an outage in the index is not what was told", _REINDEX, **where)


async def check_camera_states(view: View) -> AsyncIterator[Finding]:
    """I6: what the registry told of each camera is in the index, unaltered."""
    newest: dict[str, registry_pb2.CameraState] = {}
    async for stored in view.events("cameras"):
        if stored.event.value is None:
            continue
        try:
            state = parse_event(stored, registry_pb2.CameraState)
        except Unprocessable as why:
            yield error(
                "I6",
                f"a camera state cannot be read: {why}",
                "look at the quarantine",
                camera=stored.event.key,
            )
            continue
        newest[state.camera] = state
    for camera, state in newest.items():
        async with view.database.reading() as connection:
            row = (
                await connection.execute(
                    select(CAMERA_STATES).where(
                        CAMERA_STATES.c.camera == camera,
                        CAMERA_STATES.c.revision == state.revision,
                    )
                )
            ).first()
        try:
            agrees = row is not None and camera_state_from_row(row) == camera_state_from_event(
                state
            )
        except EventInvalidError:
            agrees = False
        if not agrees:
            yield error(
                "I6",
                "the state of a camera is not in the index as it was told",
                _REINDEX,
                camera=camera,
                revision=state.revision,
            )


async def check_access_records(view: View) -> AsyncIterator[Finding]:
    """I5: every access that was closed had been opened, allowed, before."""
    opened: set[str] = set()
    try:
        async for stored in view.events("accesses"):
            try:
                record = parse_event(stored, audit_pb2.AccessRecord)
            except Unprocessable as why:
                yield warning(
                    "I5",
                    f"an access record cannot be read: {why}",
                    "look at what wrote it",
                    offset=stored.position.offset,
                )
                continue
            allowed = record.decision == audit_pb2.DECISION_ALLOWED
            closed = record.phase == audit_pb2.ACCESS_PHASE_CLOSED
            if record.phase == audit_pb2.ACCESS_PHASE_OPENED and allowed:
                opened.add(record.request_id)
            elif closed and record.request_id not in opened:
                yield error(
                    "I5",
                    "footage was delivered without an access record before it",
                    "treat it as an unrecorded access: tell the supervisor",
                    request=record.request_id,
                    method=record.method,
                )
    except VigieError as failure:
        if failure.reason.name != TOPIC_UNKNOWN.name:
            raise
