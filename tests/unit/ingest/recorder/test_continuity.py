"""A group that does not begin where the one before ends is no part of its run."""

from dataclasses import replace
from pathlib import Path

import pytest

from ingest_support import (
    START_US,
    Told,
    camera_recorder,
    footage,
    recorder_tools,
)
from vigie.ingest.engine import TIMESCALE, FrameGroup
from vigie.ingest.recorder.camera import EARLY_TICKS
from vigie.ingest.recorder.media import ClearMediaWriter, Fragment
from vigie.media.bmff.reader import read_mfra

FILM = footage()
OTHER = footage("h264-b")
BASE_TICKS = 100 * TIMESCALE


def moved(group: FrameGroup, ticks: int) -> FrameGroup:
    """The same group, as a camera would send it whose time is another."""
    assert group.next_ticks is not None
    return replace(
        group,
        presentation_ticks=[each + ticks for each in group.presentation_ticks],
        next_ticks=group.next_ticks + ticks,
    )


@pytest.mark.parametrize("jump", [500_000_000, 1, -EARLY_TICKS - 1, -BASE_TICKS])
def test_other_times_begin_another_run(tmp_path: Path, jump: int) -> None:
    told = Told()
    recorder = camera_recorder(recorder_tools(tmp_path), told)
    for index in range(4):
        group = moved(FILM.group(index), BASE_TICKS + (jump if index >= 2 else 0))
        recorder.group(FILM.parameters, group)
    recorder.ended("CLOSED_BY_CAMERA", "", START_US)

    assert told.damaged == []
    assert len(told.runs) == 2
    cause, detail, at_us = told.interruptions[0]
    assert (cause, detail) == ("CLOCK_JUMP", "the frames do not begin where the ones before end")
    assert at_us == told.segments[0].end_us == START_US + 2_020_000
    assert [end.reason for end in told.ends] == ["CLOCK_JUMP", "OUTAGE"]
    assert [each.media_duration_ticks for each in told.segments] == [2 * TIMESCALE, 2 * TIMESCALE]
    assert sum(each.sample_count for each in told.segments) == 100


def test_other_parameters_do_not_hide_other_times(tmp_path: Path) -> None:
    """Else the new run would be placed where the one before ends, to the microsecond."""
    told = Told()
    recorder = camera_recorder(recorder_tools(tmp_path), told)
    recorder.group(FILM.parameters, FILM.group(0))
    recorder.group(OTHER.parameters, moved(OTHER.group(1), 5 * TIMESCALE))
    assert [cause for cause, _, _ in told.interruptions] == ["CLOCK_JUMP"]


def test_frames_that_step_back_are_followed(tmp_path: Path) -> None:
    """A frame of the group, not its key frame; the depacketiser lets them."""
    told = Told()
    recorder = camera_recorder(recorder_tools(tmp_path), told)
    for index in range(3):
        recorder.group(FILM.parameters, FILM.group(index))
    group = FILM.group(3)
    ticks = [*group.presentation_ticks]
    ticks[1] = ticks[0] - TIMESCALE // 2
    recorder.group(FILM.parameters, replace(group, presentation_ticks=ticks))
    assert told.interruptions == []
    assert len(told.runs) == 1


def test_the_index_holds_no_time_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be written, and the run not be closed."""
    made = ClearMediaWriter.fragment

    def early(self: ClearMediaWriter, group: FrameGroup, *, wall_us: int) -> Fragment:
        return replace(made(self, group, wall_us=wall_us), key_time=-7)

    monkeypatch.setattr(ClearMediaWriter, "fragment", early)
    told, tools = Told(), recorder_tools(tmp_path)
    recorder = camera_recorder(tools, told)
    recorder.group(FILM.parameters, FILM.group(0))
    recorder.ended("CLOSED_BY_CAMERA", "", START_US)
    assert told.damaged == []
    (record,) = told.segments
    content = tools.layout.run(record.camera, record.run).media(0).read_bytes()
    assert [entry.time for entry in read_mfra(content)] == [0]
