"""I3 (index, register and bucket agree), I8 and I10 deep (content is what was recorded)."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.objectstore import ObjectInfo
from vigie.platform.reasons import OBJECT_NOT_FOUND, TOPIC_UNKNOWN
from vigie.recording.attributes import AttributesMissingError, segment_from_object
from vigie.recording.fsck.report import Finding, error, warning
from vigie.recording.fsck.view import BATCH, View
from vigie.recording.index.tables import DESTRUCTIONS, RUN_ENDS
from vigie.recording.keys import parse_key
from vigie.recording.model import Segment
from vigie.recording.playback.media import ObjectGoneError, SegmentMedia
from vigie.recording.v1 import events_pb2

_BY_HAND = "tell the supervisor: the register was altered by hand"
_RESTORE = "restore the object from a copy; its footage is lost otherwise"


async def check_index_rows(view: View) -> AsyncIterator[Finding]:
    """I3, I8: every index row has its object, as it was recorded."""
    media = SegmentMedia(view.store, cache_bytes=1)
    async for segment, destroying_us in view.segments():
        info = await view.store.stat(segment.object_key)
        where = {"camera": segment.camera, "object_key": segment.object_key}
        if destroying_us is not None:
            if await view.register_row(segment.object_key) is None:
                yield error(
                    "I3",
                    "a segment is being destroyed without a record of it",
                    "do not run retention; tell the supervisor",
                    **where,
                )
            elif destroying_us <= view.bound_us:
                yield warning(
                    "I3",
                    "a destruction that was recorded is not finished",
                    "the next round of retention finishes it",
                    **where,
                )
            continue
        if info is None:
            now = await view.segment_row(segment.object_key)
            if now is not None and now.destroying_us is None:
                yield error(
                    "I3",
                    "the index names an object that the store does not have",
                    _RESTORE,
                    **where,
                )
            continue
        for finding in _same(segment, info):
            yield finding
        if view.deep:
            async for finding in _deep(view, media, segment):
                yield finding


def _same(segment: Segment, info: ObjectInfo) -> list[Finding]:
    where = {"camera": segment.camera, "object_key": segment.object_key}
    if (info.sha256, info.size_bytes) != (segment.sha256, segment.size_bytes):
        return [
            error(
                "I8",
                "the store has other bytes than were recorded",
                "keep both digests as evidence; restore the object from a copy",
                **where,
            )
        ]
    key = parse_key(segment.object_key)
    if key is not None and (key.camera, key.instant_us, key.counter) != (
        segment.camera,
        segment.start_us,
        segment.number,
    ):
        return [
            error("I3", "an index row says other things than its object's key", "reindex", **where)
        ]
    try:
        told = segment_from_object(info)
    except AttributesMissingError:
        return [
            warning(
                "I3",
                "an object has lost its attributes",
                "nothing at once: its content tells the same",
                **where,
            )
        ]
    if told != segment:
        return [
            error(
                "I3",
                "an index row says other things than its object's attributes",
                "reindex",
                **where,
            )
        ]
    return []


async def _deep(view: View, media: SegmentMedia, segment: Segment) -> AsyncIterator[Finding]:
    """Read the object: its digest (I8), and whether it can be played (I10)."""
    where = {"camera": segment.camera, "object_key": segment.object_key}
    digest = hashlib.sha256()
    try:
        async for chunk in view.store.read(segment.object_key):
            digest.update(chunk)
        if digest.hexdigest() != segment.sha256:
            yield error(
                "I8",
                "the bytes of an object are not those that were recorded",
                "keep the object as evidence; restore it from a copy",
                **where,
            )
            return
        await media.open(segment)
    except (VigieError, ObjectGoneError) as failure:
        gone = isinstance(failure, ObjectGoneError) or failure.reason.name == OBJECT_NOT_FOUND.name
        row = await view.segment_row(segment.object_key)
        if gone and (row is None or row.destroying_us is not None):
            return
        yield error("I10", f"a listed segment cannot be played: {failure}", _RESTORE, **where)


async def check_bucket(view: View) -> AsyncIterator[Finding]:
    """I3: every object of the bucket is known; what was destroyed is gone."""
    batch: list[ObjectInfo] = []
    async for info in view.store.list(f"{view.prefix}/"):
        if info.stored_at_us <= view.bound_us:
            batch.append(info)
        if len(batch) >= BATCH:
            for finding in await _unknown(view, batch):
                yield finding
            batch = []
    for finding in await _unknown(view, batch):
        yield finding


async def _unknown(view: View, batch: list[ObjectInfo]) -> list[Finding]:
    findings: list[Finding] = []
    keys = [parse_key(info.key) for info in batch]
    known = await view.known_keys([info.key for info in batch])
    for info, key in zip(batch, keys, strict=True):
        if key is None:
            findings.append(
                warning(
                    "I3",
                    "the bucket has an object that is not ours",
                    "move it elsewhere",
                    object_key=info.key,
                )
            )
            continue
        if key.is_end:
            if not await _end_known(view, info.key):
                findings.append(
                    warning(
                        "I3",
                        "a span end object belongs to no known run",
                        "reindex",
                        object_key=info.key,
                    )
                )
            continue
        if info.key in known:
            continue
        register = await view.register_row(info.key)
        where = {"camera": key.camera, "object_key": info.key}
        if register is None and info.key not in await view.known_keys([info.key]):
            findings.append(
                error(
                    "I3",
                    "the bucket has footage that the index does not know",
                    "let the consumer catch up; else reindex",
                    **where,
                )
            )
        elif register is not None and register.destroyed_us is not None:
            findings.append(
                error(
                    "I9",
                    "footage that was destroyed by the register is still there",
                    "reindex, then run retention",
                    **where,
                )
            )
    return findings


async def _end_known(view: View, object_key: str) -> bool:
    async with view.database.reading() as connection:
        query = RUN_ENDS.select().where(RUN_ENDS.c.object_key == object_key)
        return (await connection.execute(query)).first() is not None


async def check_run_ends(view: View) -> AsyncIterator[Finding]:
    """I3: the span end objects that the index names are there."""
    async for rows in view.pages(RUN_ENDS, "run"):
        for row in rows:
            if not row.object_key or row.end_us > view.bound_us:
                continue
            if await view.store.stat(row.object_key) is not None:
                continue
            if await _end_known(view, row.object_key):
                yield warning(
                    "I3",
                    "the span end object of a run is not in the store",
                    "nothing at once: the index knows the end",
                    camera=row.camera,
                    run=row.run,
                    object_key=row.object_key,
                )


async def check_register(view: View) -> AsyncIterator[Finding]:
    """I3: every destruction was told, every told destruction stands in the register."""
    told: dict[str, str] = {}
    try:
        async for stored in view.event_log.read("destructions"):
            event = parse_event(stored, events_pb2.DestructionEvent)
            told[event.object_key] = event.sha256
    except Unprocessable as why:
        yield error("I3", f"a destruction event cannot be read: {why}", _BY_HAND)
        return
    except VigieError as failure:
        if failure.reason.name != TOPIC_UNKNOWN.name:
            raise
    async for rows in view.pages(DESTRUCTIONS, "object_key"):
        for row in rows:
            for finding in await _register_entry(view, row, told.pop(row.object_key, None)):
                yield finding
    for object_key in told:
        row = await view.segment_row(object_key)
        if await view.register_row(object_key) is None and row is None:
            yield error(
                "I3",
                "a destruction was told that is not in the register",
                _BY_HAND,
                object_key=object_key,
            )


async def _register_entry(view: View, row: Any, told_sha256: str | None) -> list[Finding]:
    """One entry of the register against its event, its segment and its object."""
    where = {"camera": row.camera, "object_key": row.object_key}
    settled = row.decided_us <= view.bound_us
    found: list[Finding] = []
    if told_sha256 is None and settled:
        found.append(error("I3", "a destruction in the register was never told", _BY_HAND, **where))
    elif told_sha256 not in {None, row.sha256}:
        found.append(
            error("I3", "the register contradicts the event of a destruction", _BY_HAND, **where)
        )
    if row.destroyed_us is None and settled and await view.segment_row(row.object_key) is None:
        now = await view.register_row(row.object_key)
        if now is not None and now.destroyed_us is None:
            found.append(
                error(
                    "I3",
                    "a destruction was recorded, its end was not",
                    "reindex, then run retention",
                    **where,
                )
            )
    return found
