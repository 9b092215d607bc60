"""Clocks that drift, leap, jump and cross boundaries, over the real write path and index.

Time is the test's own here: hours pass in milliseconds.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from faults.conftest import LONG
from faults.ledger import Entry, Ledger
from ingest_support import START_US, Installation, camera_recorder, footage, recorder_tools
from ingest_support import Told as Listener
from recording_rig import Rig, recording_rig
from vigie.ingest.engine import TIMESCALE, FrameGroup, SenderReport
from vigie.ingest.timekeeping import RunClock, ticks_to_us
from vigie.ingest.v1.events_pb2 import SegmentEvent
from vigie.platform.clock import ManualWallClock, to_us
from vigie.recording.timeline.algebra import Kind
from vigie.recording.timeline.intervals import Interval

SECOND: Final = 1_000_000
HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR
BOUND_US: Final = 40_000
FILM: Final = footage()
CAMERA: Final = "cam-test-01"


# --- the time model -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Crystal:
    """A camera of five frames a second, its crystal (positive: fast), and its network."""

    drift_ppm: float
    chance: random.Random
    jitter_us: int = 60_000

    def group(self, second: int, offset_us: int) -> tuple[FrameGroup, list[int]]:
        """A group of one second as it arrives on a wall clock off by ``offset_us``; true times."""
        true = [second * SECOND + frame * SECOND // 5 for frame in range(5)]
        delays = [self.chance.randrange(self.jitter_us) for _ in true]
        delays[self.chance.randrange(5)] = 2_000
        arrivals, latest = [], 0
        for captured, delay in zip(true, delays, strict=True):
            latest = max(latest, captured + delay)
            arrivals.append(latest)
        group = FrameGroup(
            frames=[b""] * 5,
            size_bytes=0,
            presentation_ticks=[self.ticks(captured) for captured in true],
            next_ticks=self.ticks((second + 1) * SECOND),
            arrival_us=[START_US + offset_us + arrival for arrival in arrivals],
            arrival_monotonic_us=[SECOND + arrival for arrival in arrivals],
        )
        return group, true

    def ticks(self, captured_us: int) -> int:
        return round(captured_us * (1 + self.drift_ppm / 1e6) * TIMESCALE / SECOND)


def errors(
    crystal: Crystal, seconds: int, offset_us: Iterator[int], segment_seconds: int = 30
) -> tuple[list[int], int]:
    """Told minus true time (by the wall clock of that moment) at each second, and how many runs."""
    clock, origin, waiting, found, runs = RunClock(), 0, [], [], 1
    for second in range(seconds):
        offset = next(offset_us)
        group, true = crystal.group(second, offset)
        if not clock.observe(group, group.presentation_ticks[0] - origin):
            clock, origin, waiting, runs = RunClock(), group.presentation_ticks[0], [], runs + 1
            assert clock.observe(group, 0)
        waiting.append((group.presentation_ticks[0] - origin, START_US + offset + true[0]))
        if (second + 1) % segment_seconds == 0:
            clock.close((group.next_ticks or 0) - origin)
            found += [clock.estimate_us(ticks) - truth for ticks, truth in waiting]
            waiting = []
    return found, runs


def constant(offset_us: int = 0) -> Iterator[int]:
    while True:
        yield offset_us


@pytest.mark.parametrize("drift_ppm", [-200, 200])
def test_a_crystal_that_drifts_is_followed(
    drift_ppm: int, chance: random.Random, ledger: Ledger
) -> None:
    found, runs = errors(Crystal(drift_ppm, chance), 7200, constant())
    assert runs == 1
    assert max(map(abs, found)) <= BOUND_US
    ledger.note(
        Entry(
            "clock",
            f"a camera whose crystal is off by {drift_ppm:+d} ppm for two hours",
            "one run; every frame within 40 ms of its true time",
            seen=f"worst error {max(map(abs, found)) / 1000:.1f} ms",
        )
    )


@pytest.mark.parametrize(("drift_ppm", "bound_us"), [(1000, 1_100_000), (-1000, 2_150_000)])
def test_a_crystal_out_of_all_bounds_is_counted_anew(
    drift_ppm: int, bound_us: int, chance: random.Random, ledger: Ledger
) -> None:
    """Faster than 500 ppm or slower than 250: the error grows up to a bound, then the run ends."""
    found, runs = errors(Crystal(drift_ppm, chance), 4 * 3600, constant())
    assert runs > 1
    assert max(map(abs, found)) <= bound_us
    ledger.note(
        Entry(
            "clock",
            f"a camera whose crystal is off by {drift_ppm:+d} ppm for four hours",
            "the error is bounded: when it reaches a second (two where frames seem late) the run"
            " ends, cause CLOCK_JUMP, and the next counts anew",
            seen=f"worst error {max(map(abs, found)) / 1e6:.2f} s, {runs} runs",
        )
    )


@pytest.mark.parametrize(
    ("step_us", "minutes", "what"),
    [(-SECOND, 34, "inserted: a second happens twice"), (SECOND, 68, "left out")],
)
def test_a_leap_second_that_is_stepped_is_followed(
    step_us: int, minutes: int, what: str, chance: random.Random, ledger: Ledger
) -> None:
    noise_us = chance.randrange(-2000, 2000)
    leap_second = 1800 + chance.randrange(60)

    def stepped() -> Iterator[int]:
        for second in range(3 * 7200):
            yield 0 if second < leap_second else step_us + noise_us

    found, runs = errors(Crystal(20, chance), 7200, stepped())
    assert runs == 1, "no gap is shown where none is"
    assert max(map(abs, found[:leap_second])) <= BOUND_US
    assert max(map(abs, found)) <= SECOND + BOUND_US
    assert max(map(abs, found[leap_second + minutes * 60 :])) <= BOUND_US
    ledger.note(
        Entry(
            "clock",
            f"a leap second is stepped ({what})",
            f"no run ends; times are off by a second at first and follow within {minutes} minutes",
            seen=f"worst error {max(map(abs, found)) / 1e6:.3f} s",
            missing_seconds=0.0,
        )
    )


def test_a_leap_second_that_is_smeared_is_not_seen(chance: random.Random, ledger: Ledger) -> None:
    def smeared() -> Iterator[int]:
        for second in range(DAY):
            yield -second * SECOND // 86_400

    found, runs = errors(Crystal(-20, chance), 4 * 3600, smeared())
    assert runs == 1
    assert max(map(abs, found)) <= BOUND_US
    ledger.note(
        Entry(
            "clock",
            "a leap second is smeared over a day",
            "every frame within 40 ms",
            seen=f"worst error {max(map(abs, found)) / 1000:.1f} ms",
            missing_seconds=0.0,
        )
    )


# --- the write path -----------------------------------------------------------------------------


def _set_within(group: FrameGroup, first: int, by_us: int) -> FrameGroup:
    """The same group on a clock that is set by ``by_us`` before its frame ``first``."""
    group.arrival_us = [
        arrival + (by_us if index >= first else 0) for index, arrival in enumerate(group.arrival_us)
    ]
    return group


@pytest.mark.parametrize("by_us", [HOUR, -HOUR, 5 * SECOND, -5 * SECOND])
def test_a_clock_set_at_any_frame_ends_one_run_and_costs_no_frame(
    tmp_path: Path, by_us: int
) -> None:
    for first in range(25) if LONG else (0, 1, 12, 24):
        told = Listener()
        tools = recorder_tools(tmp_path / str(first))
        recorder = camera_recorder(tools, told, camera=CAMERA)
        for index in range(12):
            at = first if index == 5 else (0 if index > 5 else 25)
            recorder.group(FILM.parameters, _set_within(FILM.group(index), at, by_us))
        recorder.ended("STOPPED", "", START_US)
        assert len(told.runs) == 2, (first, by_us)
        assert sum(segment.sample_count for segment in told.segments) == 12 * 25
        assert {cause for cause, _, _ in told.interruptions} == {"CLOCK_JUMP", "STOPPED"}
        before, after = told.runs
        mine = [s for s in told.segments if s.run == after.run]
        # The new run tells the time of the clock as it was set, from its first key frame on.
        told_at = 6 if first == 0 and mine[0].sample_count % 25 else 5
        assert abs(mine[0].start_us - (START_US + told_at * SECOND + by_us)) <= BOUND_US
        old = [s for s in told.segments if s.run == before.run]
        assert all(a.start_us + a.duration_us == b.start_us for a, b in pairwise(old))
        assert old[0].start_us == START_US + 20_000, "what was stored is never rewritten"


def test_a_camera_whose_own_clock_jumps_is_timed_by_ours(tmp_path: Path, ledger: Ledger) -> None:
    """Its sender reports leap by an hour: the offset is on the object, no frame moves."""
    told = Listener()
    recorder = camera_recorder(recorder_tools(tmp_path), told, camera=CAMERA)
    for index in range(12):
        wrong_us = HOUR if index >= 6 else 2 * SECOND
        ticks = index * TIMESCALE
        captured_us = START_US + 20_000 + ticks_to_us(ticks)
        recorder.note_sender_report(
            SenderReport(ticks=ticks, camera_us=captured_us + wrong_us, arrival_us=captured_us)
        )
        recorder.group(FILM.parameters, FILM.group(index))
    recorder.ended("STOPPED", "", START_US)
    assert [segment.start_us - START_US for segment in told.segments] == [
        20_000 + n * 3 * SECOND for n in range(4)
    ]
    offsets = [round((s.camera_clock_offset_us or 0) / SECOND) for s in told.segments]
    assert offsets == [2, 2, 3600, 3600]
    ledger.note(
        Entry(
            "clock",
            "the camera's own clock jumps by an hour",
            "no frame moves; the offset of the camera's clock is recorded with each segment",
            missing_seconds=0.0,
        )
    )


@pytest.mark.parametrize("jump_seconds", [5, -11, 3600])
def test_media_timestamps_that_jump_begin_a_run_at_the_right_time(
    tmp_path: Path, jump_seconds: int
) -> None:
    told = Listener()
    recorder = camera_recorder(recorder_tools(tmp_path), told, camera=CAMERA)
    for index in range(12):
        group = FILM.group(index)
        moved = jump_seconds * TIMESCALE if index >= 6 else 0
        group.presentation_ticks = [ticks + moved for ticks in group.presentation_ticks]
        assert group.next_ticks is not None
        group.next_ticks += moved
        if index == 6:  # the depacketiser has seen it
            recorder.lost("CLOCK_JUMP", "timestamps jumped", START_US + 6 * SECOND)
        recorder.group(FILM.parameters, group)
    recorder.ended("STOPPED", "", START_US)
    assert len(told.runs) == 2
    assert [segment.start_us - START_US for segment in told.segments] == [
        20_000 + n * 3 * SECOND for n in range(4)
    ]


# --- boundaries of days, months and summer time -------------------------------------------------


def _instant(text: str) -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Boundary:
    """Footage that begins at `recorded`, in three segments of three seconds, the third behind the
    boundary; when the first of them, and the last, must be gone (CSI L252-5, counted by hand)."""

    what: str
    recorded: str
    first_gone: str
    last_gone: str


BOUNDARIES: Final = (
    Boundary("31 January to 1 February", "2027-01-31T23:59:56",
             "2027-02-28T23:59:56", "2027-03-01T00:00:02"),
    # In Paris it is the 31st already: both days have their end on 28 February.
    Boundary("30 to 31 January", "2027-01-30T23:59:56",
             "2027-02-27T23:59:56", "2027-02-28T00:00:02"),
    Boundary("31 January of a leap year", "2028-01-31T09:00:00",
             "2028-02-29T09:00:00", "2028-02-29T09:00:06"),
    Boundary("28 February to 1 March", "2027-02-28T23:59:56",
             "2027-03-28T23:59:56", "2027-03-31T23:00:02"),
    Boundary("29 February to 1 March", "2028-02-29T23:59:56",
             "2028-03-29T23:59:56", "2028-03-31T23:00:02"),
    Boundary("the change to summer time", "2027-03-28T00:59:56",
             "2027-04-27T23:59:56", "2027-04-28T01:00:02"),
    Boundary("the change to winter time", "2026-10-25T00:59:56",
             "2026-11-25T00:59:56", "2026-11-25T01:00:02"),
    # 02:30 is left out in Paris on 28 March: its earlier reading counts.
    Boundary("an hour whose end summer time leaves out", "2027-02-28T01:30:00",
             "2027-03-28T00:30:00", "2027-03-28T00:30:06"),
    Boundary("an hour whose end winter time repeats", "2026-09-25T00:30:00",
             "2026-10-25T00:30:00", "2026-10-25T00:30:06"),
    Boundary("the turn of the year", "2026-12-31T23:59:56",
             "2027-01-31T23:59:56", "2027-02-01T00:00:02"),
)  # fmt: skip


async def _tell(rig: Rig, events: list[SegmentEvent], start_us: int) -> None:
    await rig.camera(CAMERA, start_us - DAY)
    for event in events:
        await rig.tell("segments", event.camera, event)
    await rig.settle()


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda boundary: boundary.recorded)
async def test_footage_over_a_boundary_is_one_span_and_gone_in_time(
    tmp_path: Path, boundary: Boundary, ledger: Ledger
) -> None:
    start_us = _instant(boundary.recorded)
    installation = await Installation(tmp_path, wall_clock=ManualWallClock(start_us)).open()
    intake = installation.intake(CAMERA)
    for index in range(8):
        intake.group(FILM.parameters, FILM.group(index, start_us=start_us, delay_us=0))
    intake.ended("CLOSED_BY_CAMERA", "", start_us + 8 * SECOND)
    await installation.close()
    events = await _events_of(tmp_path)
    stored = [event.segment_stored for event in events if event.HasField("segment_stored")]
    for segment in stored:
        _, _, date, _, hour, minute = segment.object_key.rsplit(".", 2)[0].split("/")
        form = "%Y-%m-%d/%H/%M-%S.%fZ"
        named = datetime.strptime(f"{date}/{hour}/{minute}", form).replace(tzinfo=UTC)
        assert to_us(named) == segment.start_us, "keys are UTC, whatever Paris says"

    async with recording_rig(tmp_path, start_us + DAY) as rig:
        await _tell(rig, events, start_us)
        window = Interval(start_us, start_us + 8 * SECOND)
        entries = [entry async for entry in rig.module.timelines.entries(CAMERA, window)]
        assert [(entry.kind, entry.start_us, entry.end_us) for entry in entries] == [
            (Kind.SPAN, window.start_us, window.end_us)
        ]
        assert len(stored) == 3
        # At the instant itself its own segment goes, before the second time also the middle one. A
        # round destroys what expires before the next one.
        for text, others in ((boundary.first_gone, 0), (boundary.last_gone, 1)):
            gone_us = _instant(text) - HOUR
            rig.wall.set(gone_us - 1)
            assert (await rig.module.sweeper.sweep()).objects == others, "not a microsecond early"
            rig.wall.set(gone_us)
            assert (await rig.module.sweeper.sweep()).objects == 1, "and not one late"
        assert [info async for info in rig.store.list("footage/")] == []
    ledger.note(
        Entry(
            "clock",
            f"footage over {boundary.what}: {boundary.recorded} UTC",
            "keys in UTC, one span without a hole, destroyed in the last round before"
            f" {boundary.first_gone} to {boundary.last_gone} UTC, not before and not later",
        )
    )


async def _events_of(root: Path) -> list[SegmentEvent]:
    again = await Installation(root).open()
    events = await again.events()
    await again.close()
    return events
