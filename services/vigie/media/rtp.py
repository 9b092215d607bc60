"""RTP headers (RFC 3550 section 5.1) and the unwrapping of their counters."""

import struct
from typing import Final, NamedTuple

from vigie.media.errors import MalformedMedia, MediaReason

RTP_VERSION: Final = 2
FIXED_HEADER_SIZE: Final = 12
_FIXED_HEADER: Final = struct.Struct("!BBHII")
_EXTENSION_HEADER: Final = struct.Struct("!HH")

Buffer = bytes | bytearray | memoryview


class RtpHeader(NamedTuple):
    """The fields of one packet and where its payload lies in the buffer it came in."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload_start: int
    payload_end: int


def parse_header(buffer: Buffer, offset: int, length: int) -> RtpHeader:
    """Read the header of the RTP packet at ``buffer[offset:offset+length]``.

    CSRC list, header extension and padding are skipped (RFC 3550 sections 5.1, 5.3.1).

    Raises:
        MalformedMedia: the packet is cut short, of another version, or its lengths do not fit.
    """
    if length < FIXED_HEADER_SIZE or offset + length > len(buffer):
        raise _malformed("shorter than its fixed header", offset, MediaReason.TRUNCATED)
    first, second, sequence, timestamp, ssrc = _FIXED_HEADER.unpack_from(buffer, offset)
    if first >> 6 != RTP_VERSION:
        raise _malformed(f"version {first >> 6}", offset)
    start = offset + FIXED_HEADER_SIZE + 4 * (first & 0x0F)
    end = offset + length
    if first & 0x10:
        if start + 4 > end:
            raise _malformed("extension header cut short", start, MediaReason.TRUNCATED)
        start += 4 + 4 * _EXTENSION_HEADER.unpack_from(buffer, start)[1]
    if start > end:
        raise _malformed("header longer than the packet", offset, MediaReason.TRUNCATED)
    if first & 0x20:
        padding = buffer[end - 1]
        if padding == 0 or end - padding < start:
            raise _malformed(f"padding of {padding} bytes does not fit", end - 1)
        end -= padding
    return RtpHeader(second & 0x7F, bool(second & 0x80), sequence, timestamp, ssrc, start, end)


def build_packet(
    payload: bytes, *, payload_type: int, marker: bool, sequence: int, timestamp: int, ssrc: int
) -> bytes:
    """One RTP packet without CSRC, extension or padding; counters are taken modulo their width."""
    return (
        _FIXED_HEADER.pack(
            RTP_VERSION << 6,
            payload_type | (0x80 if marker else 0),
            sequence & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            ssrc,
        )
        + payload
    )


def unwrap_near(value: int, reference: int, bits: int = 32) -> int:
    """The continued counter nearest to ``reference`` whose low bits are ``value``.

    For sender reports: their raw RTP timestamp beside the unwrapped ones of the samples.
    """
    modulus = 1 << bits
    step = (value - reference) % modulus
    return reference + (step - modulus if step >= modulus >> 1 else step)


class Unwrapper:
    """Continues a counter of ``bits`` bits beyond its wrap-around.

    Each value is taken as the nearest to the one before, so steps back (B-frames) are followed
    too; a step of more than half the range is ambiguous by nature and read as the shorter way.
    """

    __slots__ = ("_bits", "_last")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._last: int | None = None

    def unwrap(self, value: int) -> int:
        """The continued counter; the first value is returned as it is."""
        if self._last is None:
            self._last = value
            return value
        self._last = unwrap_near(value, self._last, self._bits)
        return self._last


def _malformed(
    message: str, offset: int, reason: MediaReason = MediaReason.MALFORMED
) -> MalformedMedia:
    return MalformedMedia(message, offset, "rtp", reason)
