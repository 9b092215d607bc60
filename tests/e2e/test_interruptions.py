"""The product is killed, or told to stop: nothing is doubled, little is lost, all is accounted."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from e2e import estate, proof
from e2e.callers import GAP, SPAN, play, recorded_from, stored_until, timeline
from e2e.harness import WALL, Cameras, Deployment, Installation, until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
CAMERAS = ("cam-h264", "cam-h265-b", "cam-digest")
EVERY_CAMERA = pytest.mark.parametrize("camera", CAMERAS)
KEY_INTERVAL_US = 1_000_000
ON_ITS_WAY_US = 300_000
"""Between the camera and the disk: a tick of reception, and a busy machine."""


@dataclass(frozen=True, slots=True)
class Killed:
    """What happened, in microseconds since the Unix epoch."""

    vigie: Installation
    begun_us: int
    killed_us: int
    again_us: int
    settled_us: int


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def killed(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory, cameras: Cameras
) -> AsyncIterator[Killed]:
    """Killed without warning while recording, down for a while, and started again."""
    vigie = Installation(deployment, tmp_path_factory.mktemp("killed"), estate.PEOPLE)
    await vigie.start()
    try:
        asked_us = WALL.now_us()
        await estate.register(vigie, cameras.urls, CAMERAS)
        await stored_until(vigie, CAMERAS, asked_us, asked_us + 4_000_000)
        begun_us = await recorded_from(vigie, CAMERAS, asked_us)

        async def under_way() -> bool:
            return len(vigie.spooled()) >= len(CAMERAS)

        await until(under_way, "footage on its way to the store")
        killed_us = WALL.now_us()
        await vigie.kill()
        left = vigie.spooled()
        await vigie.start()
        again_us = WALL.now_us()
        ends = await stored_until(vigie, CAMERAS, asked_us, again_us + 3_000_000)
        settled_us = min(ends.values())

        async def replayed() -> bool:
            return not any(path.exists() for path in left)

        await until(replayed, "what was in the spool is stored")
        yield Killed(vigie, begun_us, killed_us, again_us, settled_us)
    finally:
        await vigie.remove()


@EVERY_CAMERA
async def test_a_kill_costs_a_key_frame_interval_and_the_time_it_was_down(
    camera: str, killed: Killed
) -> None:
    entries = await timeline(killed.vigie, camera, killed.begun_us, killed.settled_us)
    first, *gaps, last = entries
    assert (first.kind, last.kind) == (SPAN, SPAN)
    # Down, then connecting: two entries, each with its own detail.
    assert {(gap.kind, gap.cause) for gap in gaps} == {(GAP, "INGEST_DOWN")}, gaps
    assert first.end_us >= killed.killed_us - KEY_INTERVAL_US - ON_ITS_WAY_US
    assert last.start_us <= killed.again_us + 2 * KEY_INTERVAL_US


@EVERY_CAMERA
async def test_nothing_is_doubled_or_altered_by_a_kill(
    camera: str, killed: Killed, cameras: Cameras
) -> None:
    played = await play(killed.vigie, camera, killed.begun_us, killed.settled_us)
    found = proof.timed_of_play(played.fragments)
    numbers = [each.frame.mark.decode_number for each in found]
    assert len(proof.breaks(numbers)) == 1
    assert numbers == sorted(set(numbers))
    await proof.assert_as_sent(cameras.plain.control, camera, found)


@EVERY_CAMERA
async def test_what_is_stored_is_listed_and_nothing_else(camera: str, killed: Killed) -> None:
    """The bucket and the timeline agree after the kill; no object is there twice."""
    found: dict[int, str] = {}
    for key, data in killed.vigie.objects(f"footage/{camera}"):
        if not key.endswith(".m4v"):
            continue
        for frame in proof.frames_of_file(data):
            number = frame.mark.decode_number
            assert number not in found, (number, key, found[number])
            found[number] = key


async def test_sigterm_drains(killed: Killed) -> None:
    """Open segments are closed and stored, the spool is empty, the checker finds nothing."""
    vigie = killed.vigie
    told_us = WALL.now_us()
    codes = await vigie.stop()
    assert set(codes.values()) == {0}
    assert not vigie.spooled()
    for camera in CAMERAS:
        objects = [key for key, _ in vigie.objects(f"footage/{camera}")]
        ends = [key for key in objects if key.endswith(".m4v_end")]
        assert len(ends) == 2, "each run says where it ends"
        last = [data for key, data in vigie.objects(f"footage/{camera}") if key.endswith(".m4v")]
        newest_us = max(
            frame.mark.capture_us for data in last for frame in proof.frames_of_file(data)
        )
        assert newest_us >= told_us - 2 * proof.TOLERANCE_US - ON_ITS_WAY_US
    report = await vigie.fsck()
    assert report.code == 0, report


async def test_the_index_can_be_rebuilt_from_the_bucket(killed: Killed) -> None:
    """After the drain: the bucket alone says what is recorded."""
    vigie = killed.vigie
    outcome = await vigie.reindex()
    assert outcome.code == 0, outcome
    report = await vigie.fsck()
    assert report.code == 0, report
