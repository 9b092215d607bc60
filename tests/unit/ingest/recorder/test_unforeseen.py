"""What nobody foresees in a writer costs the group in hand, and never a hole in a run."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from ingest_support import (
    START_US,
    Installation,
    Told,
    camera_recorder,
    footage,
    frames_of,
    recorder_tools,
)
from vigie.ingest.recorder import segment
from vigie.ingest.spool import faults as points
from vigie.ingest.spool.faults import FAULT_POINTS
from vigie.ingest.spool.records import write_all
from vigie.platform.faultpoint import StrikingFaults, raise_errno

FILM = footage()
GROUPS = 8


class MemoryIsGone:
    """Writes, but breaks off in the middle of the write of a turn."""

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.turns = 0

    def __call__(self, descriptor: int, data: bytes) -> None:
        self.turns += 1
        if self.turns == self.turn:
            write_all(descriptor, data[: len(data) // 2])
            raise MemoryError
        write_all(descriptor, data)


async def test_what_breaks_off_in_mid_write_ends_the_run_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a store that takes the word of the writer, and links."""
    broken = MemoryIsGone(2)
    monkeypatch.setattr(segment, "write_all", broken)
    installation = await Installation(tmp_path).open(link_sources=True)
    intake = installation.intake()
    for index in range(GROUPS):
        intake.group(FILM.parameters, FILM.group(index))
    intake.ended("CLOSED_BY_CAMERA", "", 0)
    await installation.path.drain_writers(10)
    assert broken.turns > 2
    await installation.path.repair_damaged()
    assert await installation.path.uploader.drain(10)

    stored = sorted(await installation.stored(), key=lambda each: each.start_us)
    frames: list[bytes] = []
    for each in stored:
        content = await installation.content(each.object_key)
        assert hashlib.sha256(content).hexdigest() == each.sha256
        assert len(content) == each.size_bytes
        frames += frames_of(content)
    assert frames == FILM.frames([0, *range(2, GROUPS)])
    assert len({each.run for each in stored}) == 2, "a hole in the middle of a run"
    assert [cause for cause, _, _ in installation.told.interruptions] == [
        "INGEST_DOWN",
        "CLOSED_BY_CAMERA",
    ]
    assert installation.spool_files() == []
    assert installation.tools.quota.used_bytes == 0
    await installation.close()


def strike() -> None:
    raise RuntimeError("not foreseen")


@pytest.mark.parametrize(
    "point",
    [
        points.RUN_CREATE,
        points.SEGMENT_CREATE,
        points.FRAGMENT_WRITE,
        points.FRAGMENT_SYNC,
        points.SEGMENT_INDEX,
        points.SEGMENT_RECORD,
    ],
)
def test_an_error_at_any_step_of_a_group_is_a_gap_of_ours(tmp_path: Path, point: str) -> None:
    tools = recorder_tools(
        tmp_path, faults=StrikingFaults(point, strike, first=1, known=FAULT_POINTS)
    )
    told = Told()
    recorder = camera_recorder(tools, told, segment_seconds=2)
    for index in range(GROUPS):
        recorder.group(FILM.parameters, FILM.group(index))
    recorder.ended("CLOSED_BY_CAMERA", "", START_US)

    assert [cause for cause, _, _ in told.interruptions] == ["INGEST_DOWN", "CLOSED_BY_CAMERA"]
    assert len(told.damaged) == 1
    assert len(told.ends) == 1
    assert sum(each.sample_count for each in told.segments) >= 25 * (GROUPS - 2)


def test_a_run_that_cannot_be_ended_is_left_to_repair(tmp_path: Path) -> None:
    """Without that word nobody would look at it until the next start."""
    tools = recorder_tools(
        tmp_path, faults=StrikingFaults(points.RUN_END, strike, known=FAULT_POINTS)
    )
    told = Told()
    recorder = camera_recorder(tools, told)
    recorder.group(FILM.parameters, FILM.group(0, last=True))
    recorder.ended("CLOSED_BY_CAMERA", "", START_US)

    assert told.damaged == [("cam-test-01", told.runs[0].run)]
    assert [cause for cause, _, _ in told.interruptions] == ["CLOSED_BY_CAMERA"]


def test_a_run_whose_file_cannot_even_be_closed_is_left_to_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = segment.SegmentFile.close

    def refuse(file: segment.SegmentFile) -> None:
        close(file)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(segment.SegmentFile, "close", refuse)
    faults = StrikingFaults(
        points.FRAGMENT_WRITE, raise_errno(errno.EIO), first=2, known=FAULT_POINTS
    )
    told = Told()
    recorder = camera_recorder(recorder_tools(tmp_path, faults=faults), told)
    for index in range(2):
        recorder.group(FILM.parameters, FILM.group(index))

    assert told.damaged == [("cam-test-01", told.runs[0].run)]
    assert [cause for cause, _, _ in told.interruptions] == ["STORE_REFUSED"]


def test_a_file_that_cannot_be_closed_keeps_no_other_open_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = StrikingFaults(
        points.FRAGMENT_SUM, raise_errno(errno.EIO), first=2, known=FAULT_POINTS
    )
    tools, told = recorder_tools(tmp_path, faults=faults), Told()
    recorder = camera_recorder(tools, told)
    recorder.group(FILM.parameters, FILM.group(0))
    closed: list[int] = []

    def refuse(descriptor: int) -> None:
        close(descriptor)
        closed.append(descriptor)
        if len(closed) == 1:
            raise OSError(errno.EIO, "Input/output error")

    close = os.close
    with monkeypatch.context() as patch:
        patch.setattr(segment.os, "close", refuse)
        recorder.group(FILM.parameters, FILM.group(1))

    assert told.damaged == [("cam-test-01", told.runs[0].run)]
    assert len(closed) == 2
    assert tools.quota.used_bytes == tools.layout.media_bytes()
