"""I3: the register of destructions and the ends of runs."""

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.reasons import TOPIC_UNKNOWN
from vigie.platform.tally import Tally
from vigie.recording.fsck.report import (
    EVIDENCE,
    Action,
    Finding,
    Mend,
    error,
    remake,
)
from vigie.recording.fsck.view import View
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


_TOGETHER: Final = 1000


Said = tuple[str, str, int, int, int, str, int, str]
"""Camera, run, number, start, end, digest, reason and basis of a destruction.

Without the time of its decision. One that the store refused, and that came later, is told once,
with its first decision.
"""


def said_by(event: events_pb2.DestructionEvent) -> Said:
    """What an event of a destruction says."""
    end_us = event.start_us + event.duration_us
    return (
        event.camera, event.run, event.number, event.start_us, end_us, event.sha256, event.reason,
        event.basis,
    )  # fmt: skip


def _print(said: Said) -> bytes:
    """A fingerprint of what is said of a destruction: 32 bytes instead of all of it."""
    return hashlib.sha256(json.dumps(said).encode()).digest()


async def check_register(view: View) -> AsyncIterator[Finding]:
    """I3: every destruction was told, every told destruction stands in the register."""
    tally = Tally()
    try:
        async for finding in _tell(view, tally):
            yield finding
        async for rows in view.pages(DESTRUCTIONS, "object_key"):
            told = await tally.tick([row.object_key for row in rows])
            for row in rows:
                for finding in await _register_entry(view, row, told.get(row.object_key)):
                    yield finding
        async for keys in tally.left():
            for object_key in keys:
                row = await view.segment_row(object_key)
                # With its row still there the destruction was taken back: the store refused it.
                if await view.register_row(object_key) is None and row is None:
                    what = "a destruction was told that is not in the register"
                    yield error("I3", what, _BY_HAND, EVIDENCE, object_key=object_key)
    finally:
        tally.close()


async def _tell(view: View, tally: Tally) -> AsyncIterator[Finding]:
    """Let the tally have what the topic says; events that cannot be read are findings."""
    said: dict[str, bytes] = {}
    try:
        async for stored in view.event_log.read("destructions"):
            try:
                event = parse_event(stored, events_pb2.DestructionEvent)
            except Unprocessable as why:
                what = f"a destruction event cannot be read: {why}"
                offset = stored.position.offset
                yield error("I3", what, _BY_HAND, EVIDENCE, topic="destructions", offset=offset)
                continue
            said[event.object_key] = _print(said_by(event))
            if len(said) == _TOGETHER:
                await tally.put(said)
                said = {}
    except VigieError as failure:
        if failure.reason.name != TOPIC_UNKNOWN.name:
            raise
    await tally.put(said)


async def _register_entry(view: View, row: Any, told: bytes | None) -> list[Finding]:
    """One entry of the register against its event, its segment and its object."""
    where = {"camera": row.camera, "object_key": row.object_key}
    settled = row.decided_us <= view.bound_us
    found: list[Finding] = []
    stands: Said = (
        row.camera, row.run, row.number, row.start_us, row.end_us, row.sha256, row.reason, row.basis
    )  # fmt: skip
    if told is None and settled:
        what = "a destruction in the register was never told"
        found.append(error("I3", what, _BY_HAND, EVIDENCE, **where))
    elif told is not None and told != _print(stands):
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
