"""Everything breaks at every step, once; nothing is lost that was durable, nothing is doubled."""

import asyncio
import errno
from itertools import pairwise
from pathlib import Path

import pytest

from ingest_support import Installation, eventually, footage, frames_of
from vigie.ingest.spool.faults import FAULT_POINTS, FRAGMENT_WRITE
from vigie.ingest.v1.events_pb2 import SegmentStored
from vigie.platform.faultpoint import CountingFaults, StrikingFaults, raise_errno

FILM = footage()
GROUPS = 8


class KilledError(BaseException):
    """Nobody catches it: what comes after it in the program does not happen."""


def deliver(installation: Installation, groups: range) -> None:
    intake = installation.intake()
    for index in groups:
        intake.group(FILM.parameters, FILM.group(index))
    intake.ended("CLOSED_BY_CAMERA", "", 0)


async def content_of(installation: Installation) -> tuple[list[SegmentStored], list[bytes]]:
    """Stored segments and all their frames; what is told is there, and verified."""
    stored = sorted(await installation.stored(), key=lambda segment: segment.start_us)
    frames: list[bytes] = []
    for segment in stored:
        info = await installation.store.stat(segment.object_key)
        assert info is not None
        assert info.sha256 == segment.sha256
        frames += frames_of(await installation.content(segment.object_key))
    return stored, frames


def assert_sound(stored: list[SegmentStored], events: int) -> None:
    """Invariant I7, and one end for every run."""
    runs: dict[str, list[SegmentStored]] = {}
    for segment in stored:
        runs.setdefault(segment.run, []).append(segment)
    for segments in runs.values():
        assert [segment.number for segment in segments] == list(range(len(segments)))
        for before, after in pairwise(segments):
            assert before.start_us + before.duration_us == after.start_us
            assert before.media_start_ticks + before.media_duration_ticks == after.media_start_ticks
    assert events == len(stored) + len(runs)


async def test_every_fault_point_is_reached(tmp_path: Path) -> None:
    faults = CountingFaults()
    installation = await Installation(tmp_path).open(faults=faults)
    deliver(installation, range(GROUPS))
    await installation.close()
    assert sorted(faults.reached) == sorted(FAULT_POINTS)


VISITS = [
    (point, visit)
    for point in FAULT_POINTS
    # Steps of a run happen once here, steps of a segment or a fragment several times.
    for visit in ([1] if ".run." in point or ".end." in point else [1, 2])
]


@pytest.mark.parametrize(("point", "visit"), VISITS)
async def test_a_process_that_dies_at_any_step_loses_at_most_one_interval(
    tmp_path: Path, point: str, visit: int
) -> None:
    first = Installation(tmp_path)

    def die() -> None:
        first.path.uploader._stopping = True
        raise KilledError

    faults = StrikingFaults(point, die, first=visit, known=FAULT_POINTS)
    await first.open(faults=faults)
    with pytest.MonkeyPatch.context() as patch:
        # The thread dies of it, as it should; pytest need not report that.
        patch.setattr("threading.excepthook", lambda _: None)
        deliver(first, range(GROUPS))
        await eventually(lambda: faults.strikes > 0 or first.path.pool.is_idle)
        await asyncio.sleep(0)
        await eventually(lambda: faults.strikes > 0 or not first.path.uploader._tasks)
        await first.crash()
    assert faults.strikes

    second = await Installation(tmp_path).open()
    assert await second.path.uploader.drain(10)
    stored, frames = await content_of(second)

    expected = FILM.frames(range(GROUPS))
    assert frames == expected[: len(frames)], "altered, doubled or reordered"
    # The thread died with the groups that were still queued behind it: they were in memory only.
    assert len(frames) % 25 == 0
    assert_sound(stored, len(await second.events()))
    assert second.spool_files() == []
    assert second.tools.quota.used_bytes == 0
    await second.close()


@pytest.mark.parametrize(
    ("point", "code"),
    [*((point, errno.EIO) for point in FAULT_POINTS), (FRAGMENT_WRITE, errno.ENOSPC)],
)
async def test_a_disk_that_refuses_once_costs_at_most_one_interval(
    tmp_path: Path, point: str, code: int
) -> None:
    faults = StrikingFaults(
        point,
        raise_errno(code),
        first=1 if ".run." in point or ".end." in point else 2,
        known=FAULT_POINTS,
    )
    installation = await Installation(tmp_path).open(faults=faults)
    deliver(installation, range(GROUPS))
    await installation.path.drain_writers(10)
    await installation.path.repair_damaged()
    assert await installation.path.uploader.drain(10)

    stored, frames = await content_of(installation)
    expected = [FILM.frames([index]) for index in range(GROUPS)]
    kept = [frames[start : start + 25] for start in range(0, len(frames), 25)]
    missing = [group for group in expected if group not in kept]
    assert len(missing) <= 1
    assert [group for group in expected if group in kept] == kept
    if missing:
        causes = {cause for cause, _, _ in installation.told.interruptions}
        assert causes & {"STORE_REFUSED", "SPOOL_FULL"}
    assert_sound(stored, len(await installation.events()))
    assert installation.spool_files() == []
    await installation.close()
