"""I3: the register of destructions and the ends of runs."""

from collections.abc import AsyncIterator
from typing import Any, Final

from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.reasons import TOPIC_UNKNOWN
from vigie.recording.fsck.report import (
    EVIDENCE,
    Action,
    Finding,
    Mend,
    error,
    remake,
)
from vigie.recording.fsck.view import View
from vigie.recording.index.convert import timestamp_us
from vigie.recording.index.tables import DESTRUCTIONS, RUN_ENDS
from vigie.recording.v1 import events_pb2

_BY_HAND: Final = "tell the supervisor: the register was altered by hand"
_REPAIR: Final = "vigie fsck --repair"


async def check_run_ends(view: View) -> AsyncIterator[Finding]:
    """I3: the span end objects that the index names are there."""
    async for rows in view.pages(RUN_ENDS, "run"):
        for row in rows:
            if not row.object_key or row.end_us > view.bound_us:
                continue
            if await view.store.stat(row.object_key) is not None:
                continue
            if not await view.end_listed(row.run):
                continue  # it went with the last segment of its run meanwhile
            where = {"camera": row.camera, "run": row.run, "object_key": row.object_key}
            if not await view.run_known(row.run):
                what = "the index has the end of a run that nobody knows"
                yield error("I3", what, _REPAIR, remake(row.run), **where)
                continue
            what = "the span end object of a run is not in the store"
            yield error("I3", what, _REPAIR, remake(row.run), **where)


Told = tuple[str, str, int, int, int, str, int, int, str]
"""What an event of a destruction says, in the order of `_told`."""


def _told(event: events_pb2.DestructionEvent) -> Told:
    return (
        event.camera,
        event.run,
        event.number,
        event.start_us,
        event.start_us + event.duration_us,
        event.sha256,
        event.reason,
        timestamp_us(event.decision_time),
        event.basis,
    )


async def check_register(view: View) -> AsyncIterator[Finding]:
    """I3: every destruction was told, every told destruction stands in the register."""
    told: dict[str, Told] = {}
    try:
        async for stored in view.event_log.read("destructions"):
            try:
                event = parse_event(stored, events_pb2.DestructionEvent)
            except Unprocessable as why:
                what = f"a destruction event cannot be read: {why}"
                offset = stored.position.offset
                yield error("I3", what, _BY_HAND, EVIDENCE, topic="destructions", offset=offset)
                continue
            told[event.object_key] = _told(event)
    except VigieError as failure:
        if failure.reason.name != TOPIC_UNKNOWN.name:
            raise
    async for rows in view.pages(DESTRUCTIONS, "object_key"):
        for row in rows:
            for finding in await _register_entry(view, row, told.pop(row.object_key, None)):
                yield finding
    for object_key in told:
        row = await view.segment_row(object_key)
        # With its row still there the destruction was taken back: the store refused it.
        if await view.register_row(object_key) is None and row is None:
            what = "a destruction was told that is not in the register"
            yield error("I3", what, _BY_HAND, EVIDENCE, object_key=object_key)


async def _register_entry(view: View, row: Any, told: Told | None) -> list[Finding]:
    """One entry of the register against its event, its segment and its object."""
    where = {"camera": row.camera, "object_key": row.object_key}
    settled = row.decided_us <= view.bound_us
    found: list[Finding] = []
    stands: Told = (
        row.camera,
        row.run,
        row.number,
        row.start_us,
        row.end_us,
        row.sha256,
        row.reason,
        row.decided_us,
        row.basis,
    )
    if told is None and settled:
        what = "a destruction in the register was never told"
        found.append(error("I3", what, _BY_HAND, EVIDENCE, **where))
    # One that the store refused, and that came later, is told once, with its first decision.
    elif told is not None and (told[:7], told[8]) != (stands[:7], stands[8]):
        what = "the register contradicts the event of a destruction"
        found.append(error("I3", what, _BY_HAND, EVIDENCE, **where))
    segment = await view.segment_row(row.object_key)
    now = await view.register_row(row.object_key)
    if segment is None and settled and now is not None and now.destroyed_us is None:
        what = "a destruction was recorded, its end was not"
        finish = Mend(Action.FINISH, row.object_key)
        found.append(error("I3", what, _REPAIR, finish, **where))
    if segment is not None and segment.destroying_us is None and now is not None:
        what = "a segment is listed although the register says that it is destroyed"
        found.append(error("I3", what, _BY_HAND, EVIDENCE, **where))
    return found
