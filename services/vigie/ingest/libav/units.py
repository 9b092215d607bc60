"""Packets of libav as access units: NAL units found, bytes kept, key-frame intervals built."""

from fractions import Fraction
from typing import Final

from vigie.ingest.engine import TIMESCALE
from vigie.media.access_unit import RULES
from vigie.media.annexb import nal_units
from vigie.media.codec import VideoCodec
from vigie.media.errors import MalformedMedia, MediaError
from vigie.media.gop import Discontinuity, DiscontinuityReason, Gop, Limits, ReceptionStatistics
from vigie.media.gop_builder import BadPayload, GopBuilder
from vigie.media.parameters import ParameterSetCollector, ParameterSets

_MASK: Final = 0xFFFFFFFF
_SHORT_START_CODE: Final = b"\0\0\1"
_START_CODE: Final = b"\0\0\0\1"


def announced_sets(codec: VideoCodec, extradata: bytes) -> ParameterSets | None:
    """The parameter sets of a stream's extradata, as avcC/hvcC or Annex B; None when unreadable."""
    if not extradata:
        return None
    try:
        if extradata[:1] == b"\1":
            return ParameterSets.from_configuration(codec, extradata)
        collector = ParameterSetCollector(codec)
        for nal in nal_units(extradata):
            collector.add(nal)
    except MediaError:
        return None  # they nearly always come in the stream, too; if not, that is said then
    return collector.current() if collector.changed else None


def length_size(codec: VideoCodec, extradata: bytes) -> int:
    """Bytes of the length before each NAL unit; 0 when they come as Annex B byte stream."""
    where = 4 if codec is VideoCodec.H264 else 21  # ISO/IEC 14496-15 clauses 5.3.3.1, 8.3.3.1
    if extradata[:1] != b"\1" or len(extradata) <= where:
        return 0
    return (extradata[where] & 3) + 1


class AccessUnitReader:
    """Makes key-frame intervals of whole access units; a `vigie.ingest.delivery.FrameReader`.

    Args:
        codec: of the stream.
        extradata: of the stream, as libav gives it.
        time_base: of the packets' time stamps, in seconds.
        limits: bounds.
    """

    def __init__(
        self, codec: VideoCodec, extradata: bytes, time_base: Fraction, limits: Limits
    ) -> None:
        self.statistics: Final = ReceptionStatistics()
        self._builder = GopBuilder(
            RULES[codec], announced_sets(codec, extradata), limits, self.statistics
        )
        self._length_size = length_size(codec, extradata)
        self._ticks_per_unit = time_base * TIMESCALE

    @property
    def gop(self) -> Gop | None:
        """The group under way."""
        return self._builder.gop

    def take(self) -> list[Gop | Discontinuity]:
        """What was finished since the last call, in order."""
        return self._builder.take()

    def flush(self) -> None:
        """The stream ended."""
        self._builder.flush()

    def timestamp(self, units: int) -> int:
        """A time stamp of the stream as 32 bits of 90 kHz, as RTP would have it."""
        return round(units * self._ticks_per_unit) & _MASK

    def push(self, data: bytes, units: int, arrival_us: int) -> None:
        """Take one access unit, presented at ``units`` of the time base."""
        self.statistics.packets += 1
        self.statistics.payload_bytes += len(data)
        builder = self._builder
        builder.set_timestamp(self.timestamp(units))
        try:
            with memoryview(data) as view:
                self._add_nals(data, view)
        except BadPayload as error:
            builder.break_off(error.reason, 0, error.detail)
            return
        except MalformedMedia as error:
            builder.break_off(DiscontinuityReason.PACKET_MALFORMED, 0, error.message)
            return
        if builder.has_picture:
            builder.finish_access_unit(arrival_us)

    def interrupt(self, reason: DiscontinuityReason, detail: str) -> None:
        """Something is missing before what comes next."""
        self._builder.break_off(reason, 0, detail)

    def _add_nals(self, data: bytes, view: memoryview) -> None:
        found = (
            prefixed_units(data, self._length_size)
            if self._length_size and not data.startswith((_SHORT_START_CODE, _START_CODE))
            else stream_units(data)
        )
        for start, end in found:
            if end > start:
                self._builder.add_nal(view, start, end)


def prefixed_units(data: bytes, size: int) -> list[tuple[int, int]]:
    """Where the NAL units lie that come behind their length.

    Raises:
        MalformedMedia: a length leads beyond the end.
    """
    found, position, end = [], 0, len(data)
    while position < end:
        start = position + size
        position = start + int.from_bytes(data[position:start], "big")
        if start > end or position > end:
            raise MalformedMedia("a NAL unit does not fit", start, "packet")
        found.append((start, position))
    return found


def stream_units(data: bytes) -> list[tuple[int, int]]:
    """Where the NAL units lie in an Annex B byte stream, zero bytes around them left out."""
    found: list[tuple[int, int]] = []
    start = data.find(_SHORT_START_CODE)
    while start >= 0:
        start += len(_SHORT_START_CODE)
        following = data.find(_SHORT_START_CODE, start)
        end = following if following >= 0 else len(data)
        # A NAL unit never ends with a zero byte (clause 7.4.1): those are of the byte stream.
        while end > start and data[end - 1] == 0:
            end -= 1
        found.append((start, end))
        start = following
    return found
