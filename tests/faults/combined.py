"""Several faults of a camera together: what was drawn, what came of it, whether that is right."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from e2e import estate, proof
from e2e.callers import GAP, SPAN, Entry, Played, play, stored_until, timeline
from e2e.harness import WALL, Installation, until
from faults import misdeeds
from faults.misdeeds import Misdeed
from vigie.simcam import FAULTS, CameraConfig, Credentials, Fault, FootageSpec
from vigie.simcam.client import ControlClient

LOGIN: Final = Credentials(username="vigie", password=estate.PASSWORD)
_SMALL: Final = FootageSpec(width=192, height=96, frame_count=50, bitrate_bps=120_000)
_SMALL_B: Final = _SMALL.model_copy(update={"b_frames": 2, "preset": "veryfast"})
_SMALL_H265: Final = _SMALL.model_copy(update={"codec": "h265"})
_FOOTAGE: Final = (_SMALL, _SMALL_B, _SMALL_H265)
_ENDS_FOR_SURE: Final = frozenset({
    Fault.UNREACHABLE, Fault.NOT_FOUND, Fault.UNAVAILABLE, Fault.DEMAND_AUTHENTICATION,
    Fault.CHANGE_PASSWORD,
})  # fmt: skip
"""Whatever else happens, footage is missing."""
_CONNECTS_ANEW: Final = frozenset(
    {fault for fault in FAULTS if FAULTS[fault].gap == "always"} | {Fault.REDIRECT}
)
_CONNECTING: Final = frozenset({"CLOSED_BY_CAMERA", "CAMERA_SILENT"})
"""Causes for the moment of connecting again, when what ended a session is met by another fault."""
_UNSEEN_LEAP_US: Final = 1_000_000
"""What a camera's clock leaps by less is taken for delay (docs/design/time.md, Jumps)."""
_TOLERANCE_US: Final = 300_000
"""Of the times of frames on a machine that has other things to do."""


@dataclass(frozen=True, slots=True)
class Ordeal:
    """What one camera went through in one round; times are microseconds of the wall clock."""

    camera: str
    misdeeds: tuple[Misdeed, ...]
    begun_us: int
    cleared_us: int
    settled_us: int

    @property
    def faults(self) -> frozenset[Fault]:
        """Which faults met."""
        return frozenset(misdeed.fault for misdeed in self.misdeeds)

    def __str__(self) -> str:
        return f"{self.camera}: {', '.join(map(str, self.misdeeds))}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the product made of an ordeal."""

    ordeal: Ordeal
    entries: Sequence[Entry]
    played: Played

    @property
    def gaps(self) -> list[Entry]:
        """What is missing."""
        return [entry for entry in self.entries if entry.kind == GAP]

    @property
    def missing_seconds(self) -> float:
        """How much."""
        return sum(gap.end_us - gap.start_us for gap in self.gaps) / 1e6


def simulated(faulty: int, neighbours: int) -> tuple[CameraConfig, ...]:
    """Small cameras of several kinds; half of the faulty ones ask for a password."""
    bad = [
        CameraConfig(
            id=f"cam-bad-{index}",
            footage=_FOOTAGE[index % len(_FOOTAGE)],
            credentials=LOGIN if index % 2 else None,
            session_timeout_seconds=4 if index % 2 else 60,
        )
        for index in range(faulty)
    ]
    good = [
        CameraConfig(id=f"cam-good-{index}", footage=_FOOTAGE[index % len(_FOOTAGE)])
        for index in range(neighbours)
    ]
    return (*bad, *good)


def drawn(chance: random.Random, cameras: Sequence[CameraConfig]) -> dict[str, tuple[Misdeed, ...]]:
    """Two or three faults for every camera, none of which it could not do."""
    found = {}
    for camera in cameras:
        possible = [
            fault
            for fault in FAULTS
            if camera.credentials is not None or fault not in misdeeds.NEEDS_A_PASSWORD
        ]
        found[camera.id] = misdeeds.combination(chance, possible, chance.choice([2, 2, 3]))
    return found


async def go_through(
    vigie: Installation,
    control: ControlClient,
    plan: Mapping[str, tuple[Misdeed, ...]],
    since_us: int,
) -> list[Ordeal]:
    """Let it all happen, on all cameras at the same time; returns when all are recorded again."""
    before = await stored_until(vigie, plan, since_us, since_us + 1, seconds=120)

    async def misbehave(camera: str) -> None:
        for misdeed in plan[camera]:
            await asyncio.sleep(misdeed.after)
            await misdeeds.inject(control, camera, misdeed)

    await asyncio.gather(*(misbehave(camera) for camera in plan))

    async def over() -> bool:
        states = await control.cameras()
        return not any(states[camera]["faults"] for camera in plan)

    await until(over, "all faults are over", seconds=120)
    cleared_us = WALL.now_us()
    settled = await stored_until(vigie, plan, since_us, cleared_us + 1_500_000, seconds=180)
    return [
        Ordeal(camera, plan[camera], before[camera], cleared_us, settled[camera]) for camera in plan
    ]


async def outcome(vigie: Installation, ordeal: Ordeal) -> Outcome:
    """What is listed and played of the time of an ordeal."""
    entries = await timeline(vigie, ordeal.camera, ordeal.begun_us, ordeal.settled_us)
    played = await play(vigie, ordeal.camera, ordeal.begun_us, ordeal.settled_us)
    return Outcome(ordeal, entries, played)


def assert_right_cause(found: Outcome) -> None:
    """A gap bears a cause of one of the faults; none where none may be; recorded again after."""
    faults, gaps = found.ordeal.faults, found.gaps
    assert {entry.kind for entry in found.entries} <= {SPAN, GAP}, found.entries
    allowed = misdeeds.causes(faults)
    if faults & _CONNECTS_ANEW and len(faults) > 1:
        allowed |= _CONNECTING
    assert {gap.cause for gap in gaps} <= allowed, gaps
    if all(FAULTS[fault].gap == "never" for fault in faults):
        assert not gaps
    if faults & _ENDS_FOR_SURE:
        assert gaps
    assert found.entries[-1].kind == SPAN, found.entries[-1]


async def assert_as_sent(found: Outcome, control: ControlClient) -> int:
    """Every frame is as it was sent, once, in order, in its time; those sent but not there lie in
    a gap. Returns how many frames there are."""
    camera = found.ordeal.camera
    frames = proof.timed_of_play(found.played.fragments)
    numbers = [each.frame.mark.decode_number for each in frames]
    assert numbers
    assert len(numbers) == len(set(numbers)), "a frame is there twice"
    sent = await proof.expected_frames(control, camera, numbers[0], max(numbers))
    for each in frames:
        told = sent[each.frame.mark.decode_number]
        assert each.frame.media_sha256 == told["media_sha256"], told
        assert each.frame.is_key == told["is_key"], told
    # The run under way bears what an earlier round did to it, and loses it at 500 ppm only.
    inherited_us = abs(frames[0].error_us)
    assert inherited_us <= _UNSEEN_LEAP_US + _TOLERANCE_US, frames[0].frame.mark
    allowed_us = _TOLERANCE_US + inherited_us + _held_back_us(found.ordeal.misdeeds)
    worst = max(frames, key=lambda each: abs(each.error_us))
    assert abs(worst.error_us) <= allowed_us, (worst.error_us, worst.frame.mark)
    spans = (await control.sent(camera))["spans"]
    left = {number for span in spans for number in range(span["first"], span["last"] + 1)}
    lost = {number for number in left if numbers[0] < number < numbers[-1]} - set(numbers)
    gaps = [(gap.start_us - allowed_us, gap.end_us + allowed_us) for gap in found.gaps]
    # A loss shorter than the error of the times on either side may leave two runs that touch.
    ends = [(e.end_us - allowed_us, e.end_us + allowed_us) for e in found.entries if e.kind == SPAN]
    gaps += ends[:-1]
    for number in lost:
        at_us = sent[number]["capture_us"]
        assert any(start_us <= at_us <= end_us for start_us, end_us in gaps), (number, at_us, gaps)
    return len(numbers)


def _held_back_us(done: Sequence[Misdeed]) -> int:
    """How late frames may seem because the camera sent them late, or its clock leapt a little."""
    held_us = 0
    for misdeed in done:
        if misdeed.fault in (Fault.BURSTS, Fault.SLOW_CAMERA):
            held_us += misdeed.parameters.milliseconds * 1000
        elif misdeed.fault in (Fault.CLOCK_JUMP, Fault.TIMESTAMP_DISCONTINUITY):
            leap_us = abs(round(misdeed.parameters.seconds * 1e6))
            held_us += leap_us if leap_us < _UNSEEN_LEAP_US else 0
    return held_us
