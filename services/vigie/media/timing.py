"""Decode times and durations of the samples of a run, from nothing but presentation times.

RTP timestamps are presentation times and frames come in decode order. An MP4 wants decode times
that rise, and the difference of both as composition offset. At the end of a key-frame interval
all its presentation times are known, so:

- The decode times of an interval are its presentation times in ascending order, so a frame may
  have to be shown before its decode time. Therefore a run has a constant ``presentation_delay``
  that is added to every composition offset and taken off again by an offset edit list in the
  header (media_time; CMAF brand cmfc, ISO/IEC 23000-19 clause 7.5.13). It is 0 without B-frames:
  no edit list, no composition offsets. In all cases *presentation time in the run = decode time
  + composition offset - presentation delay*, and the first frame of a closed GOP is shown at the
  base decode time of its fragment.
- The delay is fixed by the first interval: the most it needs, and not less than the reordering
  that the parameter sets declare. Should a later one need more, its offsets become negative,
  which version 1 of the track run box allows (ISO/IEC 14496-12 clause 8.8.8). (Offsets negative
  from the start would need no edit list, but libav then shows everything late by the largest of
  them: its ``dts_shift``.)
- An interval lasts until the lowest presentation time of the next one. With open GOPs that is
  the first leading picture, not the key frame. So durations are exact and sums telescope: the
  base decode time of each interval is the sum of all durations before it.
- Decode times rise strictly: a frame whose time repeats or goes back (two frames with one
  timestamp, intervals that interleave) is put one tick after the one before; its composition
  offset keeps the presentation time right.
- The last frame of a run lasts as long as the frame before it; alone, as the last frame of the
  interval before, as its parameter sets say, or 40 ms.
"""

from typing import Final, NamedTuple

from vigie.media.codec import MEDIA_TIMESCALE
from vigie.media.gop import Gop

_DEFAULT_DURATION: Final = MEDIA_TIMESCALE // 25


class SampleTable(NamedTuple):
    """Parallel lists, one entry a sample in decode order; times in ticks of the media timescale."""

    durations: list[int]
    sizes: list[int]
    composition_offsets: list[int]
    sync: list[bool]

    @property
    def duration(self) -> int:
        """Sum of all durations."""
        return sum(self.durations)

    @property
    def size_bytes(self) -> int:
        """Sum of all sizes."""
        return sum(self.sizes)


class TimedGop(NamedTuple):
    """A key-frame interval placed in its run.

    ``base_decode_time`` is 0 for the first of the run; ``key_time`` is the presentation time of
    its first sync sample (later than the base in open GOPs), for the random access table.
    """

    base_decode_time: int
    key_time: int
    table: SampleTable

    @property
    def end_decode_time(self) -> int:
        """Where the next interval of the run begins."""
        return self.base_decode_time + self.table.duration


class RunTimeline:
    """Places the intervals of one run one after the other; make a new one for each run."""

    __slots__ = ("_fallback", "_next", "_origin", "presentation_delay")

    def __init__(self) -> None:
        self._origin: int | None = None
        self.presentation_delay = 0
        self._next = 0
        self._fallback: int | None = None

    @property
    def origin_timestamp(self) -> int | None:
        """The unwrapped RTP timestamp of decode time 0, None before the first interval."""
        return self._origin

    def append(self, gop: Gop) -> TimedGop:
        """The sample table of the next interval; it must not be empty."""
        order = sorted(gop.timestamps)
        first = self._origin is None
        origin = order[0] if self._origin is None else self._origin
        self._origin = origin
        base = previous = self._next
        times = []
        for index, timestamp in enumerate(order):
            # The first stays where the interval before ended: the timeline has no holes.
            previous = max(timestamp - origin, previous + 1) if index else base
            times.append(previous)
        end = self._end(gop, origin, times)
        durations = [after - at for at, after in zip(times, [*times[1:], end], strict=True)]
        offsets = [at - origin - when for at, when in zip(gop.timestamps, times, strict=True)]
        if first:
            self.presentation_delay = _delay(gop, offsets, durations)
        if self.presentation_delay:
            offsets = [offset + self.presentation_delay for offset in offsets]
        self._next = end
        self._fallback = durations[-1]
        key = gop.timestamps[max(0, gop.sync.find(1))] - origin
        table = SampleTable(durations, gop.sizes(), offsets, [bool(flag) for flag in gop.sync])
        return TimedGop(base, key, table)

    def _end(self, gop: Gop, origin: int, times: list[int]) -> int:
        last = times[-1]
        if gop.end_timestamp is not None:
            return max(gop.end_timestamp - origin, last + 1)
        if len(times) > 1:
            return last + last - times[-2]
        return last + (self._fallback or _nominal_duration(gop))


def _delay(gop: Gop, offsets: list[int], durations: list[int]) -> int:
    """How much later than decoded the frames of a run must be shown, in ticks."""
    needed = -min(offsets)
    declared = gop.parameters.configuration.info.reorder_frames or 0
    typical = sorted(durations)[len(durations) // 2]
    # Streams that declare reordering but show none in a whole interval have no B-frames.
    return max(needed, declared * typical) if needed else 0


def _nominal_duration(gop: Gop) -> int:
    duration = gop.parameters.configuration.info.frame_duration
    if duration is None or not 0 < duration <= 1:
        return _DEFAULT_DURATION
    return max(1, round(duration * MEDIA_TIMESCALE))
