"""RTCP as a camera sends it (RFC 3550, 6.4.1 and 6.5): sender report and canonical name."""

import struct
from typing import Final

_NTP_UNIX_SECONDS: Final = 2_208_988_800
_MICROSECONDS: Final = 1_000_000


def sender_report(
    ssrc: int, *, wall_us: int, timestamp: int, packets: int, octets: int, name: str
) -> bytes:
    """A compound packet.

    Args:
        ssrc: of the media.
        wall_us: the sender's wall clock, microseconds since the Unix epoch.
        timestamp: RTP time of the same instant.
        packets: sent so far on this session.
        octets: payload octets sent so far.
        name: CNAME.
    """
    seconds, microseconds = divmod(wall_us, _MICROSECONDS)
    fraction = (microseconds << 32) // _MICROSECONDS
    report = struct.pack(
        ">BBHIIIIII",
        0x80,
        200,
        6,
        ssrc,
        (seconds + _NTP_UNIX_SECONDS) & 0xFFFFFFFF,
        fraction,
        timestamp & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )
    text = name.encode()[:255]
    chunk = struct.pack(">IBB", ssrc, 1, len(text)) + text + b"\x00"
    chunk += b"\x00" * (-len(chunk) % 4)
    return report + struct.pack(">BBH", 0x81, 202, len(chunk) // 4) + chunk


def interleave(channel: int, packet: bytes) -> bytes:
    """The packet as an interleaved frame (RFC 2326, 10.12)."""
    return struct.pack(">BBH", 0x24, channel, len(packet)) + packet
