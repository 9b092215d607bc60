"""What the recorder promises of the objects it makes."""

import hashlib
from itertools import pairwise
from pathlib import Path

import av
import pytest

from ingest_support import (
    ENCODERS,
    START_US,
    Told,
    camera_recorder,
    footage,
    frames_of,
    recorder_tools,
)
from vigie.ingest.engine import TIMESCALE, SenderReport
from vigie.media.bmff.reader import read_fragments, read_header, read_mfra


def record(root: Path, kind: str, groups: int, **options: int) -> tuple[Told, list[bytes]]:
    tools, told, film = recorder_tools(root), Told(), footage(kind)
    recorder = camera_recorder(tools, told, **options)
    for index in range(groups):
        recorder.group(film.parameters, film.group(index, last=index == groups - 1))
    recorder.ended("CLOSED_BY_CAMERA", "end of the test", START_US)
    directory = tools.layout.run("cam-test-01", told.runs[0].run)
    return told, [directory.media(segment.number).read_bytes() for segment in told.segments]


def joined(objects: list[bytes]) -> bytes:
    """One header, then the fragments of all segments of the span (annex, "Spans")."""
    whole = [objects[0][: read_header(objects[0]).size_bytes]]
    for data in objects:
        fragments = read_fragments(data)
        whole.append(data[fragments[0].offset : fragments[-1].end])
    return b"".join(whole)


@pytest.mark.parametrize("kind", ENCODERS)
def test_samples_are_stored_as_received(tmp_path: Path, kind: str) -> None:
    told, objects = record(tmp_path, kind, 8)

    assert [frame for data in objects for frame in frames_of(data)] == footage(kind).frames(
        range(8)
    )
    for segment, data in zip(told.segments, objects, strict=True):
        assert hashlib.sha256(data).hexdigest() == segment.sha256
        assert len(data) == segment.size_bytes


@pytest.mark.parametrize("kind", ENCODERS)
def test_libav_reads_every_object_without_a_warning(tmp_path: Path, kind: str) -> None:
    _, objects = record(tmp_path, kind, 8)
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as complaints:
            for number, data in enumerate([*objects, joined(objects)]):
                path = tmp_path / f"{number}.m4v"
                path.write_bytes(data)
                with av.open(str(path)) as container:
                    frames = sum(1 for _ in container.decode(video=0))
                assert frames > 0
        assert complaints == []
    finally:
        av.logging.set_level(None)


def test_segments_are_cut_at_the_key_frame_nearest_to_the_length(tmp_path: Path) -> None:
    told, _ = record(tmp_path, "h264", 8, segment_seconds=3)

    assert [segment.number for segment in told.segments] == [0, 1, 2]
    assert [segment.media_duration_ticks for segment in told.segments] == [
        3 * TIMESCALE,
        3 * TIMESCALE,
        2 * TIMESCALE,
    ]


def test_segments_of_a_run_touch_in_wall_time_and_in_media_time(tmp_path: Path) -> None:
    told, objects = record(tmp_path, "h264-b", 8)

    for before, after in pairwise(told.segments):
        assert before.end_us == after.start_us
        assert before.media_start_ticks + before.media_duration_ticks == after.media_start_ticks
    decode_time = 0
    for data in objects:
        for fragment in read_fragments(data):
            assert fragment.base_decode_time == decode_time
            decode_time = fragment.end_decode_time
    assert told.ends[0].end_us == told.segments[-1].end_us
    assert told.ends[0].segment_count == len(told.segments)


def test_the_least_delayed_frame_fixes_the_start(tmp_path: Path) -> None:
    told, _ = record(tmp_path, "h264", 4)

    # Every frame arrived 20 ms after it was due.
    assert told.segments[0].start_us == START_US + 20_000
    assert "Vigie-StartUs" in told.segments[0].metadata


def test_keys_are_those_of_the_annex(tmp_path: Path) -> None:
    told, _ = record(tmp_path, "h264", 4)

    place = f"footage/cam-test-01/2026-09-21/{told.runs[0].run}/14"
    assert [segment.object_key for segment in told.segments] == [
        f"{place}/13-20.020000Z.0.m4v",
        f"{place}/13-23.020000Z.1.m4v",
    ]
    assert told.ends[0].object_key == f"{place}/13-24.020000Z.2.m4v_end"


def test_every_fragment_is_in_the_index_and_starts_with_a_key_frame(tmp_path: Path) -> None:
    _, objects = record(tmp_path, "h264", 8)

    for data in objects:
        fragments = read_fragments(data)
        assert [entry.moof_offset for entry in read_mfra(data)] == [
            fragment.moof_offset for fragment in fragments
        ]
        assert all(fragment.table.sync[0] for fragment in fragments)


def test_attributes_say_everything_that_the_index_needs(tmp_path: Path) -> None:
    told, objects = record(tmp_path, "h264", 3)
    segment, metadata = told.segments[0], told.segments[0].metadata

    assert metadata["Version"] == "1.0"
    assert metadata["Source"] == metadata["Vigie-Camera"] == "cam-test-01"
    assert metadata["Duration"] == "PT3S"
    assert metadata["FullContentType"].startswith('video/mp4; codecs="avc1.')
    assert metadata["Timescale"] == "90000"
    assert float(metadata["VideoFramerate"]) == 25.0
    assert int(metadata["Vigie-StartUs"]) == segment.start_us
    assert int(metadata["Vigie-DurationUs"]) == segment.duration_us
    assert metadata["Vigie-Run"] == told.runs[0].run
    header = objects[0][: read_header(objects[0]).size_bytes]
    assert metadata["Vigie-HeaderSha256"] == hashlib.sha256(header).hexdigest()
    assert all(value.isascii() for value in metadata.values())


def test_a_change_of_parameters_starts_a_run_that_touches_the_one_before(tmp_path: Path) -> None:
    tools, told = recorder_tools(tmp_path), Told()
    recorder = camera_recorder(tools, told)
    first, second = footage("h264"), footage("h264-b")

    for index in range(4):
        recorder.group(first.parameters, first.group(index))
    for index in range(4, 8):
        recorder.group(second.parameters, second.group(index, last=index == 7))
    recorder.ended("STOPPED", "", START_US)

    assert [end.reason for end in told.ends] == ["PARAMETERS_CHANGED", "STOPPED"]
    runs = [[s for s in told.segments if s.run == run.run] for run in told.runs]
    assert runs[0][-1].end_us == runs[1][0].start_us
    assert runs[1][0].number == 0
    assert runs[1][0].media_start_ticks == 0
    assert [cause for cause, _, _ in told.interruptions] == ["STOPPED"]


def test_lost_packets_end_the_run_and_name_the_gap(tmp_path: Path) -> None:
    tools, told, film = recorder_tools(tmp_path), Told(), footage()
    recorder = camera_recorder(tools, told)

    recorder.group(film.parameters, film.group(0, last=True))
    recorder.lost("PACKETS_LOST", "3 packets", START_US + 1_400_000)
    recorder.group(film.parameters, film.group(2))
    recorder.ended("STOPPED", "", START_US)

    assert told.interruptions[0] == ("PACKETS_LOST", "3 packets", told.segments[0].end_us)
    assert told.ends[0].reason == "OUTAGE"
    assert told.segments[1].start_us == START_US + 2_020_000
    assert told.segments[0].end_us == START_US + 1_020_000


def test_the_camera_clock_is_on_the_object(tmp_path: Path) -> None:
    tools, told, film = recorder_tools(tmp_path), Told(), footage()
    recorder = camera_recorder(tools, told)

    ahead_us = 3_000_000
    recorder.note_sender_report(SenderReport(START_US + 20_000 + ahead_us, 0, START_US + 20_000))
    for index in range(3):
        recorder.group(film.parameters, film.group(index))

    assert told.segments[0].camera_clock_offset_us == ahead_us
    assert told.segments[0].metadata["Vigie-CameraClockOffsetUs"] == str(ahead_us)
