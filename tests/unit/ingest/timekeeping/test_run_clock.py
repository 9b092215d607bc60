import itertools
import math
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from long_forms import examples
from vigie.ingest.engine import TIMESCALE, FrameGroup
from vigie.ingest.timekeeping import (
    MAX_SLEW_PPM,
    RunClock,
    ticks_to_us,
)

WALL = 1_750_000_000_000_000
BOOT = 77_000_000
SECOND = 1_000_000


@dataclass
class Camera:
    """A camera whose frames arrive: true capture times, RTP timestamps with drift, delays."""

    frames_per_second: int = 25
    group_frames: int = 50
    drift_ppm: float = 0.0
    first_ticks: int = (1 << 32) - 200_000  # wraps around within seconds; engines unwrap it
    base_delay_us: int = 5_000
    jitter_us: int = 0
    tick_us: int = 0
    burst_us: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def capture_us(self, frame: int) -> int:
        return frame * SECOND // self.frames_per_second

    def ticks(self, frame: int) -> int:
        exact = self.capture_us(frame) * (1 + self.drift_ppm / 1e6) * TIMESCALE / SECOND
        return self.first_ticks + round(exact)

    def arrival_us(self, frame: int) -> int:
        arrival = self.capture_us(frame) + self.base_delay_us
        arrival += self.random.randint(0, self.jitter_us) if self.jitter_us else 0
        for period in (self.burst_us, self.tick_us):
            if period:
                arrival = math.ceil(arrival / period) * period
        return arrival

    def group(self, number: int, wall_offset_us: int = 0) -> FrameGroup:
        frames = range(number * self.group_frames, (number + 1) * self.group_frames)
        arrivals, latest = [], 0
        for frame in frames:
            latest = max(latest, self.arrival_us(frame))
            arrivals.append(latest)
        return FrameGroup(
            frames=[b""] * len(arrivals),
            size_bytes=0,
            presentation_ticks=[self.ticks(frame) for frame in frames],
            next_ticks=self.ticks(frames.stop),
            arrival_us=[WALL + wall_offset_us + arrival for arrival in arrivals],
            arrival_monotonic_us=[BOOT + arrival for arrival in arrivals],
        )

    def media_ticks(self, group: int) -> int:
        return self.ticks(group * self.group_frames) - self.first_ticks


def record(
    camera: Camera, groups: int, groups_per_segment: int = 15, clock: RunClock | None = None
) -> tuple[RunClock, list[tuple[int, int, int, int]]]:
    """Feed groups; the closed segments as (media start, media end, start_us, duration_us)."""
    clock = clock or RunClock()
    segments, media_start = [], 0
    for number in range(groups):
        assert clock.observe(camera.group(number), camera.media_ticks(number)), number
        if (number + 1) % groups_per_segment == 0:
            media_end = camera.media_ticks(number + 1)
            segments.append((media_start, media_end, *clock.close(media_end)))
            media_start = media_end
    return clock, segments


def worst_error_us(camera: Camera, segments: list[tuple[int, int, int, int]]) -> tuple[int, int]:
    """Least and greatest of (estimated - true) wall time over all frames."""
    errors = []
    for media_start, media_end, start_us, duration_us in segments:
        frame = 0
        while camera.ticks(frame) - camera.first_ticks < media_start:
            frame += 1
        while (media := camera.ticks(frame) - camera.first_ticks) < media_end:
            passed = (media - media_start) * duration_us / (media_end - media_start)
            errors.append(round(start_us + passed - WALL - camera.capture_us(frame)))
            frame += 1
    return min(errors), max(errors)


@settings(max_examples=examples(20), deadline=None)
@given(
    drift_ppm=st.floats(-200, 200),
    base_delay_us=st.integers(0, 300_000),
    jitter_us=st.integers(0, 200_000),
    burst_us=st.sampled_from([0, 0, 100_000, 400_000]),
    frames_per_second=st.sampled_from([5, 12, 25, 30]),
    groups_per_segment=st.integers(1, 20),
    seed=st.integers(0, 1 << 30),
)
def test_every_frame_is_timed_within_40_ms_and_the_least_delay(
    *,
    drift_ppm: float,
    base_delay_us: int,
    jitter_us: int,
    burst_us: int,
    frames_per_second: int,
    groups_per_segment: int,
    seed: int,
) -> None:
    camera = Camera(
        frames_per_second=frames_per_second,
        group_frames=2 * frames_per_second,
        drift_ppm=drift_ppm,
        base_delay_us=base_delay_us,
        jitter_us=jitter_us,
        burst_us=burst_us,
        seed=seed,
    )
    _, segments = record(camera, 60, groups_per_segment)
    # The condition of the bound: in each stretch that counts some frame is nearly undelayed.
    slack_us = least_delay_in_any_stretch(camera, 60) + 40_000
    low, high = worst_error_us(camera, segments)
    assert low >= -40_000
    assert high <= slack_us


def least_delay_in_any_stretch(camera: Camera, groups: int) -> int:
    again = Camera(**{k: v for k, v in vars(camera).items() if k != "random"})
    delays = []
    for number in range(groups):
        group = again.group(number)
        first = number * again.group_frames
        delays.append(
            min(
                arrival - WALL - again.capture_us(first + index)
                for index, arrival in enumerate(group.arrival_us)
            )
        )
    # A stretch is ten seconds: five groups. A segment may close after its first group.
    return max(min(delays[max(0, number - 4) : number + 1]) for number in range(groups))


@settings(max_examples=examples(20), deadline=None)
@given(
    drift_ppm=st.floats(-400, 400),
    jitter_us=st.integers(0, 900_000),
    groups_per_segment=st.integers(1, 9),
    seed=st.integers(0, 1 << 30),
)
def test_segments_are_contiguous_and_slewed_by_at_most_500_ppm(
    drift_ppm: float, jitter_us: int, groups_per_segment: int, seed: int
) -> None:
    camera = Camera(drift_ppm=drift_ppm, jitter_us=jitter_us, seed=seed)
    _, segments = record(camera, 45, groups_per_segment)
    for before, after in itertools.pairwise(segments):
        assert after[2] == before[2] + before[3]
        assert after[0] == before[1]
    for media_start, media_end, _, duration_us in segments:
        media_us = ticks_to_us(media_end) - ticks_to_us(media_start)
        assert abs(duration_us - media_us) * 1_000_000 <= MAX_SLEW_PPM * media_us


def test_a_perfect_camera_is_timed_exactly() -> None:
    camera = Camera(base_delay_us=0)
    clock, segments = record(camera, 30)
    assert segments[0][2:] == (WALL, 30 * SECOND)
    assert segments[1][2:] == (WALL + 30 * SECOND, 30 * SECOND)
    assert clock.estimate_us(45 * TIMESCALE) == WALL + 45 * SECOND


def test_the_least_delayed_frame_wins_over_a_late_start() -> None:
    camera = Camera(base_delay_us=0)
    late = camera.group(0)
    late.arrival_us = [arrival + 700_000 for arrival in late.arrival_us]
    late.arrival_monotonic_us = [arrival + 700_000 for arrival in late.arrival_monotonic_us]
    clock = RunClock()
    assert clock.observe(late, 0)
    assert clock.estimate_us(0) == WALL + 700_000
    assert clock.observe(camera.group(1), camera.media_ticks(1))
    assert clock.estimate_us(0) == WALL
    assert clock.close(camera.media_ticks(2)) == (WALL, 4 * SECOND)


def test_what_is_closed_stays_whatever_comes_later() -> None:
    camera = Camera(base_delay_us=200_000)
    clock, segments = record(camera, 15)
    start_us, duration_us = segments[0][2:]
    early = camera.group(15)
    early.arrival_us = [arrival - 200_000 for arrival in early.arrival_us]
    early.arrival_monotonic_us = [arrival - 200_000 for arrival in early.arrival_monotonic_us]
    assert clock.observe(early, camera.media_ticks(15))
    assert clock.estimate_us(0) == start_us
    assert clock.estimate_us(camera.media_ticks(15)) == start_us + duration_us


@pytest.mark.parametrize("jump_us", [3_600 * SECOND, -3_600 * SECOND, 1_100_000, -1_100_000])
def test_a_wall_clock_that_was_set_ends_the_run(jump_us: int) -> None:
    camera = Camera()
    clock, _ = record(camera, 3)
    before = clock.estimate_us(camera.media_ticks(3))
    assert not clock.observe(camera.group(3, wall_offset_us=jump_us), camera.media_ticks(3))
    assert clock.estimate_us(camera.media_ticks(3)) == before, "nothing is learnt from it"
    fresh = RunClock()
    assert fresh.observe(camera.group(3, wall_offset_us=jump_us), 0)
    assert fresh.estimate_us(0) == WALL + jump_us + 6 * SECOND + camera.base_delay_us


def test_a_wall_clock_set_within_the_first_group_counts_from_the_frames_after() -> None:
    camera = Camera(base_delay_us=0)
    group = camera.group(0)
    group.arrival_us = [
        arrival - (7 * SECOND if index < 20 else 0)
        for index, arrival in enumerate(group.arrival_us)
    ]
    clock = RunClock()
    assert clock.observe(group, 0)
    assert clock.estimate_us(0) == WALL


def test_a_wall_clock_that_is_slewed_is_followed() -> None:
    camera = Camera(base_delay_us=0)
    clock = RunClock()
    segments = []
    for number in range(60):
        shift = round(number * 2 * SECOND * 300e-6)  # adjtime at 300 ppm, backwards
        assert clock.observe(camera.group(number, -shift), camera.media_ticks(number))
        if number % 5 == 4:
            segments.append(clock.close(camera.media_ticks(number + 1)))
    start_us, duration_us = segments[-1]
    assert abs(start_us + duration_us - (WALL + 120 * SECOND - 36_000)) < 5_000


@pytest.mark.parametrize(
    ("jump_seconds", "continues"), [(5, False), (1.2, False), (0.5, True), (-11, False)]
)
def test_timestamps_that_part_from_the_arrivals_end_the_run(
    jump_seconds: float,
    *,
    continues: bool,
) -> None:
    camera = Camera()
    clock, _ = record(camera, 20)
    moved = camera.media_ticks(20) + round(jump_seconds * TIMESCALE)
    assert clock.observe(camera.group(20), moved) is continues


def test_a_small_jump_back_is_noticed_when_it_lasts() -> None:
    camera = Camera()
    clock, _ = record(camera, 20)
    back = 3 * TIMESCALE
    answers = [
        clock.observe(camera.group(number), camera.media_ticks(number) - back)
        for number in range(20, 40)
    ]
    assert answers[0], "a slow network looks the same at first"
    assert not all(answers)


def test_a_stall_of_the_network_does_not_end_the_run() -> None:
    camera = Camera()
    clock, _ = record(camera, 20)
    stalled = camera.group(20)
    resumed = stalled.arrival_us[-1] + 4 * SECOND
    stalled.arrival_monotonic_us = [resumed - WALL + BOOT] * len(stalled.arrival_us)
    stalled.arrival_us = [resumed] * len(stalled.arrival_us)
    assert clock.observe(stalled, camera.media_ticks(20))
    assert clock.observe(camera.group(21), camera.media_ticks(21))


def test_a_camera_that_catches_up_after_a_slow_start_stays_one_run() -> None:
    camera = Camera(base_delay_us=0)
    first = camera.group(0)
    first.arrival_us = [arrival + 3 * SECOND for arrival in first.arrival_us]
    first.arrival_monotonic_us = [arrival + 3 * SECOND for arrival in first.arrival_monotonic_us]
    clock = RunClock()
    assert clock.observe(first, 0)
    assert clock.observe(camera.group(1), camera.media_ticks(1))
    assert clock.estimate_us(0) == WALL


def test_the_start_may_be_given_or_bounded() -> None:
    camera = Camera(base_delay_us=30_000)
    known = RunClock(start_us=WALL + 1_000)
    assert known.observe(camera.group(0), 0)
    assert known.close(camera.media_ticks(1))[0] == WALL + 1_000
    bounded = RunClock(not_before_us=WALL + 45_000)
    assert bounded.observe(camera.group(0), 0)
    assert bounded.close(camera.media_ticks(1))[0] == WALL + 45_000
    free = RunClock(not_before_us=WALL - 45_000)
    assert free.observe(camera.group(0), 0)
    assert free.close(camera.media_ticks(1))[0] == WALL + 30_000


def test_leading_pictures_before_their_key_frame_keep_media_time() -> None:
    camera = Camera(base_delay_us=0)
    clock, _ = record(camera, 2)
    group = camera.group(2)
    ticks = list(group.presentation_ticks)
    ticks[0], ticks[1], ticks[2] = ticks[2], ticks[0], ticks[1]  # key frame shown third
    group.presentation_ticks = ticks
    assert clock.observe(group, camera.media_ticks(2))
    assert clock.estimate_us(camera.media_ticks(3)) - (WALL + 6 * SECOND) in range(-80_001, 1)


def test_an_empty_segment_is_refused() -> None:
    camera = Camera()
    clock, _ = record(camera, 15)
    with pytest.raises(ValueError, match="no media"):
        clock.close(camera.media_ticks(15))
    with pytest.raises(ValueError, match="no group"):
        RunClock().close(90_000)
