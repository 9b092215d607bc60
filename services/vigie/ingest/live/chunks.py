"""Frames of one tick as a CMAF chunk; made once, however many watch."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from vigie.ingest.engine import TIMESCALE, CodecParameters, LiveFrames
from vigie.ingest.recorder.media import parameter_sets
from vigie.ingest.v1.live_pb2 import LiveChunk, WatchLiveResponse
from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import build_header, content_type
from vigie.media.timing import SampleTable

PART_BYTES: Final = 1_000_000
"""A message stays below 1 MiB."""
_DEFAULT_DURATION: Final = TIMESCALE // 25
_MAX_DURATION: Final = 10 * TIMESCALE


@dataclass(frozen=True, slots=True)
class LiveInit:
    """What chunks are decoded with.

    Attributes:
        data: ``ftyp`` and ``moov``.
        content_type: MIME type.
        parameters: of the codec.
    """

    data: bytes
    content_type: str
    parameters: CodecParameters


@dataclass(frozen=True)
class Chunk:
    """One CMAF chunk: ``moof`` and ``mdat``.

    Attributes:
        init: what it is decoded with.
        data: the bytes.
        key_frame: whether it starts with a key frame.
        sample_count: frames.
        decode_time_ticks: of its first frame.
        duration_ticks: of all frames.
        arrival_us: wall clock of the tick.
    """

    init: LiveInit
    data: bytes
    key_frame: bool
    sample_count: int
    decode_time_ticks: int
    duration_ticks: int
    arrival_us: int

    @cached_property
    def messages(self) -> tuple[WatchLiveResponse, ...]:
        """As viewers are sent it, made once for all of them; must not be changed.

        One message, or several for a chunk of 1 MiB and more.
        """
        return tuple(
            WatchLiveResponse(
                chunk=LiveChunk(
                    data=self.data[start : start + PART_BYTES],
                    key_frame=self.key_frame,
                    more=start + PART_BYTES < len(self.data),
                    sample_count=self.sample_count,
                    decode_time_ticks=self.decode_time_ticks,
                    arrival_us=self.arrival_us,
                )
            )
            for start in range(0, len(self.data), PART_BYTES)
        )


class Chunker:
    """Makes the chunks of one camera.

    Decode times must rise and may not wait for frames that have not come yet. Without B-frames
    they are the presentation times. With them they count from the key frame in steps of the
    measured frame duration, and every composition offset is raised by the delay that the
    parameter sets declare, which an edit list takes off again (as in recorded runs). A key frame
    more than ten seconds off begins a timeline of its own, with an init of its own.
    """

    def __init__(self) -> None:
        self._init: LiveInit | None = None
        self._delay = 0
        self._origin = 0
        self._next = 0
        self._sequence = 0
        self._frame_ticks = _DEFAULT_DURATION

    def chunk(self, frames: LiveFrames) -> Chunk | None:
        """The chunk of a tick; ``None`` before the first key frame, or without a frame.

        Raises:
            ValueError, vigie.media.errors.MediaError: a codec that cannot be shown.
        """
        if not frames.sizes:
            return None
        if self._init is None or self._init.parameters != frames.parameters:
            if not frames.key_frame:
                return None
            self._begin(frames)
        elif frames.key_frame and self._is_apart(frames):
            self._begin(frames)
        assert self._init is not None
        times = self._decode_times(frames)
        durations = [after - at for at, after in pairwise(times)]
        durations.append(self._frame_ticks)
        self._next = times[-1] + 1
        offsets = [
            ticks - self._origin - at + self._delay
            for ticks, at in zip(frames.presentation_ticks, times, strict=True)
        ]
        sync = [frames.key_frame, *[False] * (len(times) - 1)]
        table = SampleTable(durations, list(frames.sizes), offsets, sync)
        self._sequence += 1
        return Chunk(
            init=self._init,
            data=build_fragment(table, self._sequence, times[0]) + frames.data,
            key_frame=frames.key_frame,
            sample_count=len(times),
            decode_time_ticks=times[0],
            duration_ticks=sum(durations),
            arrival_us=frames.arrival_us,
        )

    def _is_apart(self, frames: LiveFrames) -> bool:
        """Whether the camera's clock has jumped: what follows is another timeline.

        On the old one, decode times would stand still until a clock set back had caught up, or
        leave composition offsets that a chunk cannot hold.
        """
        step = min(frames.presentation_ticks) - self._origin - self._next
        return not -_MAX_DURATION <= step <= _MAX_DURATION

    def _begin(self, frames: LiveFrames) -> None:
        parameters = frames.parameters
        configuration = parameter_sets(parameters).configuration
        nominal = configuration.info.frame_duration
        if nominal is not None and 0 < nominal <= 1:
            self._frame_ticks = max(1, round(nominal * TIMESCALE))
        else:
            self._frame_ticks = _measured(frames) or _DEFAULT_DURATION
        self._delay = parameters.reorder_depth * self._frame_ticks
        data = build_header(configuration, presentation_delay=self._delay)
        self._init = LiveInit(data, content_type(configuration), parameters)
        self._origin = min(frames.presentation_ticks)
        self._next = 0

    def _decode_times(self, frames: LiveFrames) -> list[int]:
        relative = [ticks - self._origin for ticks in frames.presentation_ticks]
        if self._delay:
            first = relative[0] if frames.key_frame else self._next + self._frame_ticks - 1
            wanted = [first + index * self._frame_ticks for index in range(len(relative))]
        else:
            wanted = relative
        times = []
        for at in wanted:
            # Whatever a camera's timestamps do, decode times rise.
            self._next = max(self._next, at)
            times.append(self._next)
            self._next += 1
        return times


def _measured(frames: LiveFrames) -> int:
    """The usual distance between frames, where there are enough of them."""
    order = sorted(frames.presentation_ticks)
    steps = sorted(after - at for at, after in pairwise(order))
    middle = steps[len(steps) // 2] if steps else 0
    return middle if 0 < middle <= _MAX_DURATION else 0
