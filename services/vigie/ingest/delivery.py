"""From frames to sink, for every engine: groups, live frames, the camera's clock, losses."""

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import Final, Protocol

from vigie.ingest.engine import (
    CodecParameters,
    EndCause,
    FrameGroup,
    LiveFrames,
    SenderReport,
    SessionSink,
)
from vigie.media.gop import Discontinuity, DiscontinuityReason, Gop, ReceptionStatistics
from vigie.media.parameters import ParameterSets

_OFFSET_STEP_US: Final = 500
_MAX_REORDER: Final = 16
_CAUSES: Final = {
    DiscontinuityReason.TIMESTAMP_JUMP: EndCause.CLOCK_JUMP,
    DiscontinuityReason.PAYLOAD_UNSUPPORTED: EndCause.STREAM_UNSUPPORTED,
    DiscontinuityReason.ACCESS_UNIT_TOO_LARGE: EndCause.STREAM_UNSUPPORTED,
    DiscontinuityReason.GOP_TOO_LARGE: EndCause.STREAM_UNSUPPORTED,
    DiscontinuityReason.PARAMETER_SETS_MISSING: EndCause.STREAM_UNSUPPORTED,
    DiscontinuityReason.PARAMETER_SETS_MALFORMED: EndCause.STREAM_UNSUPPORTED,
}
# Of these a stream recovers by itself at the next key frame.
_HARMLESS: Final = frozenset(
    {
        DiscontinuityReason.PACKETS_LOST,
        DiscontinuityReason.SEQUENCE_RESTARTED,
        DiscontinuityReason.SOURCE_CHANGED,
        DiscontinuityReason.TIMESTAMP_JUMP,
    }
)

# What a camera does that is not read from: it leaves frames out, or parts of them.
_NOT_WAITED_FOR: Final = frozenset(
    {DiscontinuityReason.PACKETS_LOST, DiscontinuityReason.TIMESTAMP_JUMP}
)


class ArrivalClock:
    """Wall-clock times of arrivals that were noted on the monotonic clock.

    One clock is stamped on each frame, the difference to the other noted when it changes; so a
    frame costs one number, and a jump of the wall clock is seen between the right frames.
    """

    __slots__ = ("_offsets",)

    def __init__(self) -> None:
        self._offsets: list[tuple[int, int]] = []

    def note(self, wall_us: int, monotonic_us: int) -> None:
        """Both clocks, read together."""
        offset = wall_us - monotonic_us
        if not self._offsets or abs(offset - self._offsets[-1][1]) >= _OFFSET_STEP_US:
            self._offsets.append((monotonic_us, offset))

    def to_wall(self, arrivals_us: Sequence[int]) -> list[int]:
        """Wall-clock times of monotonic arrivals, which ascend; forgets what is older than they."""
        offsets = self._offsets
        if len(offsets) == 1 or offsets[-1][0] <= arrivals_us[0]:
            del offsets[:-1]
            offset = offsets[0][1]
            return [arrival + offset for arrival in arrivals_us]
        walls, index = [], 0
        for arrival in arrivals_us:
            while index + 1 < len(offsets) and offsets[index + 1][0] <= arrival:
                index += 1
            walls.append(arrival + offsets[index][1])
        del offsets[:index]
        return walls


def reorder_depth(ticks: Sequence[int]) -> int:
    """How many frames precede one in decode order and follow it in presentation, at most.

    Never more than a decoder may be asked to hold back (16 frames in both codecs): a camera whose
    clock runs backwards would otherwise cost the square of its frames.
    """
    highest: list[int] = []  # the latest presentation times so far, ascending
    depth = 0
    for tick in ticks:
        later = len(highest) - bisect_right(highest, tick)
        depth = max(depth, later)
        insort(highest, tick)
        del highest[:-_MAX_REORDER]
    return depth


def codec_parameters(sets: ParameterSets, ticks: Sequence[int]) -> CodecParameters:
    """What a sink is told; ``ticks`` of the first group help where the VUI says nothing."""
    configuration = sets.configuration
    declared = configuration.info.reorder_frames
    return CodecParameters(
        codec=sets.codec.value,
        codec_string=configuration.codec_string,
        parameter_sets=(*sets.vps, *sets.sps, *sets.pps),
        width=configuration.width,
        height=configuration.height,
        reorder_depth=reorder_depth(ticks) if declared is None else declared,
    )


class FrameReader(Protocol):
    """What makes key-frame intervals of received bytes (`vigie.media.depacketize`)."""

    @property
    def statistics(self) -> ReceptionStatistics:
        """Counters since the stream began."""
        ...

    @property
    def gop(self) -> Gop | None:
        """The group under way."""
        ...

    def take(self) -> list[Gop | Discontinuity]:
        """What was finished since the last call, in order."""
        ...

    def flush(self) -> None:
        """The stream ended."""
        ...


class Delivery:
    """Hands the media of one session to its sink.

    Args:
        reader: where groups come from.
        sink: where they go.
    """

    def __init__(self, reader: FrameReader, sink: SessionSink) -> None:
        self._reader = reader
        self._sink = sink
        self._clock = ArrivalClock()
        self._announced_sets: ParameterSets | None = None
        self._described: tuple[ParameterSets, CodecParameters, bool] | None = None
        self._open: Gop | None = None  # seen growing, not delivered yet
        self._live: Gop | None = None  # being shown live
        self._live_frames = 0
        self._last_ticks: int | None = None
        self._report: tuple[int, int, int] | None = None
        self._frames = self._bytes = 0
        self.is_foreign = False
        """Whether what came last could not be read as what was announced."""
        self.is_behind = False
        """Whether what comes has waited for this process: what is lost of it is our doing."""

    def note_time(self, wall_us: int, monotonic_us: int) -> None:
        """Both clocks at this tick, before anything is pushed."""
        self._clock.note(wall_us, monotonic_us)

    def deliver(self, wall_us: int) -> int:
        """Hand over what has been finished; the number of new frames."""
        items = self._reader.take()
        for item in items:
            if isinstance(item, Gop):
                self._finish_group(item, wall_us)
            else:
                self._lose(item, wall_us)
        gop = self._reader.gop
        if gop is not None and len(gop):
            self._watch_open(gop, wall_us)
        elif self._live is not None and not self._sink.wants_frames:
            self._live = None
        frames = self._count(wall_us)
        if frames > 0 and not items:  # frames of a tick with a loss may be from before it
            self.is_foreign = False
        return frames

    def finish(self, wall_us: int) -> None:
        """The stream is over: deliver the whole frames of the last group."""
        self._reader.flush()
        self.deliver(wall_us)

    def _finish_group(self, gop: Gop, wall_us: int) -> None:
        self._describe(gop, whole=True)
        self._announce(gop)
        if self._sink.wants_frames and self._live is gop:
            self._show(gop, wall_us)
        if self._open is gop:
            self._open = None
        if self._live is gop:
            self._live = None
        self._last_ticks = gop.timestamps[-1]
        self._tell_camera_clock()
        self._sink.group(
            FrameGroup(
                frames=gop.frames,
                size_bytes=gop.size_bytes,
                presentation_ticks=gop.timestamps,
                next_ticks=gop.end_timestamp,
                arrival_us=self._clock.to_wall(gop.arrivals_us),
                arrival_monotonic_us=gop.arrivals_us,
            )
        )

    def _watch_open(self, gop: Gop, wall_us: int) -> None:
        """The group under way: say its parameters early, show its frames to viewers."""
        if self._open is None or self._open is gop or gop.parameters == self._announced_sets:
            # Otherwise the group before, which has other parameters, is still held back.
            self._open = gop
            if gop.parameters.configuration.info.reorder_frames is not None:
                self._announce(gop)  # else the frames of the whole group must tell the order
        if self._last_ticks is None:
            self._last_ticks = gop.timestamps[0]
            self._tell_camera_clock()
        if self._sink.wants_frames:
            self._show(gop, wall_us)
        else:
            self._live = None

    def _announce(self, gop: Gop) -> None:
        if gop.parameters != self._announced_sets:
            self._announced_sets = gop.parameters
            self._sink.parameters(self._parameters_of(gop))

    def _parameters_of(self, gop: Gop) -> CodecParameters:
        if self._described is None or self._described[0] != gop.parameters:
            self._describe(gop, whole=False)
        assert self._described is not None
        return self._described[1]

    def _describe(self, gop: Gop, *, whole: bool) -> None:
        """Make what sinks are told; again where a whole first group shows another order."""
        known = self._described
        if known is not None and known[0] == gop.parameters and known[2]:
            return
        parameters = codec_parameters(gop.parameters, gop.timestamps)
        if known is not None and known[1] == parameters:
            parameters = known[1]
        self._described = (gop.parameters, parameters, whole)

    def _show(self, gop: Gop, wall_us: int) -> None:
        if self._live is not gop:
            self._live, self._live_frames = gop, 0
        first, count = self._live_frames, len(gop)
        if first >= count:
            return
        new = gop.frames[first:]
        frames = LiveFrames(
            data=b"".join(new),
            sizes=[len(frame) for frame in new],
            presentation_ticks=gop.timestamps[first:],
            key_frame=first == 0,
            arrival_us=wall_us,
            parameters=self._parameters_of(gop),
        )
        self._live_frames = count
        self._sink.frames(frames)

    def _lose(self, loss: Discontinuity, wall_us: int) -> None:
        cause = _CAUSES.get(loss.reason, EndCause.PACKETS_LOST)
        if self.is_behind and loss.reason in _NOT_WAITED_FOR:
            cause = EndCause.INGEST_DOWN
        count = f", {loss.packets} packets" if loss.packets else ""
        self.is_foreign = loss.reason not in _HARMLESS
        self._open = self._live = None
        self._sink.lost(cause, f"{loss.reason.value}{count}: {loss.detail}", wall_us)

    def _count(self, wall_us: int) -> int:
        counters = self._reader.statistics
        frames, size = counters.frames - self._frames, counters.payload_bytes - self._bytes
        if frames or size:
            self._frames, self._bytes = counters.frames, counters.payload_bytes
            self._sink.received(max(frames, 0), size, wall_us)
        return frames

    # --- the camera's clock --------------------------------------------------------------------

    def camera_clock(self, camera_us: int, timestamp: int, wall_us: int) -> None:
        """The camera says that it was ``camera_us`` at RTP time ``timestamp`` (32 bits)."""
        self._report = (camera_us, timestamp, wall_us)
        self._tell_camera_clock()

    def _tell_camera_clock(self) -> None:
        if self._report is None or self._last_ticks is None:
            return
        camera_us, timestamp, wall_us = self._report
        self._report = None
        step = (timestamp - self._last_ticks) & 0xFFFFFFFF
        ticks = self._last_ticks + (step - (1 << 32) if step >= 1 << 31 else step)
        self._sink.sender_report(SenderReport(camera_us, ticks, wall_us))
