"""What a window of footage shows of the frames that were sent: once, as sent, or in a gap."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from e2e import proof
from e2e.callers import GAP, SPAN, Entry, Fragment, play, timeline
from e2e.harness import Installation
from faults.kill_house import assert_in_gaps
from vigie.simcam import FrameMark
from vigie.simcam.client import ControlClient

_JOIN_US: Final = 1_000
_LATE_US: Final = 100_000
"""The least delay of any frame in 10 s on a busy machine: a run's times are late by so much at most
(docs/design/time.md), each run's by its own."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found of a camera in a window.

    Attributes:
        frames: how many are shown.
        gaps: of the timeline.
        joins: how often the footage of one run is left for that of another that overlaps it.
    """

    frames: int
    gaps: tuple[Entry, ...]
    joins: int

    @property
    def missing_seconds(self) -> float:
        """Length of all gaps."""
        return sum(gap.end_us - gap.start_us for gap in self.gaps) / 1e6

    @property
    def longest_seconds(self) -> float:
        """Length of the longest stretch without footage, whatever its causes."""
        longest = stretch = end_us = 0
        for gap in self.gaps:
            stretch = gap.end_us - gap.start_us + (stretch if gap.start_us <= end_us else 0)
            longest, end_us = max(longest, stretch), gap.end_us
        return longest / 1e6


async def look(
    vigie: Installation, control: ControlClient, camera: str, start_us: int, end_us: int
) -> Looked:
    """Play a window that begins and ends in footage, and compare it with what was sent.

    Raises AssertionError: a frame is altered, shown twice, or neither shown nor in a gap; or
    what is played is not what the timeline lists.
    """
    entries = await timeline(vigie, camera, start_us, end_us)
    assert (entries[0].kind, entries[-1].kind) == (SPAN, SPAN), entries
    gaps = tuple(entry for entry in entries if entry.kind != SPAN)
    assert {gap.kind for gap in gaps} <= {GAP}, gaps
    played = await play(vigie, camera, start_us, end_us)
    told = [(g.start_time.ToMicroseconds(), g.end_time.ToMicroseconds()) for g in played.gaps]
    for gap in gaps:
        assert any(start <= gap.start_us and gap.end_us <= end for start, end in told), (gap, told)
    frames = proof.timed_of_play(played.fragments)
    sent = await _sent(control, camera, [each.frame.mark for each in frames])
    for each in frames:
        was = sent[each.frame.mark.decode_number]
        assert each.frame.media_sha256 == was["media_sha256"], was
        assert each.frame.mark.capture_us == was["capture_us"]
    shown = [each.frame.mark for part in played.fragments for each in _shown(part)]
    joins = _joins(played.fragments)
    doubled = [number for number, times in _counted(shown).items() if times > 1]
    # Each run has its own idea of when a frame was filmed, to some milliseconds: the frames at
    # which another run takes over may fall on both sides of that instant, or on neither.
    assert_in_gaps([sent[number] for number in doubled], joins)
    there = {mark.decode_number for mark in shown}
    last = max(there)
    absent = [sent[n] for n in range(min(there), last) if n not in there]
    assert_in_gaps(absent, told + joins)
    if not joins:
        numbers = [mark.decode_number for mark in shown]
        assert numbers == sorted(numbers), "out of order"
    return Looked(len(there), gaps, len(joins))


def _shown(part: Fragment) -> list[proof.Timed]:
    """Frames of a fragment that a viewer is shown: others are there for the decoder."""
    return [
        each
        for each in proof.timed_of_play([part])
        if part.show_start_us <= each.wall_us < part.show_end_us
    ]


def _joins(fragments: Sequence[Fragment]) -> list[tuple[int, int]]:
    """Instants at which the footage of one run is left for that of another that overlaps it."""
    return [
        (after.show_start_us - _LATE_US, after.show_start_us)
        for before, after in pairwise(fragments)
        if abs(before.start_us + before.duration_us - after.start_us) > _JOIN_US
        and abs(before.show_end_us - after.show_start_us) <= _JOIN_US
    ]


def _counted(marks: Sequence[FrameMark]) -> Counter[int]:
    return Counter(mark.decode_number for mark in marks)


async def _sent(
    control: ControlClient, camera: str, marks: Sequence[FrameMark]
) -> dict[int, dict[str, Any]]:
    numbers = [mark.decode_number for mark in marks]
    return await proof.expected_frames(control, camera, min(numbers), max(numbers))
