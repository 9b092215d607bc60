"""Cameras for the targets of the media path: honest frames, and what can happen to packets."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from fuzz.draw import Draw
from vigie.media.codec import VideoCodec

PAYLOAD_TYPE: Final = 96
_FEW_PACKETS: Final = 30  # frames enough for a key-frame interval beyond the limits of targets
_MANY_PACKETS: Final = 120  # more than may be repeated before a sender counts as begun anew
_MANY: Final = 0xF0  # one input of sixteen
_H264_SETS: Final = tuple(
    tuple(map(bytes.fromhex, pair))
    for pair in (
        ("6742c01eda0280bfe584000003000400000300c83c58ba80", "68ce3c80"),
        ("6742c00ada109b011000000300100000030320f1226a", "68ce0fc8"),
        ("6764000aacd94426c044000003000400000300c83c489658", "68ef8fcb"),
        ("674d0028965402802dc8", "68ee3c80"),  # says nothing of reordering
    )
)
_H265_SETS: Final = tuple(
    tuple(map(bytes.fromhex, triple))
    for triple in (
        ("40010c01ffff01600000030090000003000003001eba0240",
         "42010101600000030090000003000003001ea020810596e92930bc05a02000000300200000030321",
         "4401c073c089"),
        ("40010c01ffff01600000030090000003000003001e959009",
         "42010101600000030090000003000003001ea020810596564924caf0168080000003008000000c84",
         "4401c172b42240"),
    )
)  # fmt: skip
SETS: Final = {VideoCodec.H264: _H264_SETS, VideoCodec.H265: _H265_SETS}
DELIMITER: Final = {VideoCodec.H264: b"\x09\xf0", VideoCodec.H265: b"\x46\x01\x50"}
_RECOVERY: Final = b"\x06\x06\x01\x84\x80"  # SEI: recovery point, 0 frames
# Headers of slices: of a key frame, of others.
_KEYS: Final = {VideoCodec.H264: (b"\x65", b"\x25"), VideoCodec.H265: (b"\x26\x01", b"\x2a\x01")}
_OTHERS: Final = {
    VideoCodec.H264: (b"\x41", b"\x01"),
    VideoCodec.H265: (b"\x02\x01", b"\x00\x01", b"\x10\x01", b"\x0e\x01"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One access unit in decode order."""

    timestamp: int
    nals: tuple[bytes, ...]
    key: bool = False


def frame(  # each of them is a property of the frame
    codec: VideoCodec, number: int, timestamp: int, *, key: bool, slices: int = 1, size: int = 8,
    variant: int = 0, delimiter: bool = False,
) -> Frame:  # fmt: skip
    """A frame whose slices say which they are: number of the frame, of the slice, of all slices."""
    nals: list[bytes] = [DELIMITER[codec]] if delimiter else []
    if key:
        nals += SETS[codec][variant % len(SETS[codec])]
    headers = (_KEYS if key else _OTHERS)[codec]
    header = headers[variant % len(headers)]
    for index in range(slices):
        mark = struct.pack("!BHBB", 0 if index else 0x80, number & 0xFFFF, index, slices)
        nals.append(header + mark + bytes((number & 0x7F | 0x80,)) * size)
    return Frame(timestamp, tuple(nals), key)


@dataclass(slots=True)
class Packetiser:
    """Makes RTP packets of frames.

    ``marking``: the last packet of a frame bears the marker, no packet does, or the last packet
    of each slice does (a mistake of some cameras).
    """

    codec: VideoCodec
    mtu: int = 64
    aggregate: bool = False
    marking: str = "last"
    sequence: int = 0
    ssrc: int = 0x11223344
    clock: int = field(default=0)

    def packets(self, one: Frame) -> list[bytes]:
        """The packets of a frame."""
        payloads = list(self._payloads(one.nals))
        out = []
        for index, (payload, ends_slice) in enumerate(payloads):
            marker = {"none": False, "every": ends_slice}.get(
                self.marking, index == len(payloads) - 1
            )
            out.append(self.packet(payload, one.timestamp, marker=marker))
        return out

    def packet(self, payload: bytes, timestamp: int, *, marker: bool) -> bytes:
        """One packet; the next one has the next number."""
        head = struct.pack(
            "!BBHII", 0x80, PAYLOAD_TYPE | (0x80 if marker else 0), self.sequence & 0xFFFF,
            (timestamp + self.clock) & 0xFFFFFFFF, self.ssrc,
        )  # fmt: skip
        self.sequence += 1
        return head + payload

    def _payloads(self, nals: tuple[bytes, ...]) -> Iterator[tuple[bytes, bool]]:
        small: list[bytes] = []
        for nal in nals:
            if self.aggregate and len(nal) <= 40:
                small.append(nal)
                continue
            yield from self._flush(small)
            small = []
            if len(nal) <= self.mtu:
                yield nal, self._is_slice(nal)
            else:
                yield from self._fragments(nal)
        yield from self._flush(small)

    def _flush(self, small: list[bytes]) -> Iterator[tuple[bytes, bool]]:
        if len(small) == 1:
            yield small[0], self._is_slice(small[0])
        elif small:
            body = b"".join(struct.pack("!H", len(nal)) + nal for nal in small)
            head = b"\x78" if self.codec is VideoCodec.H264 else b"\x60\x01"
            yield head + body, any(map(self._is_slice, small))

    def _is_slice(self, nal: bytes) -> bool:
        if self.codec is VideoCodec.H264:
            return 1 <= nal[0] & 0x1F <= 5
        return nal[0] >> 1 & 0x3F < 32

    def _fragments(self, nal: bytes) -> Iterator[tuple[bytes, bool]]:
        if self.codec is VideoCodec.H264:
            head, kind, body = bytes((nal[0] & 0xE0 | 28,)), nal[0] & 0x1F, nal[1:]
        else:
            head = bytes((nal[0] & 0x81 | 49 << 1, nal[1]))
            kind, body = nal[0] >> 1 & 0x3F, nal[2:]
        pieces = [body[at : at + self.mtu] for at in range(0, len(body), self.mtu)]
        for index, piece in enumerate(pieces):
            last = index == len(pieces) - 1
            flags = (0x80 if index == 0 else 0) | (0x40 if last else 0)
            yield head + bytes((kind | flags,)) + piece, last and self._is_slice(nal)


def interleave(packets: Sequence[bytes], channel: int = 0) -> bytes:
    """The packets as they come over the RTSP connection (RFC 2326 section 10.12)."""
    return b"".join(struct.pack("!BBH", 0x24, channel, len(each)) + each for each in packets)


class WildCamera:
    """Sends what the input says: frames, frames with a flaw, packets that are none.

    Args:
        codec: of its frames.
        draw: the input.
        few: packets that most inputs have at most.
    """

    def __init__(self, codec: VideoCodec, draw: Draw, few: int = _FEW_PACKETS) -> None:
        self._codec = codec
        self._draw = draw
        first = draw.byte()
        self._most = _MANY_PACKETS if first >= _MANY else few
        self._packetiser = Packetiser(
            codec, (200, 24, 64, 1200)[first % 4], draw.flag(),
            draw.pick(("last", "last", "none", "every")), sequence=draw.pick((0, 65_530, 1000)),
            clock=draw.pick((0, 0xFFFFF000, 0x7FFFF000)),
        )  # fmt: skip
        self._number = 0
        self._timestamp = 0

    def packets(self) -> Iterator[bytes]:
        """Packets until the input is used up, or there are many."""
        return islice(self._packets(), self._most)

    def _packets(self) -> Iterator[bytes]:
        draw = self._draw
        while draw.more:
            step = draw.below(16)
            if step <= 8:
                yield from self._frames(step)
            elif step == 9:
                yield from self._flawed()
            elif step == 10:
                self._timestamp += draw.pick((draw.signed(1) * 3600, draw.signed(4), 1 << 31))
            elif step == 11:
                self._packetiser.sequence += draw.pick((1, 2, draw.signed(1), draw.signed(2)))
            elif step == 12:
                self._packetiser.ssrc ^= draw.pick((1, 0))
            elif step == 13:
                yield draw.block()
            else:
                marker = draw.flag()
                yield self._packetiser.packet(draw.block(), self._timestamp, marker=marker)

    def _next(self, *, key: bool) -> Frame:
        draw = self._draw
        shape = draw.byte()
        slices, delimiter = 1 + (shape & 3), bool(shape & 4)
        size = (4, 30, 100, 500)[shape >> 3 & 3]
        made = frame(
            self._codec, self._number, self._timestamp, key=key, slices=slices, size=size,
            variant=shape >> 5, delimiter=delimiter,
        )  # fmt: skip
        self._number += 1
        self._timestamp += 3600
        if self._codec is VideoCodec.H264 and shape & 0x80 and not key:
            made = Frame(made.timestamp, (_RECOVERY, *made.nals))
        return made

    def _frames(self, step: int) -> Iterator[bytes]:
        count = (1, 1, 1, 1, 2, 3, 4, 6, 26)[step]
        key = step in {0, 1, 4, 6}
        made = self._next(key=key)
        yield from self._packetiser.packets(made)
        for _ in range(count - 1):
            if not key or not self._draw.more:
                self._number += 1
                again = Frame(self._timestamp, made.nals[-1:] if key else made.nals)
                self._timestamp += 3600
            else:
                again = self._next(key=False)
            yield from self._packetiser.packets(again)

    def _flawed(self) -> Iterator[bytes]:
        """A frame with one packet altered, cut, doubled, gone, or exchanged for another."""
        draw = self._draw
        packets = self._packetiser.packets(self._next(key=draw.flag()))
        at, flaw = draw.below(256) % len(packets), draw.below(6)
        hurt = bytearray(packets[at])
        if flaw == 0:
            hurt[draw.below(min(len(hurt), 20))] ^= 1 << draw.below(8)
        elif flaw == 1:
            del hurt[draw.below(256) % len(hurt) :]
        elif flaw == 2:
            hurt[12 + draw.below(4) : 12 + draw.below(4)] = draw.block()
        if flaw <= 2:
            packets[at] = bytes(hurt)
        elif flaw == 3:
            packets.insert(at, packets[at])
        elif flaw == 4:
            del packets[at]
        else:
            packets[at], packets[-1] = packets[-1], packets[at]
        yield from packets
