"""Frames of one run are shown in the order in which they were taken, and none is missing between.

A clock that was set back, a loss among B-frames, cameras that do not mean what they declare.
"""

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from long_forms import examples
from unit.media.encoded import AccessUnit, Packetiser
from unit.media.received import finish, push_all
from unit.media.reordered import (
    BASE,
    FRAME,
    JUMP,
    NEEDED,
    SHAPES,
    assert_in_order_without_a_hole,
    frame,
    moved,
    reader,
    reasons,
    received,
    runs,
    sps,
    stream,
)
from vigie.media.codec import SequenceInfo, VideoCodec
from vigie.media.gop import DiscontinuityReason, Gop
from vigie.media.h264 import parse_sps
from vigie.media.reordering import most_overtaking
from vigie.media.timing import RunTimeline


def test_the_sets_of_these_tests_say_what_they_should() -> None:
    for reorder in (None, 0, 2):
        for timing in (False, True):
            info = parse_sps(sps(reorder, timing=timing)).info
            assert (info.width, info.height, info.reorder_frames) == (1920, 1088, reorder)
            assert (info.frame_duration is not None) == timing


# --- a clock that was set back -----------------------------------------------------------------


@pytest.mark.parametrize("back", [2, 2.5, 3, 10, 37.5, 49])
@pytest.mark.parametrize("at", [14, 25, 26, 61])
def test_a_clock_set_back_ends_the_run_of_a_stream_that_does_not_reorder(
    back: float, at: int
) -> None:
    units = stream("none", 4, 24, sps(0))
    items = received([*units[:at], *moved(units[at:], -round(back * FRAME))])
    assert reasons(items) == [JUMP]
    following = -(-at // 25) * 25
    assert runs(items) == [list(range(at)), list(range(following, 100))]


@pytest.mark.parametrize(("declared", "may"), [(sps(0), 0), (sps(2), 2), (sps(None), 4)])
@pytest.mark.parametrize("shape", ["none", "one", "two", "pyramid"])
def test_a_clock_set_back_by_more_than_may_be_reordered_ends_the_run(
    declared: bytes, may: int, shape: str
) -> None:
    units = stream(shape, 3, 12, declared)
    at = len(units) // 2
    items = received([*units[:at], *moved(units[at:], -20 * FRAME)])
    assert reasons(items) == [JUMP]
    assert_in_order_without_a_hole(items)
    assert len(runs(items)) == 2


@pytest.mark.parametrize("declared", [sps(2), sps(None), sps(None, level=62)])
@pytest.mark.parametrize("back", [2, 2.5, 3, 10])
def test_a_stream_that_shows_no_b_frames_is_not_thought_to_begin_with_them_so(
    declared: bytes, back: float
) -> None:
    units = stream("none", 4, 24, declared)
    items = received([*units[:60], *moved(units[60:], -round(back * FRAME))])
    assert reasons(items) == [JUMP]
    assert runs(items) == [list(range(60)), list(range(75, 100))]


@pytest.mark.parametrize("shape", ["one", "two", "pyramid", "eight"])
def test_declared_b_frames_may_begin_late_and_at_any_pace(shape: str) -> None:
    declared = sps(NEEDED[shape])
    units = [
        AccessUnit(BASE + (unit.timestamp - BASE) * 5, unit.nals)
        for unit in stream("none", 4, 24, declared)
    ]
    units += moved(stream(shape, 2, 6, declared), 500 * FRAME)
    items = received(units)
    assert reasons(items) == []
    assert sum(map(len, runs(items))) == len(units)
    last = [item for item in items if isinstance(item, Gop)][-1]
    assert (
        sorted(last.timestamps)
        == [unit.timestamp for unit in sorted(units, key=lambda unit: unit.timestamp)][-len(last) :]
    )


def test_a_clock_set_back_at_a_key_frame_loses_nothing_however_small_the_step() -> None:
    for declared in (sps(0), sps(2), sps(None)):
        units = stream("none", 3, 24, declared)
        items = received([*units[:50], *moved(units[50:], -2 * FRAME)])
        assert reasons(items) == [JUMP]
        assert runs(items) == [list(range(50)), list(range(50, 75))]


def test_a_clock_that_is_set_back_every_hour_ends_a_run_each_time() -> None:
    units = stream("none", 12, 24, sps(0))
    for number in range(1, 6):
        at = number * 50 + 10
        units[at:] = moved(units[at:], -25 * FRAME)
    items = received(units)
    assert reasons(items) == [JUMP] * 5
    assert_in_order_without_a_hole(items)


@given(
    shape=st.sampled_from(["none", "one", "two", "pyramid"]),
    declaration=st.sampled_from(["needed", "none", "unsaid"]),
    at=st.integers(30, 100),
    back=st.integers(12, 49),
)
@settings(max_examples=examples(60), deadline=None)
def test_no_run_shows_two_moments_in_turn(shape: str, declaration: str, at: int, back: int) -> None:
    declared = sps({"needed": NEEDED[shape], "none": 0, "unsaid": None}[declaration])
    units = stream(shape, 8, 5, declared)
    at = min(at, len(units) - 1)
    items = received([*units[:at], *moved(units[at:], -back * FRAME)])
    assert reasons(items) == [JUMP]
    assert_in_order_without_a_hole(items)


# --- jitter ------------------------------------------------------------------------------------


@given(
    declared=st.sampled_from([sps(0), sps(2), sps(None)]),
    jitter=st.lists(st.integers(-450, 0), min_size=100, max_size=100),
    pace=st.sampled_from([3600, 90]),
)
@settings(max_examples=examples(40), deadline=None)
def test_timestamps_that_step_back_a_little_end_no_run_and_change_no_order(
    declared: bytes, jitter: list[int], pace: int
) -> None:
    """At the pace of 90 ticks many frames come after one that was shown later by its timestamp."""
    units = [
        frame(number, number * pace + jitter[number], key=number % 25 == 0, declared=declared)
        for number in range(100)
    ]
    items = received(units)
    assert reasons(items) == []
    assert runs(items) == [list(range(100))]


@pytest.mark.parametrize("back", [1.05, 1.2, 1.45])
def test_a_step_back_behind_the_frame_before_is_no_run_of_its_own(back: float) -> None:
    units = stream("none", 4, 24, sps(0))
    items = received([*units[:40], *moved(units[40:], -round(back * FRAME))])
    assert reasons(items) == []
    assert runs(items) == [list(range(100))]


# --- cameras that do not mean what they declare ------------------------------------------------


@pytest.mark.parametrize("shape", ["one", "two", "pyramid", "eight"])
@pytest.mark.parametrize("declared", [sps(0), sps(0, timing=True), sps(1), sps(None, level=10)])
def test_undeclared_b_frames_lose_nothing(shape: str, declared: bytes) -> None:
    units = stream(shape, 6, 6, declared)
    items = received(units)
    assert reasons(items) == []
    assert runs(items) == [list(range(len(units)))]


def test_b_frames_that_begin_late_lose_nothing() -> None:
    units = stream("none", 4, 24, sps(0))
    units += [
        AccessUnit(unit.timestamp + 100 * FRAME, unit.nals)
        for unit in stream("pyramid", 2, 6, sps(0))
    ]
    items = received(units)
    assert reasons(items) == []
    assert sum(map(len, runs(items))) == len(units)


def test_an_order_that_nothing_explains_is_believed_after_two_runs() -> None:
    units = []
    for number in range(8):
        # Two frames ahead, then those before the first of them: no encoder that is known does so.
        places = [0, 3, 6, 1, 2, 4, 5, 7, 8, 9]
        units += [
            frame(10 * number + place, (10 * number + place) * FRAME, key=not place,
                  declared=sps(0))
            for place in places
        ]  # fmt: skip
    items = received(units)
    assert reasons(items) == [JUMP] * 2
    assert runs(items)[-1] == list(range(20, 80))


@pytest.mark.parametrize("late", [0.9, 1.4, 2.2])
@pytest.mark.parametrize("reorder", [0, 2, None])
def test_key_frames_that_are_stamped_late_lose_nothing(late: float, reorder: int | None) -> None:
    """The first of a run has nothing before it that could tell."""
    units = [
        frame(
            number,
            round((number + late * (number % 25 == 0)) * FRAME),
            key=number % 25 == 0,
            declared=sps(reorder),
        )
        for number in range(100)
    ]
    items = received(units)
    assert reasons(items) == []
    assert sorted(runs(items)[0]) == list(range(100))


@pytest.mark.parametrize("back", [5, 10, 30, 40])
def test_a_clock_set_back_behind_the_first_frame_of_a_run_is_no_late_key_frame(back: int) -> None:
    units = stream("none", 3, 24, sps(0))
    items = received([units[0], *moved(units[1:], -back * FRAME)])
    assert reasons(items) == [JUMP]
    assert runs(items) == [[0], list(range(25, 75))]


def test_what_follows_a_late_key_frame_goes_on_in_order() -> None:
    """A clock that is set back a little, twice, shows no two moments in turn."""
    units = stream("none", 3, 24, sps(0))
    units = [*units[:1], *moved(units[1:2], -2 * FRAME), *moved(units[2:], -4 * FRAME)]
    items = received(units)
    assert reasons(items) == [JUMP]
    assert_in_order_without_a_hole([item for item in items if isinstance(item, Gop)][-1:])


def test_an_encoder_that_starts_anew_among_b_frames_leaves_no_hole() -> None:
    """What was to come behind the last P-frame never comes: the key frame has another clock."""
    units = stream("pyramid", 2, 6, sps(2))
    at = 1 + 4 * 3 + 2  # 12, then 16 and 14; 13 and 15 never come
    again = moved(stream("pyramid", 2, 6, sps(2)), 10 * FRAME)
    items = received([*units[:at], *again])
    assert reasons(items) == [JUMP]
    assert runs(items)[0] == list(range(13))


@pytest.mark.parametrize("at", [60, 90, 95])
@pytest.mark.parametrize("reorder", [0, 2, None])
def test_a_frame_stamped_ahead_takes_no_other_with_it(at: int, reorder: int | None) -> None:
    """The key frame behind it is taken for a clock set back; nothing before that is missing."""
    units = stream("none", 6, 24, sps(reorder))
    units[at] = frame(at, (at + 20) * FRAME)
    items = received(units)
    assert set(reasons(items)) <= {JUMP}
    assert sorted(number for run in runs(items) for number in run) == list(range(150))


# --- losses ------------------------------------------------------------------------------------


@given(
    shape=st.sampled_from(sorted(SHAPES)),
    declaration=st.sampled_from(["needed", "none", "unsaid"]),
    timing=st.booleans(),
    lost=st.lists(st.integers(1, 140), max_size=3, unique=True),
    end=st.integers(30, 150),
)
@settings(max_examples=examples(150), deadline=None)
def test_no_frame_is_missing_inside_a_run(
    shape: str, declaration: str, lost: list[int], end: int, *, timing: bool
) -> None:
    reorder = {"needed": NEEDED[shape], "none": 0, "unsaid": None}[declaration]
    # Before the first B-frame nobody knows of one that declares none.
    assume(declaration != "none" or shape == "none" or min(lost, default=3) > 2)
    units = stream(shape, 10, 3, sps(reorder, timing=timing))
    packetiser = Packetiser(VideoCodec.H264)
    packets = [packetiser.packets(unit) for unit in units[:end]]
    to = reader()
    flat = [p for at, of_frame in enumerate(packets) if at not in lost for p in of_frame]
    items = [*push_all(to, flat), *finish(to)]
    assert set(reasons(items)) <= {DiscontinuityReason.PACKETS_LOST}
    assert_in_order_without_a_hole(items)
    found = runs(items)
    numbers = [number for run in found for number in run]
    assert numbers == sorted(set(numbers))
    for run, after in pairwise(found):
        assert run[-1] + 1 < after[0], "a gap is told only where frames are missing"
    assert to.statistics.frames == len(numbers)
    if shape == "none":
        # Nothing goes but what was lost, and what came before the next key frame; and the second
        # frame of all, where nobody knows yet how far frames are apart nor whether they reorder.
        first = min([*lost, end, len(units)])
        is_unknown = first == 2 and reorder is None and not timing
        assert len(found[0]) == first - is_unknown


def test_the_run_ends_where_the_first_frame_is_missing() -> None:
    units = stream("pyramid", 2, 6, sps(2, timing=True))
    items = received([*units[:10]])  # 0 | 4 2 1 3 | 8 6 5 7 | 12
    assert runs(items) == [list(range(9))]
    items = received([*units[:8]])  # 7 is missing
    assert runs(items) == [list(range(5))]
    (gop,) = (item for item in items if isinstance(item, Gop))
    assert RunTimeline().append(gop).end_decode_time == 5 * FRAME, "the gap begins with frame 5"
    assert gop.size_bytes == sum(map(len, gop.frames))
    assert len(gop.frames) == len(gop.arrivals_us) == len(gop.sync) == len(gop.timestamps) == 5


def test_a_key_frame_whose_leading_frames_are_missing_goes_with_them() -> None:
    recovery = b"\x06\x06\x01\x84\x80"
    units = stream("two", 1, 4, sps(1))  # 0 … 12
    key = frame(15, 15 * FRAME)
    units.append(AccessUnit(key.timestamp, (recovery, *key.nals)))
    units.append(frame(13, 13 * FRAME))  # 14 is missing
    items = received(units)
    (gop,) = (item for item in items if isinstance(item, Gop))
    assert runs(items) == [list(range(13))]
    assert gop.end_timestamp is None


# --- what may be reordered ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "level", "declared", "fields", "most"),
    [
        ((1920, 1080), 40, None, False, 4),
        ((3840, 2160), 51, None, False, 5),
        ((640, 360), 40, None, False, 16),
        ((1920, 1080), 10, None, False, 1),
        ((1920, 1080), 77, None, False, 16),
        ((1920, 1080), 40, 0, False, 0),
        ((1920, 1080), 40, 2, False, 2),
        ((1920, 1080), 40, 0, True, 1),
    ],
)
def test_levels_bound_what_nobody_declared(
    size: tuple[int, int], level: int, declared: int | None, most: int, *, fields: bool
) -> None:
    info = SequenceInfo(*size, 77, level, None, declared, (1, 1), fields)
    assert most_overtaking(info) == most
