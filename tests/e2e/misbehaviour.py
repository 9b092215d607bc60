"""Every fault of the simulator, each on a camera of its own, all at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from e2e import estate
from e2e.callers import stored_until
from e2e.harness import WALL, Cameras, Installation, until
from vigie.simcam import FAULTS, Fault, FaultParameters

LASTING_SECONDS: Final = 4.0
_PARAMETERS: Final = {
    Fault.SLOW_START: FaultParameters(seconds=2.0),
    Fault.CLOCK_JUMP: FaultParameters(seconds=3600.0),
    Fault.SLOW_CAMERA: FaultParameters(milliseconds=30),
}
LOCKED_OUT: Final = (Fault.DEMAND_AUTHENTICATION, Fault.CHANGE_PASSWORD)
"""After these the next attempt is half a minute away, lest the camera lock the account."""
_AT_THE_NEXT_CONNECTION: Final = (Fault.SLOW_START,)
"""Faults that only a new connection meets, and that do not end the present one."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """When all this was, in microseconds since the Unix epoch."""

    before_us: int
    begun_us: int
    cleared_us: int
    settled_us: Mapping[str, int]
    """Camera -> up to when it is told what became of it."""


async def misbehave(vigie: Installation, cameras: Cameras, since_us: int) -> Misbehaviour:
    """Let every fault happen to its camera; returns when all cameras are well again."""
    control = cameras.plain.control

    before_us = min((await stored_until(vigie, estate.FAULTY, since_us, since_us + 1)).values())
    begun_us = WALL.now_us()
    for camera, fault in estate.FAULTY.items():
        parameters = _PARAMETERS.get(fault, FaultParameters())
        lasting = not FAULTS[fault].is_momentary
        await control.inject(
            camera, fault, parameters=parameters,
            duration_seconds=LASTING_SECONDS if lasting else None,
        )  # fmt: skip
        if fault in _AT_THE_NEXT_CONNECTION:
            await control.inject(camera, Fault.DROP_CONNECTION)

    async def over() -> bool:
        states = await control.cameras()
        return not any(states[camera]["faults"] for camera in estate.FAULTY)

    await until(over, "all faults are over", seconds=180)
    cleared_us = WALL.now_us()
    back = [camera for camera, fault in estate.FAULTY.items() if fault not in LOCKED_OUT]
    settled_us = await stored_until(vigie, back, since_us, cleared_us + 2_000_000, seconds=180)
    settled_us |= {f"cam-{fault.value}": cleared_us for fault in LOCKED_OUT}
    return Misbehaviour(before_us, begun_us, cleared_us, settled_us)
