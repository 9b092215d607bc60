"""I5: the access log, as far as it can be told from the log itself; and holes in any log."""

from collections.abc import AsyncIterator
from typing import Final

from vigie.audit.v1 import events_pb2 as audit_pb2
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.reasons import TOPIC_UNKNOWN
from vigie.recording.fsck.report import EVIDENCE, Finding, error, warning
from vigie.recording.fsck.view import View

_UNRECORDED: Final = "treat it as an unrecorded access: tell the supervisor"
_TAMPERED: Final = "tell the supervisor; compare with a backup; keep the file for an expert"
_NUMBERED: Final = (
    ("segments", "I1"),
    ("destructions", "I3"),
    ("accesses", "I5"),
)
"""Topics from which nothing is taken but by age, and what a hole in each breaks."""


async def check_access_records(view: View) -> AsyncIterator[Finding]:
    """I5: every access that was closed had been opened, allowed, before."""
    opened: set[str] = set()
    try:
        async for stored in view.events("accesses"):
            offset = stored.position.offset
            try:
                record = parse_event(stored, audit_pb2.AccessRecord)
            except Unprocessable as why:
                what = f"an access record cannot be read: {why}"
                yield error("I5", what, _TAMPERED, EVIDENCE, offset=offset)
                continue
            if (record.record, record.subject) != (stored.event.id, stored.event.key):
                what = "an access record is not the one that was written under its identifier"
                yield error("I5", what, _TAMPERED, EVIDENCE, offset=offset)
            allowed = record.decision == audit_pb2.DECISION_ALLOWED
            if record.phase == audit_pb2.ACCESS_PHASE_OPENED and allowed:
                opened.add(record.request_id)
            elif _closed_unopened(record, opened):
                yield error(
                    "I5",
                    "footage was delivered without an access record before it",
                    _UNRECORDED,
                    EVIDENCE,
                    request=record.request_id,
                    method=record.method,
                )
    except VigieError as failure:
        if failure.reason.name != TOPIC_UNKNOWN.name:
            raise


def _closed_unopened(record: audit_pb2.AccessRecord, opened: set[str]) -> bool:
    return record.phase == audit_pb2.ACCESS_PHASE_CLOSED and record.request_id not in opened


async def check_numbering(view: View) -> AsyncIterator[Finding]:
    """I1, I3, I5: nothing was taken out of a log: its positions have no holes."""
    if view.numbering is None:
        return
    for topic, invariant in _NUMBERED:
        for hole in await view.numbering.holes(topic):
            where = {"topic": topic, "first": hole.first, "last": hole.last}
            if hole.skipped_us is None:
                what = "events are missing from a log: they were taken out by hand"
                yield error(invariant, what, _TAMPERED, EVIDENCE, **where)
            else:
                what = "a log goes on behind a hole: the database was restored from a copy"
                remedy = "what was told in between is lost; its footage is indexed anew"
                yield warning(invariant, what, remedy, EVIDENCE, **where)
