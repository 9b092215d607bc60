"""I3: the register of destructions and the ends of runs."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
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
from vigie.recording.index.spans import NOTHING
from vigie.recording.index.tables import DESTRUCTIONS, RUN_ENDS
from vigie.recording.keys import parse_key
from vigie.recording.model import Segment
from vigie.recording.retention.folding import folded_before_us
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
_REST: Final = ("", 0, "")


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


class _Told:
    """What the topic says, with what has become of it since."""

    def __init__(self, view: View, tally: Tally) -> None:
        self._view = view
        self._tally = tally
        self._said: dict[str, bytes] = {}
        self._old: list[Segment] = []

    async def take(self, event: events_pb2.DestructionEvent) -> None:
        """The next event."""
        said = said_by(event)
        self._said[event.object_key] = _print(said)
        if event.decision_time.ToMicroseconds() < folded_before_us(self._view.now_us):
            self._old.append(_segment(event.object_key, said))
        if len(self._said) == _TOGETHER:
            await self.settle()

    async def settle(self) -> None:
        """Let the tally have what was taken, but for what is folded: by far the most, in time."""
        folded = await self._view.folded(self._old)
        await self._tally.put({key: said for key, said in self._said.items() if key not in folded})
        self._said, self._old = {}, []


def _segment(object_key: str, said: Said) -> Segment:
    camera, run, number, start_us, end_us, *_ = said
    return replace(
        NOTHING, object_key=object_key, camera=camera, run=run, number=number, start_us=start_us,
        end_us=end_us,
    )  # fmt: skip


async def check_register(view: View) -> AsyncIterator[Finding]:
    """I3: every destruction was told, every told destruction stands in the register."""
    tally = Tally()
    try:
        async for finding in _tell(view, tally):
            yield finding
        async for rows in view.pages(DESTRUCTIONS, "object_key"):
            told = await tally.tick([row.object_key for row in rows])
            for finding in await _register_entries(view, rows, told):
                yield finding
        async for keys in tally.left():
            for finding in await _unregistered(view, keys):
                yield finding
    finally:
        tally.close()


async def _tell(view: View, tally: Tally) -> AsyncIterator[Finding]:
    """Let the tally have what the topic says; events that cannot be read are findings."""
    told = _Told(view, tally)
    try:
        async for stored in view.event_log.read("destructions"):
            try:
                event = parse_event(stored, events_pb2.DestructionEvent)
            except Unprocessable as why:
                what = f"a destruction event cannot be read: {why}"
                offset = stored.position.offset
                yield error("I3", what, _BY_HAND, EVIDENCE, topic="destructions", offset=offset)
                continue
            await told.take(event)
    except VigieError as failure:
        if failure.reason.name != TOPIC_UNKNOWN.name:
            raise
    await told.settle()


async def _unregistered(view: View, keys: Sequence[str]) -> list[Finding]:
    """What was told and had no entry when the register was read, asked once more."""
    rows = await view.segment_rows(keys)
    entries = await view.register_rows(keys)
    # With its row still there the destruction was taken back: the store refused it.
    absent = [key for key in keys if key not in rows and key not in entries]
    folded = await _folded_meanwhile(view, absent)
    what = "a destruction was told that is not in the register"
    return [
        error("I3", what, _BY_HAND, EVIDENCE, object_key=key) for key in absent if key not in folded
    ]


async def _folded_meanwhile(view: View, keys: Sequence[str]) -> set[str]:
    """Of keys without an entry, those whose entry was folded while the register was read."""
    named = [(key, parse_key(key)) for key in keys]
    segments = [
        _segment(
            key, (name.camera, name.run, name.counter, name.instant_us, name.instant_us, *_REST)
        )
        for key, name in named
        if name is not None
    ]
    return await view.folded(segments) if segments else set()


async def _register_entries(
    view: View, rows: Sequence[Any], told: Mapping[str, bytes]
) -> list[Finding]:
    """Entries of the register against their events, their segments and what they are by now."""
    keys = [row.object_key for row in rows]
    segments = await view.segment_rows(keys)
    now = await view.register_rows(keys)
    findings: list[Finding] = []
    for row in rows:
        key = row.object_key
        findings += _register_entry(view, row, told.get(key), (segments.get(key), now.get(key)))
    return findings


def _register_entry(
    view: View, row: Any, told: bytes | None, today: tuple[Any, Any]
) -> list[Finding]:
    """One entry; ``today`` is the row of its segment and the entry as they are by now."""
    where = {"camera": row.camera, "object_key": row.object_key}
    settled = row.decided_us <= view.bound_us
    found: list[Finding] = []
    stands: Said = (
        row.camera, row.run, row.number, row.start_us, row.end_us, row.sha256, row.reason, row.basis
    )  # fmt: skip
    segment, now = today
    if told is None and settled:
        what = "a destruction in the register was never told"
        found.append(error("I3", what, _BY_HAND, EVIDENCE, **where))
    elif told is not None and told != _print(stands):
        what = "the register contradicts the event of a destruction"
        found.append(error("I3", what, _BY_HAND, EVIDENCE, **where))
    if segment is None and settled and now is not None and now.destroyed_us is None:
        what = "a destruction was recorded, its end was not"
        finish = Mend(Action.FINISH, row.object_key)
        found.append(error("I3", what, _REPAIR, finish, **where))
    if segment is not None and segment.destroying_us is None and now is not None:
        what = "a segment is listed although the register says that it is destroyed"
        found.append(error("I3", what, _BY_HAND, EVIDENCE, **where))
    return found
