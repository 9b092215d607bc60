"""Durations are exact and decode times rise, whatever the order of the frames."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.media.encoded import FRAME_TICKS, encode
from unit.media.recorded import gops_of
from vigie.media.codec import VideoCodec
from vigie.media.gop import Gop
from vigie.media.timing import RunTimeline

H264 = VideoCodec.H264


def gop(timestamps: list[int], end: int | None) -> Gop:
    parameters = gops_of(H264, encode(H264, frames=15))[0].parameters
    count = len(timestamps)
    return Gop(
        H264, parameters, starts_run=True, timestamps=timestamps, frames=[b"."] * count,
        sync=bytearray([1] + [0] * (count - 1)), size_bytes=count, end_timestamp=end,
    )  # fmt: skip


@pytest.mark.parametrize("codec", list(VideoCodec))
@pytest.mark.parametrize("options", [{}, {"b_frames": 2}, {"b_frames": 3, "open_gop": True}])
def test_real_streams_are_placed_without_holes(codec: VideoCodec, options: dict[str, Any]) -> None:
    units = encode(codec, **options)
    gops = gops_of(codec, units)
    timeline = RunTimeline()
    shown = []
    expected = 0
    for each in gops:
        timed = timeline.append(each)
        assert timed.base_decode_time == expected
        assert timed.table.durations == [FRAME_TICKS] * len(each)
        assert min(timed.table.composition_offsets) >= 0
        time = timed.base_decode_time
        for duration, offset in zip(*timed.table[0::2], strict=True):
            shown.append(time + offset - timeline.presentation_delay)
            time += duration
        expected = timed.end_decode_time
    assert shown == [unit.timestamp - units[0].timestamp for unit in units]
    assert expected == len(units) * FRAME_TICKS
    assert (timeline.presentation_delay > 0) == bool(options)


@given(
    gaps=st.lists(st.integers(1, 90_000), min_size=2, max_size=80),
    swaps=st.lists(st.integers(0, 78), max_size=30),
    cuts=st.sets(st.integers(1, 79), max_size=5),
)
@settings(deadline=None)
def test_sums_telescope_for_any_rate_and_order(
    gaps: list[int], swaps: list[int], cuts: set[int]
) -> None:
    times = [sum(gaps[:index]) for index in range(len(gaps))]
    bounds = [0, *sorted(cut for cut in cuts if cut < len(times)), len(times)]
    groups = [times[a:b] for a, b in itertools.pairwise(bounds)]
    timeline = RunTimeline()
    position = 0
    for index, group in enumerate(groups):
        order = list(group)
        for swap in swaps:
            at = 1 + swap % max(1, len(order) - 1)
            if at + 1 < len(order):
                order[at], order[at + 1] = order[at + 1], order[at]
        end = groups[index + 1][0] if index + 1 < len(groups) else None
        timed = timeline.append(gop(order, end))
        assert timed.base_decode_time == position
        assert min(timed.table.durations) > 0
        position = timed.end_decode_time
        if end is not None:
            assert position == end
        decode = timed.base_decode_time
        for timestamp, duration, offset in zip(order, *timed.table[0::2], strict=True):
            assert decode + offset - timeline.presentation_delay == timestamp
            decode += duration


def test_frames_with_one_timestamp_still_follow_each_other() -> None:
    timed = RunTimeline().append(gop([0, 3600, 3600, 7200], 10_800))
    assert timed.table.durations == [3600, 1, 3599, 3600]


def test_intervals_that_interleave_do_not_go_back() -> None:
    timeline = RunTimeline()
    first = timeline.append(gop([0, 10_800, 3600], 7200))
    second = timeline.append(gop([14_400, 7200, 18_000], None))
    assert first.end_decode_time == second.base_decode_time == 10_801
    assert min(second.table.durations) > 0


def test_the_last_frame_of_a_run_lasts_like_the_one_before() -> None:
    assert RunTimeline().append(gop([0, 3000, 7000], None)).table.durations == [3000, 4000, 4000]
    timeline = RunTimeline()
    timeline.append(gop([0, 1000], 2000))
    assert timeline.append(gop([2000], None)).table.durations == [1000]
    # Alone, it lasts as its parameter sets say.
    assert RunTimeline().append(gop([50], None)).table.durations == [3600]
