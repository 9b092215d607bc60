"""The whole process is stopped for a while, as with its machine, and goes on."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from e2e.harness import WALL
from faults.conftest import LONG
from faults.endurance import KEY_INTERVAL_US, Broken, recording, simulator_of
from faults.ledger import Entry, Ledger
from vigie.simcam import CameraConfig, FootageSpec

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

_SMALL: Final = FootageSpec(width=192, height=96, frame_count=50, bitrate_bps=120_000)
_LARGE: Final = FootageSpec(width=640, height=360, frame_count=50, bitrate_bps=4_000_000)
CAMERAS: Final = (
    CameraConfig(id="cam-small", footage=_SMALL),  # all that was sent waits in the sockets
    CameraConfig(id="cam-large", footage=_LARGE),  # the sockets are full after some seconds
)
NAMES: Final = tuple(camera.id for camera in CAMERAS)
STOPPED_SECONDS: Final = (7.0, 12.0, 25.0, 90.0) if LONG else (7.0, 12.0)
"""Longer than a session bears (5 s), and longer than the time model takes for late (10 s)."""
AFTERWARDS_US: Final = 2_000_000
AGAIN_SECONDS: Final = 10.0
"""What connecting anew and waiting for a key frame may take on a busy machine; else some two."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stopped(
    tmp_path_factory: pytest.TempPathFactory, simulated_footage: Path
) -> AsyncIterator[Broken]:
    folder = tmp_path_factory.mktemp("stall")
    async with (
        simulator_of(CAMERAS, folder / "cameras", simulated_footage) as simulator,
        recording(simulator, folder / "vigie", NAMES) as broken,
    ):
        yield broken


@pytest.mark.parametrize("seconds", STOPPED_SECONDS)
async def test_a_process_that_was_stopped_records_nothing_at_wrong_times(
    seconds: float, stopped: Broken, ledger: Ledger
) -> None:
    [process_id] = stopped.vigie.process_ids()
    await stopped.stored_to(WALL.now_us())
    start_us = WALL.now_us() - 2 * KEY_INTERVAL_US
    os.kill(process_id, signal.SIGSTOP)
    stopped_us = WALL.now_us()
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(process_id, signal.SIGCONT)
    woken_us = WALL.now_us()
    end_us = await stopped.stored_to(woken_us + AFTERWARDS_US)
    recovery_seconds = (WALL.now_us() - woken_us) / 1e6
    # Every frame that is played is proved to be shown at the time at which it was filmed.
    accounts = await stopped.account(max(start_us, stopped.begun_us), end_us)
    for camera, each in accounts.items():
        # A busy machine may starve the process once more.
        assert each.causes == {"INGEST_DOWN"}, (camera, each.gaps)
        assert all(gap.detail.startswith("nothing was read for ") for gap in each.gaps), each.gaps
        gap = next(gap for gap in each.gaps if gap.start_us < woken_us <= gap.end_us)
        assert gap.start_us <= stopped_us + KEY_INTERVAL_US, (camera, gap)
        assert gap.end_us - woken_us <= AGAIN_SECONDS * 1e6, (camera, gap)
    assert not list((stopped.vigie.spool / "quarantine").iterdir())
    assert not await stopped.not_ready()
    ledger.note(
        Entry(
            "load",
            f"the process is stopped for {seconds:.0f} s (SIGSTOP), and goes on",
            "gaps INGEST_DOWN that say why, until the cameras are connected anew; every frame"
            " beside them has its true time",
            seen=f"{sum(each.frames for each in accounts.values())} frames of {len(NAMES)} cameras"
            " proved",
            missing_seconds=max(each.missing_seconds for each in accounts.values()),
            recovery_seconds=recovery_seconds,
        )
    )


async def test_the_checker_finds_nothing_after_the_stops(stopped: Broken) -> None:
    codes = await stopped.vigie.stop(seconds=120)
    assert set(codes.values()) == {0}, stopped.vigie.log_tail()
    outcome = await stopped.vigie.fsck(seconds=180)
    assert outcome.code == 0, outcome
