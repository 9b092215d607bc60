"""Prepares RTP packets once per footage, so that sending is a copy and a few patched fields.

H.264 by RFC 6184 (single NAL unit, STAP-A for parameter sets, FU-A), H.265 by RFC 7798 (single,
AP, FU), framed for RTP over RTSP (RFC 2326, 10.12). A `FrameTemplate` is one access unit as the
bytes of all its interleaved packets; sequence number, time stamp, SSRC and the text of the SEI
mark are zero until `stamp` writes them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vigie.simcam.footage import Footage, Sample
from vigie.simcam.marks import SEI_TEXT_BYTES, Codec, FrameMark, build_sei
from vigie.simcam.nal import is_delimiter
from vigie.simcam.quirks import Quirk

Quirks = frozenset[Quirk]

MTU_BYTES: Final = 1400
"""Largest RTP packet, header included."""

PAYLOAD_TYPE: Final = 96
_HEADER_BYTES: Final = 4 + 12  # interleaved frame, RTP fixed header
_RTP_VERSION: Final = 0x80
_DRESS: Final = struct.pack(">IHHII", 0x5EED5EED, 0xABAC, 2, 0x01020304, 0x05060708)
"""One CSRC, then an extension of two words (RFC 3550, 5.1 and 5.3.1)."""
_PADDING: Final = b"\x00\x00\x00\x04"
_DRESSED_FLAGS: Final = 0x80 | 0x20 | 0x10 | 1  # version 2, padding, extension, one CSRC
_MARKER: Final = 0x80
_STAP_A: Final = 24
_FU_A: Final = 28
_AP: Final = 48
_FU: Final = 49
_HEADER: Final = struct.Struct(">BBHBBHII")
_PATCH: Final = struct.Struct(">HII")


@dataclass(frozen=True, slots=True)
class FrameTemplate:
    """One access unit, packetised.

    Attributes:
        data: all packets with their interleaved headers, on channel 0.
        headers: position in ``data`` of each packet's sequence number.
        mark_at: position in ``data`` of the text of the SEI mark.
        payload_bytes: RTP payload octets, for sender reports.
    """

    data: bytes
    headers: tuple[int, ...]
    mark_at: int
    payload_bytes: int

    def stamp(
        self, sequence: int, timestamp: int, ssrc: int, text: bytes, channel: int = 0
    ) -> bytearray:
        """The packets ready to send; the next frame starts at ``sequence`` + packet count."""
        data = bytearray(self.data)
        pack = _PATCH.pack_into
        for position in self.headers:
            pack(data, position, sequence & 0xFFFF, timestamp, ssrc)
            sequence += 1
        data[self.mark_at : self.mark_at + SEI_TEXT_BYTES] = text
        if channel:
            for position in self.headers:
                data[position - 5] = channel
        return data


def split_packets(data: bytes | bytearray) -> list[bytes]:
    """Cut stamped packets apart; each keeps its interleaved header."""
    packets: list[bytes] = []
    position = 0
    while position < len(data):
        end = position + 4 + int.from_bytes(data[position + 2 : position + 4], "big")
        packets.append(bytes(data[position:end]))
        position = end
    return packets


def access_unit(
    codec: Codec,
    sample: Sample,
    parameter_sets: tuple[bytes, ...],
    mark: FrameMark,
) -> list[bytes]:
    """NAL units of a frame in the order they are sent.

    Delimiter if there is one, parameter sets in front of a key frame, the mark, everything else:
    the order both codecs ask for (H.264 7.4.1.2.3, H.265 7.4.2.4.4).
    """
    first = [nal for nal in sample.nals if is_delimiter(codec, nal)]
    rest = [nal for nal in sample.nals if not is_delimiter(codec, nal)]
    sets = list(parameter_sets) if sample.is_key else []
    return [*first, *sets, build_sei(codec, mark), *rest]


def packetise(
    codec: Codec, nals: list[bytes], *, aggregate: int = 0, room: int = MTU_BYTES - 12
) -> list[bytes]:
    """RTP payloads of one access unit.

    Args:
        codec: which payload format.
        nals: NAL units in sending order.
        aggregate: so many units at the start (after a delimiter) go into one STAP-A or AP.
        room: largest payload in bytes.
    """
    payloads: list[bytes] = []
    start = next((i for i, nal in enumerate(nals) if not is_delimiter(codec, nal)), 0)
    payloads += nals[:start]
    if aggregate > 1:
        payloads.append(_aggregate(codec, nals[start : start + aggregate]))
        start += aggregate
    for nal in nals[start:]:
        payloads += _fragments(codec, nal, room)
    return payloads


def _aggregate(codec: Codec, nals: list[bytes]) -> bytes:
    body = b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)
    if codec == "h264":
        importance = max(nal[0] & 0x60 for nal in nals)
        return bytes([importance | _STAP_A]) + body
    return bytes([_AP << 1, 1]) + body


def _fragments(codec: Codec, nal: bytes, limit: int) -> Iterator[bytes]:
    if len(nal) <= limit:
        yield nal
        return
    if codec == "h264":
        prefix, kind, position = bytes([nal[0] & 0xE0 | _FU_A]), nal[0] & 0x1F, 1
    else:
        prefix = bytes([nal[0] & 0x81 | _FU << 1, nal[1]])
        kind, position = nal[0] >> 1 & 0x3F, 2
    room = limit - len(prefix) - 1
    first = True
    while position < len(nal):
        piece = nal[position : position + room]
        position += room
        flags = (0x80 if first else 0) | (0x40 if position >= len(nal) else 0)
        yield prefix + bytes([flags | kind]) + piece
        first = False


def frame_packets(payloads: list[bytes], *, dressed: bool = False) -> tuple[bytes, tuple[int, ...]]:
    """Interleaved packets around ``payloads`` and where their sequence numbers are.

    ``dressed`` ones have everything an RTP header may have, and padding.
    """
    flags, before, after = (
        (_DRESSED_FLAGS, _DRESS, _PADDING) if dressed else (_RTP_VERSION, b"", b"")
    )
    data = bytearray()
    positions: list[int] = []
    for index, payload in enumerate(payloads):
        positions.append(len(data) + 6)
        marker = _MARKER if index == len(payloads) - 1 else 0
        size = 12 + len(before) + len(payload) + len(after)
        data += _HEADER.pack(0x24, 0, size, flags, marker | PAYLOAD_TYPE, 0, 0, 0)
        data += before + payload + after
    return bytes(data), tuple(positions)


def build_template(
    codec: Codec, sample: Sample, sets: tuple[bytes, ...], quirks: Quirks = frozenset()
) -> FrameTemplate:
    """Packetise one access unit with an empty mark."""
    mark = FrameMark(0, 0, 0)
    nals = access_unit(codec, sample, sets, mark)
    is_separate = Quirk.SEPARATE_PARAMETER_SETS in quirks or not sample.is_key
    dressed = Quirk.DRESSED_PACKETS in quirks
    room = MTU_BYTES - 12 - (len(_DRESS) + len(_PADDING) if dressed else 0)
    payloads = packetise(codec, nals, aggregate=0 if is_separate else len(sets), room=room)
    data, positions = frame_packets(payloads, dressed=dressed)
    sei = build_sei(codec, mark)
    mark_at = data.index(sei) + len(sei) - 1 - SEI_TEXT_BYTES
    return FrameTemplate(data, positions, mark_at, sum(map(len, payloads)))


class PreparedFootage:
    """Footage with the packets of its whole loop.

    Args:
        footage: what to send.
        in_band: whether parameter sets are sent in front of each key frame (else only in the SDP).
        quirks: those of packets are heeded.
    """

    def __init__(
        self, footage: Footage, *, in_band: bool = True, quirks: Quirks = frozenset()
    ) -> None:
        self.footage = footage
        self.sent_sets = footage.parameter_sets if in_band else ()
        self.templates = tuple(
            build_template(footage.codec, sample, self.sent_sets, quirks)
            for sample in footage.samples
        )
        self.frame_count = len(footage.samples)

    def expected_nals(self, index: int, mark: FrameMark) -> list[bytes]:
        """NAL units as sent for the frame at ``index`` (decoding order) of the loop."""
        sample = self.footage.samples[index]
        return access_unit(self.footage.codec, sample, self.sent_sets, mark)
