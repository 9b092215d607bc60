"""I4: what is under a hold is held by the store, and was not destroyed."""

from collections.abc import AsyncIterator

from sqlalchemy import select

from vigie.evidence.v1.events_pb2 import HoldState
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.reasons import TOPIC_UNKNOWN
from vigie.recording.fsck.report import Finding, error, warning
from vigie.recording.fsck.view import View
from vigie.recording.index import holdings, reader
from vigie.recording.index.convert import timestamp_us
from vigie.recording.index.tables import DESTRUCTIONS
from vigie.recording.timeline.intervals import Interval

_WAKE = "restart recording: it places missing holds at its start"


async def told_holds(view: View) -> dict[str, HoldState | None]:
    """The newest word about each hold; ``None``: removed."""
    newest: dict[str, HoldState | None] = {}
    try:
        async for stored in view.events("holds"):
            if stored.event.value is None:
                newest[stored.event.key] = None
            else:
                newest[stored.event.key] = parse_event(stored, HoldState)
    except VigieError as failure:
        if failure.reason.name != TOPIC_UNKNOWN.name:
            raise
    return newest


async def check_holds(view: View) -> AsyncIterator[Finding]:
    """I4 for every hold of the topic, and for every hold in the store."""
    try:
        told = await told_holds(view)
    except Unprocessable as why:
        yield error("I4", f"a hold cannot be read: {why}", "look at the quarantine")
        return
    active: set[str] = set()
    for hold, state in told.items():
        released = state is None or state.HasField("release_time")
        if not released:
            active.add(hold)
        async for finding in _check_hold(view, hold, None if released else state):
            yield finding
    async for finding in _check_store(view, active | await _young(view), set(told)):
        yield finding


async def _check_hold(view: View, hold: str, state: HoldState | None) -> AsyncIterator[Finding]:
    async with view.database.reading() as connection:
        facts = await holdings.read_hold(connection, hold)
    if facts is None:
        if state is not None:
            yield error(
                "I4",
                "a hold that was placed is not in the index",
                "let the consumer catch up; look at the quarantine",
                hold=hold,
            )
        return
    if state is None:
        if facts.released_us is None:
            yield warning(
                "I4",
                "a hold that was released is still in the index",
                "let the consumer catch up",
                hold=hold,
            )
        return
    if (facts.start_us, facts.end_us, set(facts.cameras)) != (
        state.start_us,
        state.end_us,
        set(state.cameras),
    ) or facts.released_us is not None:
        yield error(
            "I4",
            "a hold in the index is not what was told",
            "let the consumer catch up; else tell the supervisor",
            hold=hold,
        )
    for camera in state.cameras:
        async for finding in _held_objects(view, state, camera):
            yield finding
        async for finding in _destroyed_under_hold(view, state, camera):
            yield finding


async def _held_objects(view: View, state: HoldState, camera: str) -> AsyncIterator[Finding]:
    """Every object in the window of a hold carries it in the store."""
    window = Interval(state.start_us, state.end_us)
    after: tuple[int, str] | None = None
    while True:
        async with view.database.reading() as connection:
            segments = await reader.segments_in(connection, camera, window, limit=200, after=after)
        for segment in segments:
            info = await view.store.stat(segment.object_key)
            if info is None or state.hold in info.holds or info.stored_at_us > view.bound_us:
                continue
            yield error(
                "I4",
                "footage under a hold is not held by the store",
                _WAKE,
                hold=state.hold,
                camera=camera,
                object_key=segment.object_key,
            )
        if not segments:
            return
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
                hold=state.hold,
                camera=camera,
                object_key=row.object_key,
            )


async def _young(view: View) -> set[str]:
    """Holds that were placed or released a moment ago: the store may be on either side of it."""
    found: set[str] = set()
    try:
        async for stored in view.event_log.read("holds"):
            if stored.event.time_us > view.bound_us:
                found.add(stored.event.key)
    except VigieError as failure:
        if failure.reason.name != TOPIC_UNKNOWN.name:
            raise
    return found


async def _check_store(view: View, active: set[str], known: set[str]) -> AsyncIterator[Finding]:
    """Holds in the store belong to a procedure that is in force."""
    async for info in view.store.list(f"{view.prefix}/"):
        for hold in sorted(info.holds - active):
            what = (
                "the store holds an object for a hold that was released"
                if hold in known
                else "the store holds an object for a hold that nobody knows"
            )
            yield warning(
                "I4",
                what,
                "restart recording; else take it off by hand, on record",
                hold=hold,
                object_key=info.key,
            )
