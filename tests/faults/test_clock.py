"""The wall clock is set while the product records: both runs are there, and both can be played."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from e2e import estate, proof
from e2e.callers import GAP, SPAN, Entry, clip, play, recorded_from, timelines
from e2e.harness import WALL, until
from faults.clocks import ShiftedInstallation
from faults.endurance import simulator_of
from faults.ledger import Entry as Told
from faults.ledger import Ledger
from vigie.simcam.client import SimCamProcess

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

CAMERAS: Final = ("cam-h264", "cam-h265-b")
HOUR_US: Final = 3_600_000_000
STRETCH_US: Final = 2_500_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was recorded while the clock was wrong by `offset_us`: true instants, microseconds."""

    offset_us: int
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Set:
    """A product whose clock was set forward and back, and the stretches in between."""

    vigie: ShiftedInstallation
    simulator: SimCamProcess
    before: Stretch
    ahead: Stretch
    after: Stretch
    recovery_seconds: float

    @property
    def until_us(self) -> int:
        """Behind all footage, by the clock that was ahead."""
        return self.ahead.end_us + HOUR_US + STRETCH_US


async def _recorded(vigie: ShiftedInstallation, offset_us: int, begun_us: int) -> Stretch:
    """Set the clock, wait until a stretch of every camera is stored under it."""
    if offset_us != vigie.wall.now_us() - WALL.now_us():
        await vigie.set_clock(offset_us)
    set_us = WALL.now_us()
    wanted_us = set_us + offset_us + STRETCH_US

    async def stored() -> bool:
        told = await timelines(vigie, CAMERAS, begun_us, wanted_us + 60_000_000)
        return all(_covers(entries, wanted_us) for entries in told.values())

    await until(stored, "footage is stored by the clock as it was set", seconds=60)
    return Stretch(offset_us, set_us, WALL.now_us())


def _covers(entries: list[Entry], instant_us: int) -> bool:
    return any(e.kind == SPAN and e.start_us <= instant_us < e.end_us for e in entries)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clock_set(
    tmp_path_factory: pytest.TempPathFactory, simulated_footage: Path
) -> AsyncIterator[Set]:
    """Recorded for a while, set forward by an hour, set back by an hour."""
    folder = tmp_path_factory.mktemp("clock")
    cameras = tuple(estate.HEALTHY[camera] for camera in CAMERAS)
    vigie = ShiftedInstallation(folder / "vigie")
    async with simulator_of(cameras, folder / "cameras", simulated_footage) as simulator:
        await vigie.start()
        try:
            begun_us = WALL.now_us()
            await estate.register(vigie, simulator.urls, CAMERAS)
            before = await _recorded(vigie, 0, begun_us)
            first_us = await recorded_from(vigie, CAMERAS, begun_us)
            before = replace(before, start_us=first_us)
            ahead = await _recorded(vigie, HOUR_US, begun_us)
            set_back_us = WALL.now_us()
            after = await _recorded(vigie, 0, begun_us)
            seconds = (after.end_us - set_back_us) / 1e6
            yield Set(vigie, simulator, before, ahead, after, seconds)
        finally:
            await vigie.stop(seconds=120)


async def _frames(was: Set, camera: str, start_us: int, end_us: int) -> list[proof.Timed]:
    played = await play(was.vigie, camera, start_us, end_us)
    return proof.timed_of_play(played.fragments)


@pytest.mark.timeout(240)
async def test_the_clock_set_by_an_hour_costs_no_frame(clock_set: Set, ledger: Ledger) -> None:
    """Both runs play, each at the times its clock gave; together they have every frame."""
    was = clock_set
    for camera in CAMERAS:
        now = await _frames(was, camera, was.before.start_us, was.after.end_us)
        then = await _frames(was, camera, was.ahead.start_us + HOUR_US, was.until_us)
        true_us = {0: now, HOUR_US: then}
        for offset_us, found in true_us.items():
            worst = max(abs(each.error_us - offset_us) for each in found)
            assert worst <= proof.TOLERANCE_US, (camera, offset_us, worst)
        numbers = sorted(each.frame.mark.decode_number for each in (*now, *then))
        assert not proof.breaks(numbers), "no frame is missing, none is there twice"
        sent = await proof.expected_frames(was.simulator.control, camera, numbers[0], numbers[-1])
        for each in (*now, *then):
            assert each.frame.media_sha256 == sent[each.frame.mark.decode_number]["media_sha256"]
    ledger.note(
        Told(
            "clock",
            "the wall clock is set forward by an hour, and back by an hour",
            "each time a run ends and the next begins with the next key frame, cause CLOCK_JUMP;"
            " both runs play at the times their clock gave; not a frame is lost or doubled",
            seen=f"{len(CAMERAS)} cameras, every frame proved",
            missing_seconds=0.0,
            recovery_seconds=was.recovery_seconds,
        )
    )


async def test_the_timeline_names_the_jump_and_nothing_else(clock_set: Set) -> None:
    was = clock_set
    told = await timelines(was.vigie, CAMERAS, was.before.start_us, was.until_us)
    for camera, entries in told.items():
        causes = {entry.cause for entry in entries if entry.kind == GAP}
        assert causes == {"CLOCK_JUMP"}, (camera, entries)
        runs = {entry.run for entry in entries if entry.kind == SPAN}
        assert len(runs) == 3, (camera, entries)


async def test_a_clip_over_the_jump_holds_both_runs(clock_set: Set) -> None:
    was = clock_set
    camera = CAMERAS[0]
    files = await clip(was.vigie, camera, was.before.start_us, was.until_us)
    numbers = sorted(
        frame.mark.decode_number for file in files for frame in proof.frames_of_file(file.data)
    )
    assert not proof.breaks(numbers)


async def test_the_product_is_well_and_the_checker_finds_nothing(clock_set: Set) -> None:
    """Contexts still reach each other, access is recorded; times stored before are as they were."""
    was = clock_set
    codes = await was.vigie.stop(seconds=120)
    assert set(codes.values()) == {0}, was.vigie.log_tail()
    outcome = await was.vigie.fsck(seconds=180)
    assert outcome.code == 0, outcome
