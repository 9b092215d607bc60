"""Segments of cameras that begin together are not closed together."""

import random
import uuid
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ingest_support import START_US, Told, camera_recorder, footage, recorder_tools
from vigie.ingest.engine import TIMESCALE
from vigie.ingest.recorder.spread import first_lengths

SEGMENT = 30 * TIMESCALE


@given(run=st.uuids().map(lambda each: each.hex), seconds=st.integers(10, 300))
def test_no_segment_is_longer_than_configured_nor_shorter_than_half(run: str, seconds: int) -> None:
    lengths = first_lengths(run, seconds * TIMESCALE)

    assert len(lengths) in {1, 2}
    assert all(seconds * TIMESCALE / 2 <= each <= seconds * TIMESCALE for each in lengths)
    assert lengths == first_lengths(run, seconds * TIMESCALE)


def test_short_segments_are_all_alike() -> None:
    assert first_lengths("01934f5c", 10 * TIMESCALE - 1) == ()


def test_the_cuts_of_many_runs_fall_anywhere_within_a_segment() -> None:
    """Runs of cameras that were started together: identifiers that begin alike."""
    source = random.Random(7)
    runs = [f"0193{source.getrandbits(112):028x}" for _ in range(6000)]
    counts = [0] * 30
    for run in runs:
        counts[sum(first_lengths(run, SEGMENT)) % SEGMENT // TIMESCALE] += 1

    # 200 expected in each second; seven standard deviations of a binomial to either side.
    assert min(counts) > 100
    assert max(counts) < 300


def test_a_run_begins_with_its_shorter_segments_and_goes_on_with_full_ones(tmp_path: Path) -> None:
    seen: set[int] = set()
    for camera in range(8):
        tools, told, film = recorder_tools(tmp_path / str(camera)), Told(), footage("h264")
        recorder = camera_recorder(tools, told, segment_seconds=10, spread=True)
        for index in range(40):
            recorder.group(film.parameters, film.group(index, last=index == 39))
        recorder.ended("CLOSED_BY_CAMERA", "end of the test", START_US)
        lengths = [segment.media_duration_ticks for segment in told.segments]
        planned = first_lengths(told.runs[0].run, 10 * TIMESCALE)

        for length, plan in zip(lengths, planned, strict=False):
            assert abs(length - plan) <= TIMESCALE / 2  # the nearest key frame; one a second
        assert all(length == 10 * TIMESCALE for length in lengths[len(planned) : -1])
        assert all(a.end_us == b.start_us for a, b in pairwise(told.segments))
        seen.add(lengths[0])
    assert len(seen) > 1


def test_runs_of_one_millisecond_are_cut_apart() -> None:
    """Identifiers of one source that differ in their last digits only."""
    first = uuid.UUID("01934f5c-0000-7000-8000-000000000000").int
    sums = {sum(first_lengths(f"{first + step:032x}", SEGMENT)) for step in range(200)}

    assert len(sums) > 190
