"""A naive reader of interleaved RTP: the tests' own, so that it shares no mistake with anybody."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from vigie.simcam.marks import Codec


@dataclass(frozen=True)
class RtpPacket:
    channel: int
    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse_interleaved(data: bytes) -> RtpPacket:
    """One packet with its 4 bytes of framing."""
    magic, channel, size, first, second, sequence, timestamp, ssrc = struct.unpack_from(
        ">BBHBBHII", data
    )
    assert magic == 0x24
    assert size == len(data) - 4
    assert first >> 6 == 2
    start = 16 + 4 * (first & 0x0F)
    if first & 0x10:
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data) - (data[-1] if first & 0x20 else 0)
    payload = data[start:end]
    return RtpPacket(
        channel, bool(second & 0x80), second & 0x7F, sequence, timestamp, ssrc, payload
    )


def depacketise(codec: Codec, payloads: Iterable[bytes]) -> list[bytes]:
    """NAL units of one access unit (RFC 6184: single, STAP-A, FU-A; RFC 7798: single, AP, FU)."""
    head, aggregate, fragment = (1, 24, 28) if codec == "h264" else (2, 48, 49)
    nals: list[bytes] = []
    for payload in payloads:
        kind = payload[0] & 0x1F if codec == "h264" else payload[0] >> 1 & 0x3F
        if kind == aggregate:
            position = head
            while position < len(payload):
                size = int.from_bytes(payload[position : position + 2], "big")
                nals.append(payload[position + 2 : position + 2 + size])
                position += 2 + size
        elif kind == fragment:
            flags = payload[head]
            if flags & 0x80:
                if codec == "h264":
                    nals.append(bytes([payload[0] & 0xE0 | flags & 0x1F]))
                else:
                    nals.append(bytes([payload[0] & 0x81 | (flags & 0x3F) << 1, payload[1]]))
            nals[-1] += payload[head + 1 :]
        else:
            nals.append(payload)
    return nals
