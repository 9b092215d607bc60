"""The desired state of the cameras, and which of them are this process's own."""

from collections.abc import Callable
from typing import Final, Protocol

from vigie.platform.eventlog import StoredEvent
from vigie.platform.eventlog.events import EVENT_VALUE_UNKNOWN, Unprocessable, parse_event
from vigie.registry.v1.events_pb2 import CameraLifecycle, CameraState

CAMERAS_TOPIC: Final = "cameras"


class CameraAssignment(Protocol):
    """Which cameras are this process's own.

    Of one process: all. Of several: those of the partitions that the consumer group gives this
    member (`vigie.ingest.supervisor.shared`).
    """

    async def join(self) -> None:
        """Begin to have cameras.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        ...

    async def leave(self) -> None:
        """Leave the cameras to others, at once (idempotent)."""
        ...

    def not_ready(self) -> str | None:
        """Why it may not be known now which cameras are this process's own, in one line."""
        ...

    def is_mine(self, camera: str) -> bool:
        """Whether this process receives the camera."""
        ...

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called on the event loop whenever the answer may have changed."""
        ...


class AllCameras:
    """The assignment of a single ingest process: everything."""

    async def join(self) -> None:
        """See `CameraAssignment.join`."""

    async def leave(self) -> None:
        """See `CameraAssignment.leave`."""

    def not_ready(self) -> str | None:
        """See `CameraAssignment.not_ready`."""
        return None

    def is_mine(self, camera: str) -> bool:
        """See `CameraAssignment.is_mine`."""
        del camera
        return True

    def on_change(self, listener: Callable[[], None]) -> None:
        """See `CameraAssignment.on_change`: it never changes."""


def parse_camera(stored: StoredEvent) -> CameraState:
    """The state of a camera in an event.

    Raises:
        Unprocessable: it is not one, or its lifecycle is none that this version knows (whether the
            camera is to be received would be a guess); the camera keeps its last good state, aloud.
    """
    state = parse_event(stored, CameraState)
    if state.camera != stored.event.key:
        raise Unprocessable("WRONG_KEY", f"the state of {state.camera!r}")
    if state.lifecycle not in CameraLifecycle.values():
        raise Unprocessable(EVENT_VALUE_UNKNOWN, f"lifecycle {state.lifecycle} of {state.camera!r}")
    return state


def overtaken(state: CameraState, standing: CameraState) -> bool:
    """Whether a state that comes after another one was decided before it: it came once more.

    Both must say so. A registry that was put back to an older copy counts its revisions again, but
    decides later; its decisions count.
    """
    decided_us, standing_us = (each.effective_time.ToMicroseconds() for each in (state, standing))
    return state.revision < standing.revision and decided_us <= standing_us
