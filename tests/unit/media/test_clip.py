"""Clips show exactly the window, with the pictures of the recording at their true times."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffmpeg_reading import complaints
from long_forms import examples
from unit.media.encoded import AccessUnit, encode
from unit.media.recorded import (
    START_US,
    Segment,
    gops_of,
    libav_sees,
    plan_bytes,
    record,
)
from vigie.media.bmff.clip import plan_clips
from vigie.media.bmff.package import plan_package, whole_fragments
from vigie.media.bmff.plan import MediaGap, MediaPlan
from vigie.media.bmff.reader import read_fragments, read_header, read_mfra
from vigie.media.codec import VideoCodec
from vigie.media.errors import MediaError, MediaReason

H264, H265 = VideoCodec.H264, VideoCodec.H265
CODECS = pytest.mark.parametrize("codec", [H264, H265])
STRUCTURES: tuple[dict[str, Any], ...] = ({}, {"b_frames": 2}, {"b_frames": 2, "open_gop": True})
FRAME_US = 40_000


def one_clip(segments: list[Segment], from_us: int, to_us: int) -> MediaPlan[Segment]:
    (plan,) = plan_clips([segment.planned() for segment in segments], from_us, to_us)
    return plan


def shown(data: bytes, duration_ticks: int) -> list[tuple[int, str]]:
    """Frames that a player shows: what is on screen at time 0, then all before the end."""
    seen = libav_sees(data)
    frames = sorted(zip(seen.times, seen.hashes, strict=True))
    return [
        (at, picture)
        for (at, picture), after in zip(
            frames, [*(time for time, _ in frames[1:]), duration_ticks], strict=True
        )
        if after > 0 and at < duration_ticks
    ]


@CODECS
@pytest.mark.parametrize("options", STRUCTURES)
@pytest.mark.parametrize(
    ("first", "last"), [(0, 60), (0, 1), (7, 8), (14, 16), (15, 30), (29, 47), (44, 60), (13, 14)]
)
def test_the_window_is_met_to_the_millisecond(
    codec: VideoCodec, options: dict[str, Any], first: int, last: int, tmp_path: Path
) -> None:
    units = encode(codec, **options)
    segments = record(codec, units)
    from_us, to_us = START_US + first * FRAME_US + 3_000, START_US + last * FRAME_US - 5_000
    plan = one_clip(segments, from_us, to_us)
    data = plan_bytes(plan)
    assert complaints(data, tmp_path) == ""
    assert (plan.start_us, plan.end_us) == (from_us, to_us)
    assert plan.duration_ticks == (to_us - from_us) * 9 // 100
    assert read_header(data).presentation_duration == plan.duration_ticks
    truth = libav_sees(record(codec, units, gops_per_segment=9)[0].data)
    frames = shown(data, plan.duration_ticks)
    assert [picture for _, picture in frames] == truth.hashes[first:last]
    # The frame on screen at the start is shown from there on, the others at their true times.
    assert frames[0][0] == 0
    for index, (at, _) in enumerate(frames[1:], start=1):
        assert at == pytest.approx((index * FRAME_US - 3_000) * 0.09, abs=1)


@CODECS
def test_readers_see_the_length_of_the_window(codec: VideoCodec, tmp_path: Path) -> None:
    segments = record(codec, encode(codec, b_frames=2))
    plan = one_clip(segments, START_US + 700_000, START_US + 1_900_000)
    data = plan_bytes(plan)
    # Frames that are only decoded count for libav: a thousandth of a frame each before the
    # window, references of the last B-frames, at their true times, after it.
    assert 1_200_000 <= libav_sees(data).duration_us <= 1_201_000 + 2 * FRAME_US
    plan = one_clip(record(codec, encode(codec)), START_US + 700_000, START_US + 1_900_000)
    assert libav_sees(plan_bytes(plan)).duration_us == pytest.approx(1_200_000, abs=1_000)
    assert complaints(data, tmp_path) == ""
    assert len(read_mfra(data)) == len(read_fragments(data))


@given(
    codec=st.sampled_from([H264, H265]),
    structure=st.sampled_from(STRUCTURES),
    start=st.integers(0, 2_390_000),
    length=st.integers(1_000, 2_400_000),
    ppm=st.integers(-500, 500),
)
@settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_window_shows_the_frames_of_its_time(
    codec: VideoCodec, structure: dict[str, Any], start: int, length: int, ppm: int
) -> None:
    units = encode(codec, **structure)
    segments = record(codec, units, gops_per_segment=1, ppm=ppm)
    end_us = segments[-1].start_us + segments[-1].duration_us
    from_us = START_US + start
    to_us = min(from_us + length, end_us)
    plan = one_clip(segments, from_us, to_us)
    frames = shown(plan_bytes(plan), plan.duration_ticks)
    truth = libav_sees(record(codec, units, gops_per_segment=9)[0].data)
    times = [START_US + index * FRAME_US * (1_000_000 + ppm) // 1_000_000 for index in range(61)]
    expected = [
        truth.hashes[index]
        for index, (at, after) in enumerate(pairwise(times))
        if after - 20 > from_us and at + 20 < to_us
    ]
    # A frame that starts or ends within a tick of the window's edge may be on either side.
    found = [picture for _, picture in frames]
    assert "".join(expected) in "".join(found)
    assert len(found) <= len(expected) + 2
    for at, picture in frames:
        true = max(plan.start_us, times[truth.hashes.index(picture)])
        assert at == pytest.approx((true - plan.start_us) * 0.09, abs=2)


@pytest.mark.parametrize("before_us", [1, 66, 400])
def test_a_window_that_begins_just_before_a_frame_is_no_discontinuity(
    before_us: int, tmp_path: Path
) -> None:
    segments = record(H264, encode(H264))
    plan = one_clip(segments, START_US + 28 * FRAME_US - before_us, START_US + 40 * FRAME_US)
    assert complaints(plan_bytes(plan), tmp_path) == ""


def test_a_gap_keeps_true_times_and_is_listed(tmp_path: Path) -> None:
    units = encode(H264, b_frames=2)
    later = START_US + 10_000_000
    segments = record(H264, units[:30]) + record(H264, units[30:], start_us=later)
    plan = one_clip(segments, START_US + 500_000, later + 600_000)
    data = plan_bytes(plan)
    assert complaints(data, tmp_path) == ""
    assert plan.gaps == (MediaGap(START_US + 1_200_000, later),)
    assert plan.duration_ticks == 10_100_000 * 9 // 100
    seen = libav_sees(data)
    assert 10_100_000 <= seen.duration_us <= 10_101_000 + 2 * FRAME_US
    after = [time for time in seen.times if time > 9 * 90_000]
    assert after[0] == pytest.approx(9_500_000 * 0.09, abs=1)
    assert len(after) == 15
    durations = [sample for each in read_fragments(data) for sample in each.table.durations]
    assert max(durations) == pytest.approx((10_000_000 - 1_160_000) * 0.09, abs=2)


def test_a_gap_longer_than_a_sample_can_last_parts_the_files(tmp_path: Path) -> None:
    units = encode(H264, frames=30)
    later = START_US + 14 * 3_600_000_000
    segments = record(H264, units) + record(H264, units, start_us=later)
    planned = [segment.planned() for segment in segments]
    plans = plan_clips(planned, START_US + 400_000, later + 400_000)
    assert [(plan.start_us, plan.end_us) for plan in plans] == [
        (START_US + 400_000, START_US + 1_200_000),
        (later, later + 400_000),
    ]
    for plan in plans:
        assert complaints(plan_bytes(plan), tmp_path) == ""


def test_a_window_that_begins_or_ends_in_a_gap_is_cut_to_the_footage() -> None:
    segments = record(H264, encode(H264))
    plan = one_clip(segments, START_US - 5_000_000, START_US + 9_000_000)
    assert (plan.start_us, plan.end_us) == (START_US, START_US + 2_400_000)
    for window in ((0, 1), (START_US + 2_400_000, START_US + 3_000_000), (START_US, START_US)):
        with pytest.raises(MediaError) as caught:
            one_clip(segments, *window)
        assert caught.value.reason is MediaReason.EMPTY_WINDOW


def bare(units: tuple[AccessUnit, ...]) -> list[AccessUnit]:
    """As from cameras that give parameter sets in the session description only."""
    return [
        AccessUnit(unit.timestamp, tuple(nal for nal in unit.nals if nal[0] & 0x1F not in {7, 8}))
        for unit in units
    ]


@pytest.mark.parametrize("in_band", [True, False])
def test_other_parameters_of_the_same_size_get_their_own_sample_entry(
    tmp_path: Path, *, in_band: bool
) -> None:
    later = START_US + 1_200_000
    segments = []
    for start_us, b_frames in ((START_US, 0), (later, 2)):
        units = encode(H264, frames=30, b_frames=b_frames)
        parameters = gops_of(H264, units)[0].parameters
        chosen = units if in_band else bare(units)
        segments += record(H264, chosen, start_us=start_us, parameters=parameters)
    plan = one_clip(segments, START_US, later + 1_200_000)
    data = plan_bytes(plan)
    assert complaints(data, tmp_path) == ""
    header = read_header(data)
    assert len(header.parameters) == 2
    assert [fragment.description_index for fragment in read_fragments(data)] == [1, 1, 2, 2]
    truth = libav_sees(segments[0].data).hashes + libav_sees(segments[1].data).hashes
    assert libav_sees(data).hashes == truth


@pytest.mark.parametrize("other", [{"size": "640x360"}, {"codec": H265}])
def test_another_size_or_codec_begins_a_new_file(other: dict[str, Any], tmp_path: Path) -> None:
    codec = H265 if "codec" in other else H264
    size = str(other.get("size", "320x180"))
    later = START_US + 1_200_000
    segments = record(H264, encode(H264, frames=30))
    segments += record(codec, encode(codec, frames=30, size=size), start_us=later)
    planned = [segment.planned() for segment in reversed(segments)]
    plans = plan_clips(planned, START_US + 400_000, later + 400_000)
    assert [(plan.start_us, plan.end_us) for plan in plans] == [
        (START_US + 400_000, later),
        (later, later + 400_000),
    ]
    for plan in plans:
        assert complaints(plan_bytes(plan), tmp_path) == ""


@CODECS
@pytest.mark.parametrize("options", STRUCTURES)
def test_a_package_file_holds_the_fragments_as_recorded(
    codec: VideoCodec, options: dict[str, Any], tmp_path: Path
) -> None:
    units = encode(codec, **options)
    segments = [segment.planned() for segment in record(codec, units, gops_per_segment=1)]
    chosen = [
        reduced
        for segment in segments
        if (reduced := whole_fragments(segment, START_US + 700_000, START_US + 1_500_000))
    ]
    plan = plan_package(chosen)
    data = plan_bytes(plan)
    assert complaints(data, tmp_path) == ""
    header = read_header(data)
    assert header.parameters == chosen[0].header.parameters
    seen = libav_sees(data)
    # Leading pictures of an open GOP refer to what is not in the file.
    first = max(index for index, unit in enumerate(units[:18]) if unit.data == seen.packets[0])
    key = units[first].timestamp
    expected = [
        unit for unit in units[first:] if unit.timestamp >= key
    ][: len(seen.packets)]  # fmt: skip
    assert seen.packets == [unit.data for unit in expected]
    assert plan.start_us == START_US + key * 100 // 9 <= START_US + 700_000
    assert plan.end_us >= START_US + 1_500_000
    assert len(seen.times) == len(seen.packets)
    assert seen.times == [index * 3600 for index in range(len(seen.times))]
    assert seen.duration_us == pytest.approx(len(seen.times) * FRAME_US, abs=100)
    assert seen.duration_us == pytest.approx(plan.end_us - plan.start_us, abs=100)
    walls = [fragment.wall_us for fragment in read_fragments(data)]
    assert walls[0] == plan.start_us


def test_a_package_of_one_run_only() -> None:
    units = encode(H264)
    segments = [segment.planned() for segment in record(H264, units, gops_per_segment=1)]
    with pytest.raises(MediaError, match="is due"):
        plan_package([segments[0], segments[2]])
    other = record(H264, encode(H264, size="640x360"))[0].planned()
    with pytest.raises(MediaError, match="other parameters"):
        plan_package([segments[0], other])
    with pytest.raises(MediaError):
        plan_package([])


def test_wall_and_media_time_agree_in_both_directions() -> None:
    segment = record(H264, encode(H264), ppm=400)[1].planned()
    mapping = segment.mapping
    assert mapping.wall_us(mapping.media_start) == segment.start_us
    assert mapping.wall_us(mapping.media_start + mapping.media_duration) == segment.end_us
    for ticks in range(mapping.media_start, mapping.media_start + mapping.media_duration, 777):
        assert abs(mapping.media_time(mapping.wall_us(ticks)) - ticks) <= 1


def test_units_are_what_the_test_thinks() -> None:
    units: tuple[AccessUnit, ...] = encode(H264, b_frames=2)
    assert sorted(unit.timestamp for unit in units) == [index * 3600 for index in range(60)]
