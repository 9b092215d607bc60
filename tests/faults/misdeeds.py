"""What a simulated camera is made to do wrong, drawn at random: one fault or several together."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vigie.simcam import FAULTS, Fault, FaultParameters
from vigie.simcam.client import ControlClient
from vigie.simcam.faults import PACKET_FAULTS

LASTING_SECONDS: Final = (0.5, 4.0)
SILENCE_SECONDS: Final = (5.5, 7.0)
"""Longer than the patience that the tests configure: a shorter pause is a pause."""
NEEDS_A_PASSWORD: Final = frozenset({Fault.STALE_NONCES})
"""These can only be done by a camera that asks for one."""


@dataclass(frozen=True, slots=True)
class Misdeed:
    """One fault with its quantities.

    Attributes:
        fault: which.
        parameters: its quantities.
        seconds: how long it lasts; None: it happens once.
        after: wait before it, from the one before.
    """

    fault: Fault
    parameters: FaultParameters
    seconds: float | None
    after: float = 0.0

    def __str__(self) -> str:
        lasting = "once" if self.seconds is None else f"{self.seconds:.1f} s"
        return f"+{self.after:.1f} s {self.fault.value} ({lasting})"


def draw(chance: random.Random, fault: Fault, *, after: float = 0.0) -> Misdeed:
    """Quantities of a fault, within what a camera really does."""
    lasts = not FAULTS[fault].is_momentary
    quantities: dict[str, Any] = {}
    if fault in PACKET_FAULTS:
        lasts = chance.random() < 0.5
        quantities = {"fraction": chance.uniform(0.01, 0.3)} if lasts else {}
        quantities |= {"count": chance.randint(1, 3)}
    elif fault is Fault.WRONG_SEQUENCE:
        quantities = {"count": chance.choice([1, 2, 1000, 40_000, 65_535])}
    elif fault in (Fault.GARBAGE_BYTES, Fault.GARBAGE_NALS):
        quantities = {"count": chance.choice([1, 4, 64, 3000])}
    elif fault in (Fault.CLOCK_JUMP, Fault.TIMESTAMP_DISCONTINUITY):
        quantities = {"seconds": chance.choice([-3600.0, -5.0, 0.5, 5.0, 3600.0])}
        quantities |= {"reports_only": chance.random() < 0.3}
    elif fault is Fault.CLOCK_DRIFT:
        quantities = {"ppm": chance.uniform(-300, 300)}
    elif fault is Fault.SLOW_START:
        quantities = {"seconds": chance.uniform(0.2, 2.5)}
    elif fault is Fault.BURSTS:
        quantities = {"milliseconds": chance.randint(100, 900)}
    elif fault is Fault.SLOW_CAMERA:
        quantities = {"milliseconds": chance.randint(10, 30)}
    is_silence = fault in (Fault.SILENT, Fault.SILENT_WITH_RTCP)
    length = chance.uniform(*(SILENCE_SECONDS if is_silence else LASTING_SECONDS))
    seconds = round(length, 2) if lasts else None
    return Misdeed(fault, FaultParameters(**quantities), seconds, after)


def combination(chance: random.Random, faults: Sequence[Fault], count: int) -> tuple[Misdeed, ...]:
    """``count`` different faults, at once or in quick succession."""
    chosen = chance.sample(list(faults), count)
    together = chance.random() < 0.5
    return tuple(
        draw(chance, fault, after=0.0 if together or not index else round(chance.random(), 2))
        for index, fault in enumerate(chosen)
    )


def causes(faults: Iterable[Fault]) -> set[str]:
    """What a timeline may say while these happen (names of ``GapCause``)."""
    return {cause for fault in faults for cause in FAULTS[fault].causes}


async def inject(control: ControlClient, camera: str, misdeed: Misdeed) -> None:
    """Let it happen now (``after`` is the caller's)."""
    await control.inject(
        camera, misdeed.fault, duration_seconds=misdeed.seconds, parameters=misdeed.parameters
    )
