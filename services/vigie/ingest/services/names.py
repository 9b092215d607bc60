"""Resource names in requests, and the zones of what they name."""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from vigie.common.v1.types_pb2 import Purpose
from vigie.ingest import reasons
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import Call
from vigie.platform.reasons import PURPOSE_REQUIRED
from vigie.registry.v1.events_pb2 import CAMERA_LIFECYCLE_RETIRED, CameraState

MIN_PURPOSE_CHARACTERS: Final = 3
_CAMERA: Final = re.compile(r"cameras/([a-z][a-z0-9-]{2,62})")
_STREAM: Final = re.compile(r"cameras/([a-z][a-z0-9-]{2,62})/stream")


class CameraStates(Protocol):
    """The newest state of every camera (`CompactedTable`)."""

    def get(self, key: str) -> CameraState | None:
        """The state of a camera, or ``None``."""
        ...


def camera_of(name: str, field: str) -> str:
    """The identifier in ``cameras/{camera}``.

    Raises:
        VigieError: STREAM_NAME_INVALID.
    """
    return _match(_CAMERA, name, "cameras/{camera}", field)


def stream_of(name: str, field: str) -> str:
    """The camera in ``cameras/{camera}/stream``.

    Raises:
        VigieError: STREAM_NAME_INVALID.
    """
    return _match(_STREAM, name, "cameras/{camera}/stream", field)


def is_retired(states: CameraStates, camera: str) -> bool:
    """Whether a camera has been taken out of service for good, or is not known any more."""
    state = states.get(camera)
    return state is None or state.lifecycle == CAMERA_LIFECYCLE_RETIRED


def zones_of(names: Sequence[str], states: CameraStates) -> list[str] | None:
    """The zones of some cameras; ``None`` when one is not known or stands in none.

    Then only who holds the permission everywhere is admitted, and learns that it is not there.
    """
    zones = []
    for name in names:
        state = states.get(name)
        if state is None or not state.zone:
            return None
        zones.append(state.zone)
    return sorted(set(zones))


async def admit_cameras(
    call: Call, names: Sequence[str], states: CameraStates, purpose: Purpose | None = None
) -> None:
    """Admit a call for some cameras; with none named, for whatever the caller may see.

    Raises:
        VigieError: PERMISSION_DENIED, ACCESS_NOT_RECORDED; STREAM_NOT_FOUND for who may see all.
    """
    await call.admit(
        objects=[f"cameras/{name}" for name in names],
        zones=zones_of(names, states),
        purpose=purpose.text if purpose else "",
        case_reference=purpose.case_reference if purpose else "",
    )
    for name in names:
        if states.get(name) is None:
            raise VigieError(reasons.STREAM_NOT_FOUND, f"no camera is called {name!r}")


def checked_purpose(purpose: Purpose) -> Purpose:
    """The purpose of a consultation of footage.

    Raises:
        VigieError: PURPOSE_REQUIRED.
    """
    if len(purpose.text.strip()) < MIN_PURPOSE_CHARACTERS:
        raise VigieError(
            PURPOSE_REQUIRED, "say why the pictures are looked at", field="purpose.text"
        )
    return purpose


def _match(pattern: re.Pattern[str], name: str, form: str, field: str) -> str:
    found = pattern.fullmatch(name)
    if found is None:
        raise VigieError(
            reasons.STREAM_NAME_INVALID, f"expected {form}, got {name[:80]!r}", field=field
        )
    return found[1]
