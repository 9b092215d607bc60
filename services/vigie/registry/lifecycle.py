"""The life of a camera: which step leads from which state to which.

PLANNED --commission--> IN_SERVICE --suspend--> SUSPENDED --resume--> IN_SERVICE
PLANNED, IN_SERVICE, SUSPENDED --retire--> RETIRED (for good)
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from vigie.platform.errors import VigieError
from vigie.registry.reasons import LIFECYCLE_TRANSITION_REFUSED
from vigie.registry.v1.events_pb2 import CameraLifecycle

PLANNED: Final = CameraLifecycle.CAMERA_LIFECYCLE_PLANNED
IN_SERVICE: Final = CameraLifecycle.CAMERA_LIFECYCLE_IN_SERVICE
SUSPENDED: Final = CameraLifecycle.CAMERA_LIFECYCLE_SUSPENDED
RETIRED: Final = CameraLifecycle.CAMERA_LIFECYCLE_RETIRED


class Step(StrEnum):
    """What a person does with a camera."""

    COMMISSION = "commission"
    SUSPEND = "suspend"
    RESUME = "resume"
    RETIRE = "retire"


PAST: Final[Mapping[Step, str]] = {
    Step.COMMISSION: "commissioned",
    Step.SUSPEND: "suspended",
    Step.RESUME: "resumed",
    Step.RETIRE: "retired",
}
"""How the history calls a step that was taken."""

_ALLOWED: Final[Mapping[tuple[int, Step], CameraLifecycle.ValueType]] = {
    (PLANNED, Step.COMMISSION): IN_SERVICE,
    (IN_SERVICE, Step.SUSPEND): SUSPENDED,
    (SUSPENDED, Step.RESUME): IN_SERVICE,
    (PLANNED, Step.RETIRE): RETIRED,
    (IN_SERVICE, Step.RETIRE): RETIRED,
    (SUSPENDED, Step.RETIRE): RETIRED,
}


def short_name(lifecycle: int) -> str:
    """``IN_SERVICE`` for ``CAMERA_LIFECYCLE_IN_SERVICE``."""
    name = CameraLifecycle.Name(CameraLifecycle.ValueType(lifecycle))
    return name.removeprefix("CAMERA_LIFECYCLE_")


def take(camera: str, lifecycle: int, step: Step) -> CameraLifecycle.ValueType:
    """The state after ``step``.

    Raises:
        VigieError: LIFECYCLE_TRANSITION_REFUSED, with what is possible instead.
    """
    after = _ALLOWED.get((lifecycle, step))
    if after is None:
        possible = [other.value for (state, other) in _ALLOWED if state == lifecycle]
        instead = f"possible: {', '.join(possible)}" if possible else "nothing is possible any more"
        raise VigieError(
            LIFECYCLE_TRANSITION_REFUSED,
            f"camera {camera} is {short_name(lifecycle)}: cannot {step.value} it; {instead}",
            field="name",
            lifecycle=short_name(lifecycle),
            step=step.value,
        )
    return after
