"""I4: what is under a hold is held by the store, and was not destroyed."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import select

from vigie.evidence.v1.events_pb2 import HoldState
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.reasons import TOPIC_UNKNOWN
from vigie.recording.fsck.report import (
    EVIDENCE,
    Finding,
    error,
    hold_of,
    tell,
    warning,
)
from vigie.recording.fsck.view import View
from vigie.recording.index import holdings, reader
from vigie.recording.index.convert import timestamp_us
from vigie.recording.index.tables import (
    DESTRUCTIONS,
    HOLD_OBJECTS,
    HOLD_TO_TAKE_OFF,
    HOLDS,
)
from vigie.recording.timeline.intervals import Interval

_WAKE: Final = "restart recording, which finishes what it had noted; else vigie fsck --repair"
_CATCH_UP: Final = "let the consumer catch up; look at the quarantine; else vigie fsck --repair"
RATHER_KEEP: Final = "footage is rather kept for a procedure that nobody knows than lost"


@dataclass(slots=True)
class _ToldHolds:
    """What the topic says: the newest word on each hold, and which words are too young."""

    newest: dict[str, HoldState | None] = field(default_factory=dict)
    young: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)


async def _read_topic(view: View) -> _ToldHolds:
    told = _ToldHolds()
    try:
        async for stored in view.event_log.read("holds"):
            key = stored.event.key
            if stored.event.time_us > view.bound_us:
                told.young.add(key)
                continue
            told.unreadable.pop(key, None)
            told.newest[key] = None
            if stored.event.value is None:
                continue
            try:
                told.newest[key] = parse_event(stored, HoldState)
            except Unprocessable as why:
                told.unreadable[key] = str(why)
    except VigieError as failure:
        if failure.reason.name != TOPIC_UNKNOWN.name:
            raise
    return told


async def check_holds(view: View) -> AsyncIterator[Finding]:
    """I4 for every hold of the topic, of the index, and of the store."""
    told = await _read_topic(view)
    for hold, why in told.unreadable.items():
        what = f"a hold cannot be read: {why}"
        yield error("I4", what, "look at the quarantine; place it once more", EVIDENCE, hold=hold)
    active = set(told.young) | set(told.unreadable)
    for hold, state in told.newest.items():
        if hold in told.unreadable or hold in told.young:
            continue
        if state is None or state.HasField("release_time"):
            async for finding in _released(view, hold):
                yield finding
            continue
        active.add(hold)
        async for finding in _check_hold(view, hold, state):
            yield finding
    async for finding in _untold(view, told):
        yield finding
    for finding in _in_store(view, active, set(told.newest)):
        yield finding


async def _released(view: View, hold: str) -> AsyncIterator[Finding]:
    async with view.database.reading() as connection:
        facts = await holdings.read_hold(connection, hold)
    if facts is not None and facts.released_us is None:
        what = "a hold that was released is still in the index"
        yield error("I4", what, _CATCH_UP, tell("holds", hold), hold=hold)


async def _check_hold(view: View, hold: str, state: HoldState) -> AsyncIterator[Finding]:
    async with view.database.reading() as connection:
        facts = await holdings.read_hold(connection, hold)
    if facts is None:
        what = "a hold that was placed is not in the index"
        yield error("I4", what, _CATCH_UP, tell("holds", hold), hold=hold)
        return
    stands = (facts.start_us, facts.end_us, set(facts.cameras), facts.legal_reference)
    told = (state.start_us, state.end_us, set(state.cameras), state.legal_reference)
    if stands != told or facts.released_us is not None:
        what = "a hold in the index is not what was told"
        yield error("I4", what, _CATCH_UP, tell("holds", hold), hold=hold)
    for camera in state.cameras:
        async for finding in _held_objects(view, state, camera):
            yield finding
        async for finding in _destroyed_under_hold(view, state, camera):
            yield finding
    async for finding in _beyond_window(view, state):
        yield finding


async def _untold(view: View, told: _ToldHolds) -> AsyncIterator[Finding]:
    """Holds of the index that no event has ever told: they keep footage for nobody."""
    async for rows in view.pages(HOLDS, "hold"):
        for row in rows:
            known = row.hold in told.newest or row.hold in told.young
            # A hold that was removed from the topic long ago has left no word there.
            if known or row.released_us is not None or row.placed_us > view.bound_us:
                continue
            what = "the index has a hold that was never told"
            remedy = "ask who placed it; release it through evidence, or place it there"
            yield error("I4", what, remedy, RATHER_KEEP, hold=row.hold)


async def _beyond_window(view: View, state: HoldState) -> AsyncIterator[Finding]:
    """Rows that let a hold take in objects it has no window on."""
    query = select(HOLD_OBJECTS.c.object_key).where(
        HOLD_OBJECTS.c.hold == state.hold, HOLD_OBJECTS.c.state != HOLD_TO_TAKE_OFF
    )
    async with view.database.reading() as connection:
        keys = (await connection.execute(query)).scalars().all()
    # What has no row is told by another check.
    for key, row in (await view.segment_rows(keys)).items():
        overlaps = row.start_us < state.end_us and row.end_us > state.start_us
        if overlaps and row.camera in state.cameras:
            continue
        what = "a hold takes in an object outside of its window"
        yield error(
            "I4", what, _CATCH_UP, tell("holds", state.hold), hold=state.hold, object_key=key
        )


async def _held_objects(view: View, state: HoldState, camera: str) -> AsyncIterator[Finding]:
    """Every object in the window of a hold carries it in the store."""
    window = Interval(state.start_us, state.end_us)
    after: tuple[int, str] | None = None
    while True:
        async with view.database.reading() as connection:
            segments = await reader.segments_in(connection, camera, window, limit=200, after=after)
        if not segments:
            return
        noted = await _noted(view, state.hold, [segment.object_key for segment in segments])
        for segment in segments:
            key = segment.object_key
            if noted.get(key) in {None, HOLD_TO_TAKE_OFF}:
                what = "the index does not note that a hold is on an object of its window"
                yield error(
                    "I4",
                    what,
                    _CATCH_UP,
                    tell("holds", state.hold),
                    hold=state.hold,
                    camera=camera,
                    object_key=key,
                )
            info = await view.store.stat(key)
            if info is None or state.hold in info.holds or info.stored_at_us > view.bound_us:
                continue
            yield error(
                "I4",
                "footage under a hold is not held by the store",
                _WAKE,
                hold_of(state.hold, key),
                hold=state.hold,
                camera=camera,
                object_key=key,
            )
        after = (segments[-1].start_us, segments[-1].object_key)


async def _destroyed_under_hold(
    view: View, state: HoldState, camera: str
) -> AsyncIterator[Finding]:
    """Nothing in the window was destroyed after the hold was placed."""
    async with view.database.reading() as connection:
        rows = await connection.execute(
            select(DESTRUCTIONS).where(
                DESTRUCTIONS.c.camera == camera,
                DESTRUCTIONS.c.start_us < state.end_us,
                DESTRUCTIONS.c.end_us > state.start_us,
                DESTRUCTIONS.c.decided_us > timestamp_us(state.place_time),
            )
        )
        for row in rows:
            yield error(
                "I4",
                "footage was destroyed although a hold was on it",
                "tell the supervisor and the magistrate",
                EVIDENCE,
                hold=state.hold,
                camera=camera,
                object_key=row.object_key,
            )


async def _noted(view: View, hold: str, keys: Sequence[str]) -> dict[str, int]:
    """Object key -> state of its row under a hold."""
    query = select(HOLD_OBJECTS.c.object_key, HOLD_OBJECTS.c.state).where(
        HOLD_OBJECTS.c.hold == hold, HOLD_OBJECTS.c.object_key.in_(keys)
    )
    async with view.database.reading() as connection:
        return {row.object_key: row.state for row in await connection.execute(query)}


def _in_store(view: View, active: set[str], known: set[str]) -> list[Finding]:
    """Holds in the store belong to a procedure that is in force."""
    found: list[Finding] = []
    for hold in sorted(view.held.keys() - active):
        for key in view.held[hold]:
            if hold in known:
                what = "the store holds an object for a hold that was released"
                remedy = _WAKE
                found.append(
                    warning("I4", what, remedy, hold_of(hold, key), hold=hold, object_key=key)
                )
                continue
            what = "the store holds an object for a hold that nobody knows"
            remedy = "ask who placed it; take it off by hand, on record"
            found.append(warning("I4", what, remedy, RATHER_KEEP, hold=hold, object_key=key))
    return found
