"""RTCP (RFC 3550 section 6): sender reports give the camera's clock, receiver reports keep alive.

Many cameras end a session that sends no receiver reports, whatever RTSP keep-alive it gets.
"""

import struct
from dataclasses import dataclass
from typing import Final

from vigie.media.errors import MalformedMedia, MediaReason
from vigie.media.rtp import RTP_VERSION, Buffer

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
BYE: Final = 203
_CNAME: Final = 1
_HEADER: Final = struct.Struct("!BBH")
_SENDER_INFO: Final = struct.Struct("!IQIII")
_REPORT_BLOCK: Final = struct.Struct("!IIIIII")
_SENDER_INFO_SIZE: Final = 24
# Seconds from the epoch of NTP (1 January 1900) to that of Unix (RFC 5905 figure 4).
_NTP_UNIX_SECONDS: Final = 2_208_988_800
_NTP_ERA_SECONDS: Final = 1 << 32
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What a camera says of its clock: ``rtp_timestamp`` (32 bits, raw) was sampled at ``wall_us``.

    ``wall_us`` is None when the camera sent no time (all zero, RFC 3550 section 6.4.1).
    """

    ssrc: int
    wall_us: int | None
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class Bye:
    """The sources that leave."""

    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OtherRtcp:
    """A packet that needs no answer: receiver report, source description, application, feedback."""

    packet_type: int


RtcpPacket = SenderReport | Bye | OtherRtcp


def ntp_to_unix_us(ntp: int) -> int:
    """NTP timestamp (32.32 bits) to microseconds since the Unix epoch, rounded to nearest.

    Seconds below 2**31 belong to era 1, which begins on 7 February 2036 (RFC 4330 section 3).
    """
    seconds = ntp >> 32
    if seconds < _NTP_ERA_SECONDS >> 1:
        seconds += _NTP_ERA_SECONDS
    fraction_us = ((ntp & 0xFFFFFFFF) * _US + (1 << 31)) >> 32
    return (seconds - _NTP_UNIX_SECONDS) * _US + fraction_us


def unix_us_to_ntp(unix_us: int) -> int:
    """Microseconds since the Unix epoch to an NTP timestamp (32.32 bits, era dropped)."""
    seconds, fraction_us = divmod(unix_us, _US)
    fraction = (fraction_us << 32) // _US
    return ((seconds + _NTP_UNIX_SECONDS) % _NTP_ERA_SECONDS) << 32 | fraction


def parse_compound(buffer: Buffer, offset: int, length: int) -> list[RtcpPacket]:
    """Read every packet of the compound at ``buffer[offset:offset+length]``.

    Raises:
        MalformedMedia: wrong version, or lengths that do not fit.
    """
    end = offset + length
    if end > len(buffer):
        raise _malformed("compound cut short", offset)
    packets: list[RtcpPacket] = []
    while offset < end:
        if offset + 4 > end:
            raise _malformed("header cut short", offset)
        first, packet_type, words = _HEADER.unpack_from(buffer, offset)
        size = 4 + 4 * words
        if first >> 6 != RTP_VERSION:
            raise _malformed(f"version {first >> 6}", offset, MediaReason.MALFORMED)
        if offset + size > end:
            raise _malformed(f"packet of {size} bytes does not fit", offset)
        packets.append(_parse_packet(buffer, offset, size, packet_type, first & 0x1F))
        offset += size
    return packets


def _parse_packet(
    buffer: Buffer, offset: int, size: int, packet_type: int, count: int
) -> RtcpPacket:
    if packet_type == SENDER_REPORT:
        if size < 4 + _SENDER_INFO_SIZE:
            raise _malformed("sender report cut short", offset)
        ssrc, ntp, rtp_timestamp, packets, octets = _SENDER_INFO.unpack_from(buffer, offset + 4)
        wall_us = ntp_to_unix_us(ntp) if ntp else None
        return SenderReport(ssrc, wall_us, ntp, rtp_timestamp, packets, octets)
    if packet_type == BYE:
        if size < 4 + 4 * count:
            raise _malformed("list of leaving sources cut short", offset)
        return Bye(struct.unpack_from(f"!{count}I", buffer, offset + 4))
    return OtherRtcp(packet_type)


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """What we tell a camera of its stream (RFC 3550 section 6.4.1).

    ``highest_sequence`` is extended by the wrap-arounds; ``delay_us`` is the time since the last
    sender report came, whose NTP time is ``last_report_ntp`` (0 and 0 when there was none).
    """

    source_ssrc: int
    highest_sequence: int
    packets_lost: int = 0
    fraction_lost: float = 0.0
    jitter_ticks: int = 0
    last_report_ntp: int = 0
    delay_us: int = 0


def build_receiver_report(ssrc: int, cname: str, report: ReceptionReport | None = None) -> bytes:
    """A compound of receiver report and CNAME, as every RTCP datagram must be (section 6.1)."""
    blocks = b"" if report is None else _report_block(report)
    head = _packet(RECEIVER_REPORT, 1 if blocks else 0, struct.pack("!I", ssrc) + blocks)
    return head + _source_description(ssrc, cname)


def build_sender_report(
    ssrc: int, cname: str, *, wall_us: int, rtp_timestamp: int, packets: int, octets: int
) -> bytes:
    """A compound of sender report and CNAME; counters are taken modulo 2**32."""
    mask = 0xFFFFFFFF
    info = _SENDER_INFO.pack(
        ssrc, unix_us_to_ntp(wall_us), rtp_timestamp & mask, packets & mask, octets & mask
    )
    return _packet(SENDER_REPORT, 0, info) + _source_description(ssrc, cname)


def build_bye(ssrc: int) -> bytes:
    """The packet that says that ``ssrc`` leaves."""
    return _packet(BYE, 1, struct.pack("!I", ssrc))


def _report_block(report: ReceptionReport) -> bytes:
    fraction = min(255, int(report.fraction_lost * 256))
    lost = max(-0x800000, min(0x7FFFFF, report.packets_lost)) & 0xFFFFFF
    delay = min(0xFFFFFFFF, (report.delay_us << 16) // _US)
    return _REPORT_BLOCK.pack(
        report.source_ssrc,
        fraction << 24 | lost,
        report.highest_sequence & 0xFFFFFFFF,
        report.jitter_ticks & 0xFFFFFFFF,
        (report.last_report_ntp >> 16) & 0xFFFFFFFF,
        delay,
    )


def _source_description(ssrc: int, cname: str) -> bytes:
    name = cname.encode()[:255]
    item = struct.pack("!IBB", ssrc, _CNAME, len(name)) + name
    # The list of items ends with at least one null byte, to a multiple of four (section 6.5).
    return _packet(SOURCE_DESCRIPTION, 1, item + bytes(4 - len(item) % 4))


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(RTP_VERSION << 6 | count, packet_type, len(body) // 4) + body


def _malformed(
    message: str, offset: int, reason: MediaReason = MediaReason.TRUNCATED
) -> MalformedMedia:
    return MalformedMedia(message, offset, "rtcp", reason)
