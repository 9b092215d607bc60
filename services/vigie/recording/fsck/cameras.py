"""I6: the history of each camera against what the registry told."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final, NamedTuple

from sqlalchemy import select

from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.recording.fsck.report import EVIDENCE, Finding, error, forget, tell
from vigie.recording.fsck.view import View
from vigie.recording.index.convert import (
    EventInvalidError,
    camera_state_from_event,
    camera_state_from_row,
)
from vigie.recording.index.tables import CAMERA_STATES
from vigie.registry.v1 import events_pb2 as registry_pb2

_REPAIR: Final = (
    "let the consumer catch up (metric vigie_consumer_lag_events); else vigie fsck --repair"
)


class _Told(NamedTuple):
    state: registry_pb2.CameraState
    time_us: int


async def check_camera_states(view: View) -> AsyncIterator[Finding]:
    """The newest state of each camera is in the index as it was told, and none is newer.

    The topic is compacted: of earlier states the index is the only witness.
    """
    newest: dict[str, _Told] = {}
    young: set[str] = set()
    async for stored in view.event_log.read("cameras"):
        if stored.event.value is None:
            young.add(stored.event.key)  # a removed key keeps its history
            continue
        if stored.event.time_us > view.bound_us:
            young.add(stored.event.key)
            continue
        try:
            state = parse_event(stored, registry_pb2.CameraState)
        except Unprocessable as why:
            what = f"a camera state cannot be read: {why}"
            remedy = "look at the quarantine; change the camera once more in the registry"
            yield error("I6", what, remedy, EVIDENCE, camera=stored.event.key)
            young.add(stored.event.key)
            continue
        newest[state.camera] = _Told(state, stored.event.time_us)
    for told in newest.values():
        state = told.state
        if not await _stands(view, told):
            yield error(
                "I6",
                "the state of a camera is not in the index as it was told",
                _REPAIR,
                tell("cameras", state.camera),
                camera=state.camera,
                revision=state.revision,
            )
    async for rows in view.pages(CAMERA_STATES, "camera", "revision"):
        for row in rows:
            known = newest.get(row.camera)
            if row.camera in young or (known and row.revision <= known.state.revision):
                continue
            yield error(
                "I6",
                "the index has a state of a camera that was never told",
                _REPAIR,
                forget("cameras", f"{row.camera}@{row.revision}"),
                camera=row.camera,
                revision=row.revision,
            )


async def _stands(view: View, told: _Told) -> bool:
    async with view.database.reading() as connection:
        query = select(CAMERA_STATES).where(
            CAMERA_STATES.c.camera == told.state.camera,
            CAMERA_STATES.c.revision == told.state.revision,
        )
        row = (await connection.execute(query)).first()
    try:
        if row is None:
            return False
        stands = camera_state_from_row(row)
        expected = camera_state_from_event(told.state, told.time_us)
    except (EventInvalidError, ValueError, TypeError):
        return False  # not even readable
    if stands.told_us is None:  # written by a version that did not keep it
        expected = replace(expected, told_us=None)
    return stands == expected
