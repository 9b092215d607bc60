"""I5: the access log, as far as it can be told from the log itself; and holes in any log."""

from collections.abc import AsyncIterator
from contextlib import closing
from typing import Final

from vigie.audit.v1 import events_pb2 as audit_pb2
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.reasons import TOPIC_UNKNOWN
from vigie.platform.tally import Tally
from vigie.recording.fsck.report import EVIDENCE, Finding, error, warning
from vigie.recording.fsck.view import View

_UNRECORDED: Final = "treat it as an unrecorded access: tell the supervisor"
_TAMPERED: Final = "tell the supervisor; compare with a backup; keep the file for an expert"
_TOGETHER: Final = 1000
_NUMBERED: Final = (
    ("segments", "I1"),
    ("destructions", "I3"),
    ("accesses", "I5"),
)
"""Topics from which nothing is taken but by age, and what a hole in each breaks."""


def _closed(record: audit_pb2.AccessRecord) -> bool:
    return record.phase == audit_pb2.ACCESS_PHASE_CLOSED


class Requests:
    """Requests that were allowed, and closings that wait for an answer whether theirs was."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._opened: set[str] = set()
        self._closings: list[audit_pb2.AccessRecord] = []

    def take(self, record: audit_pb2.AccessRecord) -> None:
        """The next record of the log."""
        allowed = record.decision == audit_pb2.DECISION_ALLOWED
        if record.phase == audit_pb2.ACCESS_PHASE_OPENED and allowed:
            self._opened.add(record.request_id)
        elif _closed(record) and record.request_id not in self._opened:
            self._closings.append(record)

    def is_full(self) -> bool:
        """Whether it is time to ask."""
        return len(self._opened) + len(self._closings) >= _TOGETHER

    async def unopened(self) -> AsyncIterator[Finding]:
        """Closings of what was not opened before; begins anew."""
        closings, opened = self._closings, self._opened
        self._closings, self._opened = [], set()
        before = await self._tally.tick([record.request_id for record in closings])
        await self._tally.put(dict.fromkeys(opened, b""))
        for record in closings:
            if record.request_id not in before:
                what = "footage was delivered without an access record before it"
                where = {"request": record.request_id, "method": record.method}
                yield error("I5", what, _UNRECORDED, EVIDENCE, **where)


async def check_access_records(view: View) -> AsyncIterator[Finding]:
    """I5: every access that was closed had been opened, allowed, before."""
    with closing(Tally()) as tally:
        requests = Requests(tally)
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
                requests.take(record)
                if requests.is_full():
                    async for finding in requests.unopened():
                        yield finding
        except VigieError as failure:
            if failure.reason.name != TOPIC_UNKNOWN.name:
                raise
        async for finding in requests.unopened():
            yield finding


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
