"""The boxes of a run: the seam between the recorder and the media format.

Encrypted recording (the annex's CENC and CBCS) comes in here: another `MediaWriter` whose header
carries the protection boxes and whose fragments carry encrypted samples. Everything after it
(spool, digests, upload, index) sees only bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from vigie.ingest.engine import CodecParameters, FrameGroup
from vigie.media import h264, h265
from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import build_header, content_type
from vigie.media.codec import VideoCodec
from vigie.media.gop import Gop
from vigie.media.parameters import ParameterSets
from vigie.media.timing import RunTimeline

_BOX_TYPE_OFFSET: Final = 4


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment to write: ``head`` (``prft``, ``moof``, header of ``mdat``), then the samples.

    Attributes:
        head: boxes before the samples.
        samples: as they are to be written.
        key_time: presentation time of the key frame in the run, for the index.
        moof_position: where ``moof`` begins in ``head``.
    """

    head: bytes
    samples: Sequence[bytes | bytearray]
    key_time: int
    moof_position: int


class MediaWriter(Protocol):
    """Makes the bytes of one run."""

    @property
    def header(self) -> bytes:
        """``ftyp`` and ``moov``, the same in every segment of the run.

        Known once the first fragment was made, whose frames tell the delay of presentation.
        """
        ...

    @property
    def content_type(self) -> str:
        """MIME type with the codecs parameter."""
        ...

    @property
    def end_ticks(self) -> int:
        """Media time after the last fragment; 0 at the start of the run."""
        ...

    @property
    def origin_ticks(self) -> int | None:
        """The presentation time, as received, that is media time 0; ``None`` at first."""
        ...

    def fragment(self, group: FrameGroup, *, wall_us: int) -> Fragment:
        """The fragment of a group that begins at ``wall_us``; moves `end_ticks`."""
        ...


MediaWriterFactory = Callable[[CodecParameters], MediaWriter]


def parameter_sets(parameters: CodecParameters) -> ParameterSets:
    """The parameter sets sorted by kind.

    Raises:
        ValueError: the codec is not one that is recorded.
    """
    codec = VideoCodec(parameters.codec)
    sets = parameters.parameter_sets
    if codec is VideoCodec.H264:
        kinds = [h264.nal_type(nal[0]) for nal in sets]
        wanted = (-1, h264.SPS, h264.PPS)
    else:
        kinds = [h265.nal_type(nal[0]) for nal in sets]
        wanted = (h265.VPS, h265.SPS, h265.PPS)
    groups = [
        tuple(nal for nal, kind in zip(sets, kinds, strict=True) if kind == want) for want in wanted
    ]
    return ParameterSets(codec, *groups)


class ClearMediaWriter:
    """Samples as received, not encrypted.

    Args:
        parameters: of the run.

    Raises:
        ValueError: the codec is not one that is recorded.
        vigie.media.errors.MediaError: the parameter sets cannot be read.
    """

    def __init__(self, parameters: CodecParameters) -> None:
        self._sets = parameter_sets(parameters)
        self._configuration = self._sets.configuration
        self._timeline = RunTimeline()
        self._end_ticks = 0
        self._sequence = 0
        self._header = b""

    @property
    def header(self) -> bytes:
        """See `MediaWriter.header`."""
        assert self._header
        return self._header

    @property
    def content_type(self) -> str:
        """See `MediaWriter.content_type`."""
        return content_type(self._configuration)

    @property
    def end_ticks(self) -> int:
        """See `MediaWriter.end_ticks`."""
        return self._end_ticks

    @property
    def origin_ticks(self) -> int | None:
        """See `MediaWriter.origin_ticks`."""
        return self._timeline.origin_timestamp

    def fragment(self, group: FrameGroup, *, wall_us: int) -> Fragment:
        """See `MediaWriter.fragment`."""
        timed = self._timeline.append(self._gop(group))
        if not self._header:
            delay = self._timeline.presentation_delay
            self._header = build_header(self._configuration, presentation_delay=delay)
        self._sequence += 1
        head = build_fragment(timed.table, self._sequence, timed.base_decode_time, wall_us=wall_us)
        self._end_ticks = timed.end_decode_time
        position = head.index(b"moof") - _BOX_TYPE_OFFSET
        return Fragment(head, group.frames, timed.key_time, position)

    def _gop(self, group: FrameGroup) -> Gop:
        return Gop(
            codec=self._sets.codec,
            parameters=self._sets,
            starts_run=False,
            frames=list(group.frames),
            timestamps=list(group.presentation_ticks),
            sync=bytearray([1]) + bytearray(len(group.frames) - 1),
            size_bytes=group.size_bytes,
            end_timestamp=group.next_ticks,
        )
