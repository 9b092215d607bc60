"""What the order of presentation tells: steps of the camera's clock, and frames that are missing.

Frames come in decode order. B-frames are presented before frames that came before them, so a
timestamp behind the latest may be a B-frame, or the first after the camera's clock was set back.
The two are told apart here, and both sides matter: followed, a clock that was set back would show
the pictures of two moments in turn; taken for a clock, every B-frame would end a run.

1. A frame behind by no more than jitter (`Limits.jitter_ticks`), or by less than half of the usual
   distance between frames where nothing is to be reordered, keeps its place: no B-frame is so near.
2. Else a frame may be overtaken by as many as the parameter sets say: those in the VUI or the SPS,
   or, where they say nothing, what the buffer of a decoder of that level holds (H.264 E.2.1). Of
   a stream that has shown no B-frame for long the first one follows the frame before the latest
   (fields may have timestamps of their own: the latest frame is then two of them). An IDR or
   IRAP picture is overtaken by none.
3. Overtaken by more it is a B-frame all the same when it fills a hole that the latest frame left
   by leaping ahead: there are cameras that declare no B-frames and send them. A clock that was
   set back leads among frames that are there. Where the latest is the first of its run nothing
   came before it to tell, and it may be late by some frames: cameras stamp key frames when they are
   done with them.
4. What is left is a clock that was set back. A stream for which that is so in run after run, before
   any of them has seen its second key frame, does not mean what it declares: from then on only
   `Limits.backward_ticks` holds, as if nobody knew anything about it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from enum import Enum, auto
from itertools import pairwise
from typing import Final

from vigie.media import h264
from vigie.media.codec import MEDIA_TIMESCALE, SequenceInfo, VideoCodec
from vigie.media.gop import Gop

_WINDOW: Final = 40  # frames that are looked at: more than decoders hold back, and a few
_MOST_FRAMES: Final = 16  # that a decoder may be asked to hold back, in both codecs
_STRIKES: Final = 3
_LATE_STEPS: Final = 2  # by which the second frame of a run may be behind the first
_USUAL_STEP: Final = MEDIA_TIMESCALE // 15  # where the stream says nothing of its rate
# Macroblocks that the decoded picture buffer holds, by level_idc (H.264 table A-1).
_BUFFER_MACROBLOCKS: Final = {
    9: 396, 10: 396, 11: 900, 12: 2376, 13: 2376, 20: 2376, 21: 4752, 22: 8100, 30: 8100,
    31: 18_000, 32: 20_480, 40: 32_768, 41: 32_768, 42: 34_816, 50: 110_400, 51: 184_320,
    52: 184_320, 60: 696_320, 61: 696_320, 62: 696_320,
}  # fmt: skip


class StepBack(Enum):
    """What a frame behind the latest one is."""

    REORDERED = auto()
    JITTER = auto()
    CLOCK_SET_BACK = auto()


class Reordering:
    """Follows the timestamps of one stream.

    Args:
        jitter_ticks: see `vigie.media.gop.Limits`.
    """

    __slots__ = ("_before", "_is_unreliable", "_jitter_ticks", "_shown", "_strikes")

    def __init__(self, jitter_ticks: int) -> None:
        self._jitter_ticks = jitter_ticks
        self._before: list[int] = []  # the last timestamps of the run before the open group
        self._shown = 0  # frames that overtook one, more than were declared
        self._strikes = 0
        self._is_unreliable = False

    def opened(self, before: Gop | None) -> None:
        """A group begins behind ``before``, which is of its run, or begins a run."""
        if before is None:
            self._before = []
        else:
            self._before = (self._before + before.timestamps[-_WINDOW:])[-_WINDOW:]

    def judge(self, gop: Gop, timestamp: int, behind: int, *, key: bool) -> StepBack:
        """What a frame of ``gop`` is that is presented ``behind`` ticks before the latest.

        ``key``: it is one before which all frames are presented that came before it.
        """
        if behind <= self._jitter_ticks:
            return StepBack.JITTER
        if self._is_unreliable:
            return StepBack.REORDERED
        recent = gop.timestamps[-_WINDOW:]
        if len(recent) < _WINDOW:
            recent = self._before[len(recent) - _WINDOW :] + recent
        order = sorted(recent)
        overtaken = len(order) - bisect_right(order, timestamp)
        if not key and self._may_be_overtaken(gop, overtaken):
            is_plain = len(recent) == _WINDOW and recent == order
            if not is_plain or timestamp > order[_begin_of_latest(gop, recent) - 1]:
                return StepBack.REORDERED
        known = sorted(recent[: _begin_of_latest(gop, recent)])
        usual = self._usual_step(known)
        if usual is not None and 2 * behind < usual:
            return StepBack.JITTER
        if not key and (
            self._fills_a_hole(timestamp, order, known, usual)
            if known
            else _is_behind_a_late_one(gop, timestamp, behind)
        ):
            return StepBack.REORDERED
        return self._strike(gop)

    def _fills_a_hole(
        self, timestamp: int, order: Sequence[int], known: Sequence[int], usual: int | None
    ) -> bool:
        """Whether the latest frame left one, leaping ahead of ``known``, where this one belongs."""
        at = bisect_left(order, timestamp)
        if timestamp <= known[-1] or timestamp >= order[at]:
            return False
        hole = order[at] - order[at - 1]
        fills = usual is None or 2 * hole > 3 * usual
        if fills:
            self._shown = len(order) - at
        return fills

    def _may_be_overtaken(self, gop: Gop, overtaken: int) -> bool:
        if overtaken <= self._shown:
            return True
        return overtaken <= most_overtaking(gop.parameters.configuration.info)

    def _strike(self, gop: Gop) -> StepBack:
        self._strikes = self._strikes + 1 if gop.starts_run else 1
        self._is_unreliable = self._strikes >= _STRIKES
        return StepBack.REORDERED if self._is_unreliable else StepBack.CLOCK_SET_BACK

    def whole_frames(self, gop: Gop) -> int:
        """How many frames of a group that ends too early can be shown without a hole.

        The frame that is presented last came before those that are presented just before it.
        Where they have not all come, it and what follows it in decode order has to go; nothing
        that stays refers to it. Streams that do not reorder keep all.
        """
        timestamps = gop.timestamps
        if not timestamps:
            return 0
        latest = max(timestamps)
        at, last = _begin_of_latest(gop, timestamps), timestamps.index(latest)
        before = timestamps[max(0, at - _WINDOW) : at]
        if len(before) < _WINDOW:
            before = self._before[len(before) - _WINDOW :] + before
        if not before:
            return len(timestamps)
        info = gop.parameters.configuration.info
        known = sorted(before)
        after = [ticks for ticks in timestamps[last + 1 :] if ticks < latest]
        if not after and before == known:
            # None of these is a B-frame: is one to be expected in this stream?
            may_follow = self._shown > 0 or info.reorder_frames != 0
            if not may_follow or len(before) > _MOST_FRAMES:
                return len(timestamps)
        usual = self._usual_step(known) or _declared_step(info)
        if usual is None:
            return at  # nothing to measure by: the first frames of a run, their rate untold
        shown = sorted((known[-1], *after, *timestamps[at : last + 1]))
        steps = [b - a for a, b in pairwise(shown)]
        # Two of one time: the clock was set back by so little that it could be reordering.
        is_doubled = min(steps) <= self._jitter_ticks and not info.fields
        return at if is_doubled or 2 * max(steps) > 3 * usual else len(timestamps)

    def _usual_step(self, order: Sequence[int]) -> int | None:
        """The usual distance between neighbours of ``order``, which ascends."""
        steps = sorted(b - a for a, b in pairwise(order) if b - a > self._jitter_ticks)
        return steps[len(steps) // 2] if steps else None


def _begin_of_latest(gop: Gop, timestamps: Sequence[int]) -> int:
    """Where the frame that is presented last begins: before it came, one knew what is before.

    ``timestamps`` are the last ones of ``gop``, perhaps with some of before.
    """
    latest = max(timestamps)
    at = timestamps.index(latest)
    second = at + len(gop.timestamps) - len(timestamps)
    if second < 1 or not gop.parameters.configuration.info.fields:
        return at
    is_next = timestamps[at - 1] == max(ticks for ticks in timestamps if ticks < latest)
    return at - 1 if is_next and _is_second_field(gop, second) else at


def _is_behind_a_late_one(gop: Gop, timestamp: int, behind: int) -> bool:
    """Whether a run's first frame, the latest, may be late; what follows it goes on in order."""
    step = _declared_step(gop.parameters.configuration.info) or _USUAL_STEP
    after = [ticks for ticks in gop.timestamps if ticks < timestamp + behind]
    return behind <= _LATE_STEPS * step and all(timestamp > ticks for ticks in after)


def _is_second_field(gop: Gop, at: int) -> bool:
    """Whether a sample is a field that makes one frame with the sample before it."""
    if gop.codec is VideoCodec.H265:
        return True  # field_seq_flag: all are fields
    sps = h264.parse_sps(gop.parameters.sps[0])
    one, other = (h264.field_of(gop.frames[place], sps) for place in (at - 1, at))
    if one is None or other is None:
        return False
    return one.frame_number == other.frame_number and one.is_bottom != other.is_bottom


def most_overtaking(info: SequenceInfo) -> int:
    """How many access units may precede one in decode order and follow it in output."""
    frames = info.reorder_frames
    if frames is None:
        macroblocks = -(-info.width // 16) * -(-info.height // 16)
        held = _BUFFER_MACROBLOCKS.get(info.level, _MOST_FRAMES * macroblocks) // macroblocks
        # Levels that are too low for the picture are common.
        frames = min(max(1, held), _MOST_FRAMES)
    return 2 * frames + 1 if info.fields else frames


def _declared_step(info: SequenceInfo) -> int | None:
    duration = info.frame_duration
    return None if duration is None else max(1, round(duration * MEDIA_TIMESCALE))
