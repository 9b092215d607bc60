"""I9: nothing outlives its authorisation or one calendar month, in index, bucket or spool."""

from collections.abc import AsyncIterator

from vigie.recording.fsck.report import Finding, error, warning
from vigie.recording.fsck.view import View
from vigie.recording.keys import parse_key
from vigie.recording.model import CameraState
from vigie.recording.retention.calendar import expiry_us
from vigie.recording.retention.planner import RetentionPlanner, all_states, rule_at

_RUN = "run retention; look at vigie_recording_destruction_failures_total"
_MONTH_US = 31 * 86_400_000_000
_REACTION_US = 60_000_000


async def check_index(view: View) -> AsyncIterator[Finding]:
    """I9 for what is listed: expired and not held."""
    planner = RetentionPlanner(view.database, view.legal_zone)
    for camera in await planner.cameras():
        async for due in planner.due(camera, view.bound_us):
            if due.segment.end_us > view.bound_us:
                continue
            row = await view.segment_row(due.segment.object_key)
            if row is None or row.destroying_us is not None:
                continue
            yield error(
                "I9",
                f"footage is kept beyond its time ({due.basis})",
                _RUN,
                camera=camera,
                object_key=due.segment.object_key,
            )


async def check_bucket(view: View) -> AsyncIterator[Finding]:
    """I9 for the bucket, whatever the index says: by the keys and the holds of the objects."""
    histories: dict[str, list[CameraState]] = {}
    async for info in view.store.list(f"{view.prefix}/"):
        key = parse_key(info.key)
        if key is None or key.is_end or info.holds:
            continue
        if key.camera not in histories:
            async with view.database.reading() as connection:
                histories[key.camera] = await all_states(connection, key.camera)
        rule = rule_at(histories[key.camera], key.instant_us)
        if expiry_us(key.instant_us, rule.retention_days, view.legal_zone) > view.bound_us:
            continue
        if await view.store.stat(info.key) is None or await view.segment_row(info.key) is not None:
            continue  # gone meanwhile, or told by the index's own check
        yield error(
            "I9",
            f"the bucket keeps footage beyond its time ({rule.basis})",
            "reindex, then run retention",
            camera=key.camera,
            object_key=info.key,
        )


async def check_spool(view: View) -> AsyncIterator[Finding]:
    """I9 for the spool: nothing lies there for a month."""
    for entry in view.spooled.values():
        if entry.modified_us < view.bound_us - _MONTH_US and entry.path.exists():
            yield error(
                "I9",
                "the spool keeps footage beyond its time",
                "look at why it is not uploaded; remove it, on record",
                camera=entry.camera,
                path=entry.path,
            )


async def check_authorised(view: View) -> AsyncIterator[Finding]:
    """Footage of a time at which the camera was not to record (a moment of reaction is allowed)."""
    histories: dict[str, list[CameraState]] = {}
    async for segment, destroying_us in view.segments():
        if destroying_us is not None:
            continue
        if segment.camera not in histories:
            async with view.database.reading() as connection:
                histories[segment.camera] = await all_states(connection, segment.camera)
        states = histories[segment.camera]
        if states and not _was_authorised(states, segment.start_us):
            yield warning(
                "I9",
                "footage was recorded without an authorisation in force",
                "tell the supervisor; it is destroyed with its rule",
                camera=segment.camera,
                object_key=segment.object_key,
            )


def _was_authorised(states: list[CameraState], recorded_us: int) -> bool:
    """Whether an authorisation was in force then, or had been a moment before."""
    return any(
        term.from_us <= recorded_us < term.until_us + _REACTION_US
        for state in states
        if state.effective_us <= recorded_us
        for term in state.authorisations
    )
