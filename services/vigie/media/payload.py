"""RTP payload formats: H.264 (RFC 6184) and H.265 (RFC 7798), without interleaving."""

from typing import Final, Protocol

from vigie.media import h264, h265
from vigie.media.access_unit import H264_RULES, H265_RULES, AccessUnitRules
from vigie.media.codec import VideoCodec
from vigie.media.gop import DiscontinuityReason
from vigie.media.gop_builder import BadPayload, GopBuilder

NO_FRAGMENT: Final = -1
_FIRST_SLICE: Final = 0x80
_FU_START: Final = 0x80
_FU_END: Final = 0x40
_FORBIDDEN: Final = 0x80

_STAP_A: Final = 24
_FU_A: Final = 28
_H264_REFUSED: Final = {25: "STAP-B", 26: "MTAP16", 27: "MTAP24", 29: "FU-B"}
_AP: Final = 48
_FU: Final = 49
_PACI: Final = 50
# One length field, then the NAL header of the first aggregated unit.
_LENGTH_SIZE: Final = 2


class PayloadReader(Protocol):
    """One codec's payload format.

    ``middle`` is the value of the first payload bytes, ``fragment_shift`` bits dropped from four,
    of a packet that carries the middle of the NAL unit under way; `NO_FRAGMENT` when none is.
    ``fragment_skip`` is where, from the start of a plain RTP packet, its NAL bytes begin.
    """

    middle: int
    fragment_shift: int
    fragment_skip: int

    def read(self, view: memoryview, start: int, end: int) -> None:
        """Take one payload. Raises BadPayload, MalformedMedia (parameter sets)."""

    def reset(self) -> None:
        """Forget the NAL unit under way."""

    def begins_access_unit(self, view: memoryview, start: int, end: int, *, fields: bool) -> bool:
        """Whether this payload, of the timestamp of a frame just finished, is another frame."""

    def starts_certainly(self, view: memoryview, start: int, end: int) -> bool:
        """Whether this payload is the first of its access unit beyond doubt."""


class _Common:
    """What both formats share: the peek at the first NAL unit of a payload."""

    def __init__(self, rules: AccessUnitRules, builder: GopBuilder) -> None:
        self._rules = rules
        self._builder = builder
        self.middle = NO_FRAGMENT

    def reset(self) -> None:
        self.middle = NO_FRAGMENT

    def begins_access_unit(self, view: memoryview, start: int, end: int, *, fields: bool) -> bool:
        kind, position = self._peek(view, start, end)
        if kind < 0:
            return False
        if 1 << kind & self._rules.prefix_mask:
            return True
        picture = bool(1 << kind & self._rules.picture_mask)
        first = position < end and bool(view[position] & _FIRST_SLICE)
        return picture and first and not fields

    def starts_certainly(self, view: memoryview, start: int, end: int) -> bool:
        kind, _ = self._peek(view, start, end)
        return kind >= 0 and bool(1 << kind & self._rules.opening_mask)

    def _peek(self, view: memoryview, start: int, end: int) -> tuple[int, int]:
        """Type of the first NAL unit (negative: the middle of one) and where its payload is."""
        raise NotImplementedError

    def _add_aggregated(self, view: memoryview, position: int, end: int, smallest: int) -> None:
        if position == end:
            raise _malformed("aggregation packet without a NAL unit")
        while position < end:
            if position + _LENGTH_SIZE > end:
                raise _malformed("aggregation packet cut short")
            size = view[position] << 8 | view[position + 1]
            position += _LENGTH_SIZE
            if size < smallest or position + size > end:
                raise _malformed(f"aggregated NAL unit of {size} bytes does not fit")
            self._builder.add_nal(view, position, position + size)
            position += size

    def _require_no_fragment(self) -> None:
        if self.middle != NO_FRAGMENT:
            raise _malformed("fragmented NAL unit without an end")

    def _go_on(self, flags: int, piece: memoryview) -> None:
        """More of the NAL unit under way."""
        builder = self._builder
        builder.data += piece
        if flags & _FU_END:
            self.middle = NO_FRAGMENT
            builder.close_nal()

    def _begin(self, flags: int, middle: int, header: bytes, piece: memoryview) -> None:
        """A fragment that does not go on with the NAL unit under way: it must begin another."""
        if not flags & _FU_START:
            raise _malformed("fragment without a beginning")
        self._require_no_fragment()
        self._builder.open_nal(header)
        self.middle = middle
        self._go_on(flags, piece)


class H264PayloadReader(_Common):
    """RFC 6184, packetization modes 0 and 1."""

    fragment_shift = 16
    fragment_skip = 14

    def read(self, view: memoryview, start: int, end: int) -> None:
        """Take one payload."""
        indicator = view[start]
        kind = indicator & 0x1F
        if indicator & _FORBIDDEN:
            raise _malformed("forbidden_zero_bit is set")
        if kind == _FU_A:
            if end - start < 3:  # noqa: PLR2004 - indicator, header and at least one byte
                raise _malformed("FU-A cut short")
            header = view[start + 1]
            inner = header & 0x1F
            middle = indicator << 8 | inner
            if middle == self.middle and not header & _FU_START:
                self._go_on(header, view[start + 2 : end])
                return
            if not 0 < inner < _STAP_A:
                raise _malformed(f"FU-A with NAL unit type {inner}")
            nal = bytes((indicator & 0x60 | inner,))
            self._begin(header, middle, nal, view[start + 2 : end])
            return
        self._require_no_fragment()
        if 0 < kind < _STAP_A:
            self._builder.add_nal(view, start, end)
        elif kind == _STAP_A:
            self._add_aggregated(view, start + 1, end, 1)
        else:
            name = _H264_REFUSED.get(kind, f"NAL unit type {kind}")
            raise BadPayload(DiscontinuityReason.PAYLOAD_UNSUPPORTED, f"H.264 {name}")

    def _peek(self, view: memoryview, start: int, end: int) -> tuple[int, int]:
        kind = view[start] & 0x1F
        if kind == _FU_A and end - start > 1:
            header = view[start + 1]
            return (header & 0x1F if header & _FU_START else -1), start + 2
        if kind == _STAP_A and end - start > 1 + _LENGTH_SIZE:
            position = start + 1 + _LENGTH_SIZE
            return h264.nal_type(view[position]), position + 1
        return kind, start + 1


class H265PayloadReader(_Common):
    """RFC 7798 without decoding order numbers (sprop-max-don-diff 0)."""

    fragment_shift = 8
    fragment_skip = 15

    def read(self, view: memoryview, start: int, end: int) -> None:
        """Take one payload."""
        if end - start < 3:  # noqa: PLR2004 - two header bytes and at least one more
            raise _malformed("NAL unit cut short")
        first = view[start]
        kind = h265.nal_type(first)
        if first & _FORBIDDEN:
            raise _malformed("forbidden_zero_bit is set")
        if kind == _FU:
            header = view[start + 2]
            inner = header & 0x3F
            if end - start < 4 or inner >= _AP:  # noqa: PLR2004 - headers and at least one byte
                raise _malformed("fragmentation unit cut short or nested")
            middle = first << 16 | view[start + 1] << 8 | inner
            if middle == self.middle and not header & _FU_START:
                self._go_on(header, view[start + 3 : end])
                return
            nal = bytes((first & 0x81 | inner << 1, view[start + 1]))
            self._begin(header, middle, nal, view[start + 3 : end])
            return
        self._require_no_fragment()
        if kind < _AP:
            self._builder.add_nal(view, start, end)
        elif kind == _AP:
            self._add_aggregated(view, start + 2, end, 2)
        else:
            name = "PACI" if kind == _PACI else f"NAL unit type {kind}"
            raise BadPayload(DiscontinuityReason.PAYLOAD_UNSUPPORTED, f"H.265 {name}")

    def _peek(self, view: memoryview, start: int, end: int) -> tuple[int, int]:
        kind = h265.nal_type(view[start])
        if kind == _FU and end - start > 2:  # noqa: PLR2004 - the header of the fragment
            header = view[start + 2]
            return (header & 0x3F if header & _FU_START else -1), start + 3
        if kind == _AP and end - start > 2 + _LENGTH_SIZE:
            position = start + 2 + _LENGTH_SIZE
            return h265.nal_type(view[position]), position + 2
        return kind, start + 2


def payload_reader(codec: VideoCodec, builder: GopBuilder) -> PayloadReader:
    """The reader of this codec's payloads into ``builder``."""
    if codec is VideoCodec.H264:
        return H264PayloadReader(H264_RULES, builder)
    return H265PayloadReader(H265_RULES, builder)


def _malformed(detail: str) -> BadPayload:
    return BadPayload(DiscontinuityReason.PACKET_MALFORMED, detail)
