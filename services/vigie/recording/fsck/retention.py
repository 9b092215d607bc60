"""I9: nothing that is listed outlives its authorisation or one calendar month."""

from collections.abc import AsyncIterator

from vigie.recording.fsck.report import LAW, Finding, error, warning
from vigie.recording.fsck.view import View
from vigie.recording.model import CameraState
from vigie.recording.retention.planner import RetentionPlanner

_RUN = "run retention; look at vigie_recording_destruction_failures_total"
_REACTION_US = 60_000_000


async def check_index(view: View) -> AsyncIterator[Finding]:
    """I9 for what is listed: expired and not held."""
    planner = RetentionPlanner(view.database, view.legal_zone)
    for camera in await planner.cameras():
        if not await view.history(camera):
            continue  # not a single state that can be read: told by the check of camera states
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
                LAW,
                camera=camera,
                object_key=due.segment.object_key,
            )


async def check_authorised(view: View) -> AsyncIterator[Finding]:
    """Footage of a time at which the camera was not to record (a moment of reaction is allowed)."""
    async for segment, destroying_us in view.segments():
        if destroying_us is not None:
            continue
        states = await view.history(segment.camera)
        if states and not _was_authorised(states, segment.start_us):
            yield warning(
                "I9",
                "footage was recorded without an authorisation in force",
                "tell the supervisor; it is destroyed with its rule",
                LAW,
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
