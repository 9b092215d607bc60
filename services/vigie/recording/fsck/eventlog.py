"""I1 and I6: what the topic ``segments`` tells against store and index."""

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import select

from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.eventlog import StoredEvent
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.objectstore import ObjectInfo
from vigie.recording.attributes import RunEnd, run_end_from_row
from vigie.recording.fsck.report import (
    EVIDENCE,
    LOST,
    Finding,
    error,
    forget,
    remake,
    settle,
    tell,
)
from vigie.recording.fsck.view import BATCH, View
from vigie.recording.index.tables import OUTAGES, RUN_ENDS

_REPAIR: Final = (
    "let the consumer catch up (metric vigie_consumer_lag_events); else vigie fsck --repair"
)
_LOOK: Final = "look at the quarantine; keep the database file for an expert"


class _Told:
    """What the topic has said so far."""

    def __init__(self) -> None:
        self.outages: dict[str, tuple[str, ingest_pb2.Outage]] = {}
        self.ends: dict[str, RunEnd] = {}
        self.segments: list[ingest_pb2.SegmentEvent] = []
        self.newest: dict[str, int] = {}
        self.numbers: dict[str, int] = {}
        """Run -> a bit for each segment that was told; 32 million are four megabytes."""
        self.young: set[str] = set()
        self.oldest_us: int | None = None


async def check_segment_events(view: View) -> AsyncIterator[Finding]:
    """I1, I6: all that was told of footage is in the store and in the index, as it was told."""
    told = _Told()
    async for stored in view.event_log.read("segments"):
        for finding in _read(view, told, stored):
            yield finding
        if len(told.segments) == BATCH:
            for finding in await _segment_events(view, told.segments):
                yield finding
            told.segments.clear()
    for finding in await _segment_events(view, told.segments):
        yield finding
    async for finding in _outages(view, told):
        yield finding
    async for finding in _run_ends(view, told):
        yield finding


def _read(view: View, told: _Told, stored: StoredEvent) -> list[Finding]:
    """Take one event in; of a young one only that it was told."""
    if told.oldest_us is None:
        told.oldest_us = stored.event.time_us
    young = stored.event.time_us > view.bound_us
    try:
        event = parse_event(stored, ingest_pb2.SegmentEvent)
    except Unprocessable as why:
        what = f"an event cannot be read: {why}"
        offset = stored.position.offset
        return [] if young else [error("I1", what, _LOOK, EVIDENCE, offset=offset)]
    if young:
        told.young.add(event.outage.outage)
        return []
    if view.numbering is None and _is_repeated(told, event):
        # A distributed log may hold an event twice, at any distance: it is the same event.
        return []
    finding = _take(told, event, stored.position.offset)
    return [] if finding is None else [finding]


def _take(told: _Told, event: ingest_pb2.SegmentEvent, offset: int) -> Finding | None:
    """Note one event; a finding when it stands before one that was told earlier."""
    if event.HasField("outage"):
        known = told.outages.get(event.outage.outage)
        if known is None or not _is_older(event.outage, known[1]):
            told.outages[event.outage.outage] = (event.camera, event.outage)
    elif event.HasField("run_ended"):
        ended = event.run_ended
        told.ends[ended.run] = RunEnd(
            event.camera,
            ended.run,
            ended.end_us,
            ended.segment_count,
            ended.reason,
            ended.object_key,
        )
    elif event.HasField("segment_stored"):
        told.segments.append(event)
        run, number = event.segment_stored.run, event.segment_stored.number
        before = told.newest.get(run, -1)
        told.newest[run] = max(number, before)
        told.numbers[run] = told.numbers.get(run, 0) | 1 << number
        if number < before or run in told.ends:
            what = "events of a run stand in another order than they were told"
            return error("I1", what, _LOOK, EVIDENCE, camera=event.camera, run=run, offset=offset)
    else:
        what = "an event says nothing that this version knows"
        return error("I1", what, _LOOK, EVIDENCE, camera=event.camera, offset=offset)
    return None


def _is_older(word: ingest_pb2.Outage, known: ingest_pb2.Outage) -> bool:
    """Whether a word about an outage that lasts was overtaken: the index does not take it, either.

    The end that is told may lie before what was vouched for.
    """
    lasting = word.end_us == 0 and word.cause == known.cause
    return lasting and (known.end_us != 0 or known.known_until_us > word.known_until_us)


def _is_repeated(told: _Told, event: ingest_pb2.SegmentEvent) -> bool:
    """Whether a segment was told before."""
    if not event.HasField("segment_stored"):
        return False
    stored = event.segment_stored
    return bool(told.numbers.get(stored.run, 0) >> stored.number & 1)


async def _segment_events(view: View, events: Sequence[ingest_pb2.SegmentEvent]) -> list[Finding]:
    """Index and register first; the store only where these leave a doubt."""
    keys = [event.segment_stored.object_key for event in events]
    rows = await view.segment_rows(keys)
    gone = await view.register_rows([key for key in keys if key not in rows])
    doubtful = [
        event
        for event, key in zip(events, keys, strict=True)
        if key not in gone and (not _agrees(event, rows.get(key)) or key in view.suspects)
    ]
    names = [event.segment_stored.object_key for event in doubtful]
    infos = [await view.store.stat(key) for key in names]
    rows = await view.segment_rows(names)
    destroyed = await view.register_rows(names)
    findings = [
        _segment_event(event, info, rows.get(key))
        for event, key, info in zip(doubtful, names, infos, strict=True)
        if key not in destroyed
    ]
    return [finding for finding in findings if finding is not None]


def _agrees(event: ingest_pb2.SegmentEvent, row: Any) -> bool:
    told = event.segment_stored
    return row is not None and (
        row.camera,
        row.sha256,
        row.size_bytes,
        row.start_us,
        row.end_us,
        row.run,
        row.number,
    ) == (
        event.camera,
        told.sha256,
        told.size_bytes,
        told.start_us,
        told.start_us + told.duration_us,
        told.run,
        told.number,
    )


def _segment_event(
    event: ingest_pb2.SegmentEvent, info: ObjectInfo | None, row: Any
) -> Finding | None:
    told = event.segment_stored
    where = {"camera": event.camera, "run": told.run, "object_key": told.object_key}
    if info is None:
        what = "an event tells of an object that the store does not have"
        remedy = "restore the object from a copy; its footage is lost otherwise"
        return error("I1", what, remedy, LOST, **where)
    if (info.sha256, info.size_bytes) != (told.sha256, told.size_bytes):
        what = "an event tells of another object than the store has"
        remedy = "keep both digests as evidence; restore the object from a copy"
        return error("I1", what, remedy, settle(info.key), **where)
    if row is None:
        what = "a segment that was told of is not in the index"
        return error("I6", what, _REPAIR, settle(info.key), **where)
    if not _agrees(event, row):
        what = "the index contradicts the event of a segment"
        return error("I6", what, _REPAIR, settle(info.key), **where)
    return None


async def _run_ends(view: View, told: _Told) -> AsyncIterator[Finding]:
    for end in told.ends.values():
        wrong = await _run_end(view, end)
        if wrong is not None:
            yield wrong


async def _run_end(view: View, told: RunEnd) -> Finding | None:
    """I6: the end of a run that still has footage is in the index as it was told."""
    async with view.database.reading() as connection:
        query = select(RUN_ENDS).where(RUN_ENDS.c.run == told.run)
        row = (await connection.execute(query)).first()
    if row is None:
        # The row of a run goes with its last segment.
        if not await view.run_listed(told.run):
            return None
        what = "the end of a run that was told is not in the index"
    elif run_end_from_row(row) != told:
        what = "the index contradicts the event of the end of a run"
    else:
        return None
    return error("I6", what, _REPAIR, remake(told.run), camera=told.camera, run=told.run)


async def _outages(view: View, told: _Told) -> AsyncIterator[Finding]:
    """I6: outages of the topic against the index, and the other way round."""
    for camera, outage in told.outages.values():
        has_later_word = outage.outage in told.young
        wrong = await _outage(view, camera, outage, has_later_word=has_later_word)
        if wrong is not None:
            yield wrong
    if told.oldest_us is None:
        return
    async for rows in view.pages(OUTAGES, "outage", "piece_us"):
        for row in rows:
            # What is older than the topic was told before its first event.
            young = row.end_us > view.bound_us or row.outage in told.young
            if row.outage in told.outages or young or row.end_us <= told.oldest_us:
                continue
            what = "the index has an outage that was never told"
            where = {"camera": row.camera, "outage": row.outage}
            yield error("I6", what, _REPAIR, forget("segments", row.outage), **where)


async def _outage(
    view: View, camera: str, told: ingest_pb2.Outage, *, has_later_word: bool
) -> Finding | None:
    """I6: the newest word about an outage is what the index has.

    Where a word younger than the bound was told as well, the index may have that one already:
    then only what no word can change is looked at.
    """
    async with view.database.reading() as connection:
        query = select(OUTAGES).where(OUTAGES.c.outage == told.outage).order_by(OUTAGES.c.piece_us)
        rows = (await connection.execute(query)).all()
    end_us = told.end_us or told.known_until_us
    expected_empty = end_us <= told.start_us
    where = {"camera": camera, "outage": told.outage}
    if not rows:
        if (expected_empty and told.end_us) or has_later_word:
            return None
        what = "an outage that was told of is not in the index"
        return error("I6", what, _REPAIR, tell("segments", told.outage), **where)
    joined = all(a.end_us == b.start_us for a, b in pairwise(rows))
    shape = (rows[0].start_us, rows[-1].end_us, {row.cause for row in rows})
    # A later word than the bound may have stretched or closed it since.
    longer = told.end_us == 0 and rows[-1].end_us >= end_us
    mine = all(row.camera == camera for row in rows)
    if has_later_word and joined and mine:
        return None
    joined = joined and mine and rows[0].piece_us == told.start_us
    agrees = shape == (told.start_us, max(end_us, told.start_us), {told.cause})
    if joined and (agrees or (longer and shape[0] == told.start_us and shape[2] == {told.cause})):
        return None
    what = "an outage in the index is not what was told"
    return error("I6", what, _REPAIR, tell("segments", told.outage), **where)
