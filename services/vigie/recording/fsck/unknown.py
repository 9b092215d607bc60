"""I3 and I9: objects of the bucket that the index does not list."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from sqlalchemy import select

from vigie.platform.objectstore import ObjectInfo
from vigie.recording.attributes import (
    AttributesMissingError,
    RunEnd,
    run_end_from_object,
    run_end_from_row,
    segment_from_object,
)
from vigie.recording.fsck.report import Finding, error, remake, set_aside, settle
from vigie.recording.fsck.view import View
from vigie.recording.index.tables import CAMERA_STATES, RUN_ENDS
from vigie.recording.keys import FootageKey, parse_key
from vigie.recording.retention.calendar import expiry_us
from vigie.recording.retention.planner import rule_at

_REPAIR: Final = "vigie fsck --repair"
_ASIDE: Final = "vigie fsck --repair moves it to the store's quarantine"


async def check(view: View, objects: Sequence[ObjectInfo]) -> AsyncIterator[Finding]:
    """Tell what objects without a row are; the young ones may still get theirs."""
    settled = [info for info in objects if info.stored_at_us <= view.bound_us]
    if not settled:
        return
    known = await view.known_keys([info.key for info in settled])  # asked once more
    for info in settled:
        if info.key in known:
            continue
        key = parse_key(info.key)
        if key is None:
            what = "the bucket has an object that is not ours"
            yield error("I3", what, _ASIDE, set_aside(info.key), object_key=info.key)
        elif key.is_end:
            finding = await _end(view, info)
            if finding is not None:
                yield finding
        else:
            async for finding in _segment(view, info, key):
                yield finding


async def _segment(view: View, info: ObjectInfo, key: FootageKey) -> AsyncIterator[Finding]:
    where = {"camera": key.camera, "object_key": info.key}
    register = await view.register_row(info.key)
    if register is not None:
        if register.destroyed_us is not None:
            yield error(
                "I9",
                "footage that was destroyed by the register is still there",
                "vigie fsck --repair, then retention destroys it",
                settle(info.key),
                **where,
            )
        return
    if await view.store.stat(info.key) is None:
        return
    for finding in await _untold(view, info, key):
        yield finding
    if not info.holds:
        rule = rule_at(await view.history(key.camera), key.instant_us)
        if expiry_us(key.instant_us, rule.retention_days, view.legal_zone) <= view.bound_us:
            yield error(
                "I9",
                f"the bucket keeps footage beyond its time ({rule.basis})",
                "vigie fsck --repair, then retention destroys it",
                settle(info.key),
                **where,
            )


async def _untold(view: View, info: ObjectInfo, key: FootageKey) -> list[Finding]:
    where = {"camera": key.camera, "object_key": info.key}
    try:
        segment = segment_from_object(info)
    except AttributesMissingError:
        what = "the bucket has an object whose name is one of footage and whose record is not"
        return [error("I3", what, _REPAIR, settle(info.key), **where)]
    if (segment.run, segment.number) in view.spooled:
        return []  # stored, not told yet: ingest tells it at its next start
    if not key.names(segment):
        what = "the bucket has an object that says other things than its name"
        return [error("I3", what, _ASIDE, set_aside(info.key), **where)]
    if not await _camera_known(view, key.camera):
        what = "the bucket has footage of a camera that nobody knows"
        return [error("I3", what, _ASIDE, set_aside(info.key), **where)]
    what = "the bucket has footage that the index does not know"
    remedy = "let the consumer catch up; else vigie fsck --repair"
    return [error("I3", what, remedy, settle(info.key), run=segment.run, **where)]


async def _camera_known(view: View, camera: str) -> bool:
    async with view.database.reading() as connection:
        query = select(CAMERA_STATES.c.camera).where(CAMERA_STATES.c.camera == camera).limit(1)
        return (await connection.execute(query)).first() is not None


async def _end(view: View, info: ObjectInfo) -> Finding | None:
    """A span end object against the row of its run."""
    where = {"object_key": info.key}
    try:
        told = run_end_from_object(info)
    except AttributesMissingError:
        told = None
    if told is not None and told.run in view.ending:
        return None  # stored, not told yet
    row = await _end_row(view, info.key, told)
    if row is None:
        if told is not None and await view.run_known(told.run):
            what = "the index does not know the end of a run"
            return error("I3", what, _REPAIR, remake(told.run), run=told.run, **where)
        what = "a span end object belongs to no known run"
        return error("I3", what, _ASIDE, set_aside(info.key), **where)
    if told is None:
        what = "a span end object has lost its attributes"
        return error("I3", what, _REPAIR, remake(row.run), run=row.run, **where)
    if told != row:
        what = "the index says other things of the end of a run than its span end object"
        return error("I3", what, _REPAIR, remake(row.run), run=row.run, **where)
    return None


async def _end_row(view: View, object_key: str, told: RunEnd | None) -> RunEnd | None:
    named = RUN_ENDS.c.object_key == object_key
    if told is not None:
        named |= RUN_ENDS.c.run == told.run
    async with view.database.reading() as connection:
        row = (await connection.execute(RUN_ENDS.select().where(named))).first()
    return None if row is None else run_end_from_row(row)
