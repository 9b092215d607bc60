"""The time model: when was a frame of a run, on the receiver's clock (``docs/design/time.md``).

A camera's RTP timestamps say how far frames are apart, the arrivals say when they were. Arrivals
are late by an unknown, varying delay, never early: so *the least delayed frame wins*. For each
frame, *arrival - media time* is the start of the run plus a delay; the least value of a stretch is
the best estimate of the start as that stretch sees it. The first segment fixes the start of the
run; each later segment moves its end towards what its last stretch says, by at most 500 ppm.
Nothing that was closed is ever changed, and each segment starts where the one before ends.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from vigie.ingest.engine import TIMESCALE, FrameGroup

MAX_SLEW_PPM: Final = 500
"""Wall and media duration of a segment differ by at most this."""
MAX_LATER_PPM: Final = 250
"""... and by at most this when the segment is stretched: a late stretch is more often a slow
network, which passes, than a slow camera; crystals are within 100 ppm, so 250 still follows."""
JUMP_US: Final = 1_050_000
"""A wall clock that moves by more against the monotonic one has been set. A leap second that is
stepped is one second, and the error of both readings."""
EARLY_US: Final = 1_050_000
"""Frames cannot come before they were taken: earlier by more, the camera's timestamps jumped."""
LATE_US: Final = 10_000_000
"""Frames later by more are counted from somewhere else."""
LASTING_LATE_US: Final = 2_000_000
LASTING_SECONDS: Final = 30
"""Frames all later by `LASTING_LATE_US` for this long: a jump back too small to be seen at once."""
START_WINDOW_US: Final = 30_000_000
"""Only what is this near to the start of a run fixes it, so that drift (200 ppm: 6 ms) does not."""
RECENT_WINDOW_US: Final = 10_000_000
"""The stretch that the end of a segment is steered by."""

START_UP_US: Final = 5_000_000
"""A camera may hold its first frames back (a slow start, a cached key-frame interval) and catch up;
so early in a run, frames that come sooner than those before are believed."""

_PPM: Final = 1_000_000
_KEPT_SEGMENTS: Final = 8
# 1 tick is 100/9 us: counted in ninths of a microsecond, media time is exact.
_NINTHS: Final = 9
_NINTHS_PER_TICK: Final = 9 * 1_000_000 // TIMESCALE


def ticks_to_us(ticks: int) -> int:
    """Media ticks as microseconds, to the nearest."""
    return (ticks * _NINTHS_PER_TICK + _NINTHS // 2) // _NINTHS


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What one group has told: where it begins and ends, and its least delayed frame."""

    start_us: int
    end_us: int
    offset_us: int
    """Least *arrival - media time*: what the group takes the start of the run for."""


@dataclass(frozen=True, slots=True)
class _Closed:
    media_start: int
    media_end: int
    start_us: int
    duration_us: int


class RunClock:
    """The wall clock of one run.

    Media time counts from the lowest presentation time of the run's first group.

    Args:
        start_us: the start when it is known exactly (the run before ends there without a break);
            None: the least delayed frame fixes it.
        not_before_us: the start is not put before this, so that runs do not overlap.
    """

    def __init__(self, *, start_us: int | None = None, not_before_us: int | None = None) -> None:
        self._is_start_known = start_us is not None
        self._start_us = start_us
        self._not_before_us = not_before_us
        self._recent: deque[_Stretch] = deque()
        self._closed: deque[_Closed] = deque(maxlen=_KEPT_SEGMENTS)
        self._clock_offset_us: int | None = None
        self._late_since_us: int | None = None

    def observe(self, group: FrameGroup, media_ticks: int) -> bool:
        """Learn from the arrivals of a group.

        Args:
            group: at least one frame.
            media_ticks: media time of the group's lowest presentation time.

        Returns:
            False, and nothing is learnt, when a clock jumped: the run ends before this group.
        """
        first_offset = group.arrival_us[0] - group.arrival_monotonic_us[0]
        last_offset = group.arrival_us[-1] - group.arrival_monotonic_us[-1]
        known = self._clock_offset_us
        if known is None:
            begin = _after_jump(group) if abs(last_offset - first_offset) > JUMP_US else 0
        elif max(abs(first_offset - known), abs(last_offset - known)) > JUMP_US:
            return False
        else:
            begin = 0
        stretch = _read(group, media_ticks, begin)
        if not self._is_plausible(stretch):
            return False
        self._clock_offset_us = last_offset
        self._learn(stretch)
        return True

    def estimate_us(self, media_ticks: int) -> int:
        """Best present estimate of an instant; exact within what is closed (and remembered)."""
        if not self._closed:
            return (self._start_us or self._not_before_us or 0) + ticks_to_us(media_ticks)
        for segment in reversed(self._closed):
            if segment.media_start <= media_ticks <= segment.media_end:
                length = segment.media_end - segment.media_start
                passed = media_ticks - segment.media_start
                return segment.start_us + (passed * segment.duration_us + length // 2) // length
        last, first = self._closed[-1], self._closed[0]
        if media_ticks > last.media_end:
            return last.start_us + last.duration_us + ticks_to_us(media_ticks - last.media_end)
        return first.start_us - ticks_to_us(first.media_start - media_ticks)

    def close(self, media_end_ticks: int) -> tuple[int, int]:
        """Fix the time of the segment that ends there, for good.

        Returns:
            Start and duration in microseconds; the start is the end of the segment before.

        Raises:
            ValueError: the segment would be empty, or no group was observed.
        """
        media_start = self._closed[-1].media_end if self._closed else 0
        if media_end_ticks <= media_start:
            raise ValueError(f"no media between {media_start} and {media_end_ticks} ticks")
        if self._start_us is None or not self._recent:
            raise ValueError("no group was observed")
        if self._closed:
            start_us = self._closed[-1].start_us + self._closed[-1].duration_us
        else:
            start_us = self._start_us
        media_us = ticks_to_us(media_end_ticks) - ticks_to_us(media_start)
        wanted_us = self._offset_us() + ticks_to_us(media_end_ticks) - start_us
        shorter_us = media_us * MAX_SLEW_PPM // _PPM
        longer_us = media_us * MAX_LATER_PPM // _PPM
        duration_us = max(min(wanted_us, media_us + longer_us), media_us - shorter_us, 1)
        self._closed.append(_Closed(media_start, media_end_ticks, start_us, duration_us))
        return start_us, duration_us

    # --- inside --------------------------------------------------------------------------------

    def _offset_us(self) -> int:
        """The start of the run as the last stretch sees it."""
        return min(stretch.offset_us for stretch in self._recent)

    def _expected_us(self) -> int | None:
        """The start of the run as the times given so far imply it."""
        if self._closed:
            last = self._closed[-1]
            return last.start_us + last.duration_us - ticks_to_us(last.media_end)
        if self._is_start_known or self._recent:
            return self._start_us
        return None

    def _is_plausible(self, stretch: _Stretch) -> bool:
        expected_us = self._expected_us()
        if expected_us is None:
            return True
        late_us = stretch.offset_us - expected_us
        if late_us > LATE_US or late_us < -LATE_US:
            return False
        if late_us < -EARLY_US:
            return self._may_be_early(stretch)
        if late_us <= LASTING_LATE_US:
            return True
        since_us = self._late_since_us
        return since_us is None or stretch.end_us - since_us < LASTING_SECONDS * _PPM

    def _may_be_early(self, stretch: _Stretch) -> bool:
        """Whether the start is not sure enough to hold it against the frames."""
        if self._closed or self._is_start_known:
            return False
        # A start put later than measured, because runs must not overlap, is no measure either.
        return self._start_us == self._not_before_us or stretch.start_us < START_UP_US

    def _learn(self, stretch: _Stretch) -> None:
        expected_us = self._expected_us()
        if expected_us is None or stretch.offset_us - expected_us <= LASTING_LATE_US:
            self._late_since_us = None
        elif self._late_since_us is None:
            self._late_since_us = stretch.start_us
        self._recent.append(stretch)
        horizon_us = stretch.end_us - RECENT_WINDOW_US
        while len(self._recent) > 1 and self._recent[0].end_us < horizon_us:
            self._recent.popleft()
        if not self._closed and not self._is_start_known:
            if self._start_us is None:
                self._start_us = stretch.offset_us
            elif stretch.start_us < START_WINDOW_US:
                self._start_us = min(self._start_us, stretch.offset_us)
            if self._not_before_us is not None:
                self._start_us = max(self._start_us, self._not_before_us)


def _after_jump(group: FrameGroup) -> int:
    """The first frame that came after the last time the wall clock was set."""
    offsets = [
        wall - monotonic
        for wall, monotonic in zip(group.arrival_us, group.arrival_monotonic_us, strict=True)
    ]
    last = offsets[-1]
    return next(
        index + 1
        for index in range(len(offsets) - 2, -1, -1)
        if abs(offsets[index] - last) > JUMP_US
    )


def _read(group: FrameGroup, media_ticks: int, begin: int) -> _Stretch:
    ticks = group.presentation_ticks
    # Presentation time of the run's media time 0; frames of open groups precede their key frame.
    origin = min(ticks) - media_ticks
    least = min(
        arrival * _NINTHS - (tick - origin) * _NINTHS_PER_TICK
        for arrival, tick in zip(group.arrival_us[begin:], ticks[begin:], strict=True)
    )
    end_ticks = max(ticks) - origin
    return _Stretch(ticks_to_us(media_ticks), ticks_to_us(end_ticks), least // _NINTHS)
