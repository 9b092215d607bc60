"""Identity of frames: blocks in the picture, and an SEI message beside it.

Two independent marks, because they prove different things:

* **Blocks**: a field of black and white cells in the picture that codes the index of the frame in
  its loop (32 bits) and a CRC-16. They survive transcoding and prove what a viewer *sees*.
* **SEI** (``user_data_unregistered``, H.264 annex D.1.6, H.265 annex D.2.7): absolute frame
  number, position in decoding order and capture time of this very frame. It survives only if the
  bytes were not altered, and identifies frames over hours although the footage is a short loop.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

Codec = Literal["h264", "h265"]

# --- blocks ----------------------------------------------------------------------------------

BLOCK_COLUMNS: Final = 16
BLOCK_ROWS: Final = 4
_SYNC: Final = 0b1011001110001101  # first row; distinguishes a mark from any flat ground
_DARK_LUMA: Final = 30
_BRIGHT_LUMA: Final = 225
_THRESHOLD: Final = (_DARK_LUMA + _BRIGHT_LUMA) // 2


def cell_size(width: int) -> int:
    """Edge of one cell in pixels: a multiple of 8, so that cells fall on transform blocks."""
    if width < 640:  # noqa: PLR2004 - the table of sizes is the definition itself
        return 8
    return 16 if width < 1920 else 24  # noqa: PLR2004 - the table of sizes is the definition itself


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE of ``data``."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def block_rows(counter: int) -> tuple[int, ...]:
    """The four rows of cells for ``counter`` (0 to 2**32-1); bit 15 is the leftmost cell."""
    data = counter.to_bytes(4, "big")
    return (_SYNC, counter >> 16, counter & 0xFFFF, crc16(data))


def draw_blocks(luma: bytearray, width: int, counter: int) -> None:
    """Paint the cells of ``counter`` into the top left corner of a luma plane (stride = width)."""
    cell = cell_size(width)
    dark, bright = bytes([_DARK_LUMA]) * cell, bytes([_BRIGHT_LUMA]) * cell
    for row, bits in enumerate(block_rows(counter)):
        line = b"".join(
            bright if bits >> (BLOCK_COLUMNS - 1 - column) & 1 else dark
            for column in range(BLOCK_COLUMNS)
        )
        for y in range(row * cell, (row + 1) * cell):
            luma[y * width : y * width + len(line)] = line


def decode_blocks(luma: bytes | bytearray | memoryview, width: int, stride: int) -> int | None:
    """Read the frame index in the loop from a decoded luma plane.

    Args:
        luma: 8-bit luma samples, top row first.
        width: picture width in pixels (the size of cells follows from it).
        stride: bytes from one row to the next.

    Returns:
        The counter, or None when there is no intact mark (sync row or checksum is wrong).
    """
    cell = cell_size(width)
    margin, span = cell // 4, cell // 2
    rows: list[int] = []
    for row in range(BLOCK_ROWS):
        sums = [0] * BLOCK_COLUMNS
        for y in range(row * cell + margin, row * cell + margin + span):
            for column in range(BLOCK_COLUMNS):
                start = y * stride + column * cell + margin
                sums[column] += sum(luma[start : start + span])
        limit = _THRESHOLD * span * span
        rows.append(sum((total > limit) << (BLOCK_COLUMNS - 1 - i) for i, total in enumerate(sums)))
    counter = rows[1] << 16 | rows[2]
    if rows[0] != _SYNC or rows[3] != crc16(counter.to_bytes(4, "big")):
        return None
    return counter


# --- SEI -------------------------------------------------------------------------------------

MARK_UUID: Final = UUID("7669a1e5-517e-4ca3-b3d1-c0ffee5eca3d")
"""Identifies our message among other user data; without zero bytes (see `SEI_TEXT_BYTES`)."""

SEI_TEXT_BYTES: Final = 56
"""Three numbers and a CRC-32 as hexadecimal digits.

Text, because it can hold no zero byte: a fixed-size field that never needs emulation prevention
(H.264 7.4.1) can be patched in place in a prepared packet.
"""

_PAYLOAD_TYPE_USER_DATA: Final = 5
_H264_SEI: Final = 6
_H265_PREFIX_SEI: Final = 39


@dataclass(frozen=True, slots=True)
class FrameMark:
    """What the SEI message says of a frame.

    Attributes:
        frame_number: absolute number in order of capture and display, from 0 at camera start.
        decode_number: absolute position in decoding (and sending) order; equal without B-frames.
        capture_us: true wall time of capture, microseconds since the Unix epoch.
    """

    frame_number: int
    decode_number: int
    capture_us: int


def mark_text(frame_number: int, decode_number: int, capture_us: int) -> bytes:
    """The variable part of the SEI payload, `SEI_TEXT_BYTES` long."""
    text = b"%016x%016x%016x" % (frame_number, decode_number, capture_us)
    return b"%b%08x" % (text, zlib.crc32(text))


def build_sei(codec: Codec, mark: FrameMark) -> bytes:
    """The complete SEI NAL unit (no start code, no length)."""
    header = bytes([_H264_SEI]) if codec == "h264" else bytes([_H265_PREFIX_SEI << 1, 1])
    text = mark_text(mark.frame_number, mark.decode_number, mark.capture_us)
    size = 16 + SEI_TEXT_BYTES
    return header + bytes([_PAYLOAD_TYPE_USER_DATA, size]) + MARK_UUID.bytes + text + b"\x80"


def mark_of_nal(nal: bytes) -> FrameMark | None:
    """The mark in one SEI NAL unit, or None when it is another NAL or another message."""
    at = nal.find(MARK_UUID.bytes)
    if not 0 < at <= 4:  # noqa: PLR2004 - NAL header (1 or 2 bytes), payload type, size
        return None
    text = nal[at + 16 : at + 16 + SEI_TEXT_BYTES]
    if len(text) != SEI_TEXT_BYTES:
        return None
    try:
        values = [int(text[i : i + 16], 16) for i in (0, 16, 32)]
        checksum = int(text[48:], 16)
    except ValueError:
        return None
    if zlib.crc32(text[:48]) != checksum:
        return None
    return FrameMark(*values)


def split_annexb(data: bytes) -> list[bytes]:
    """NAL units of an Annex B byte stream (start codes of 3 or 4 bytes)."""
    nals: list[bytes] = []
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        end = data.find(b"\x00\x00\x01", start + 3)
        nal = data[start + 3 : end if end >= 0 else len(data)]
        nals.append(nal.rstrip(b"\x00") if end >= 0 else nal)
        start = end
    return [nal for nal in nals if nal]


def split_sample(sample: bytes, length_size: int = 4) -> list[bytes]:
    """NAL units of a length-prefixed sample (ISO/IEC 14496-15).

    Raises:
        ValueError: a length points past the end of the sample.
    """
    nals: list[bytes] = []
    position = 0
    while position < len(sample):
        size = int.from_bytes(sample[position : position + length_size], "big")
        position += length_size
        if position + size > len(sample):
            raise ValueError(f"NAL of {size} bytes at {position} passes the end of the sample")
        nals.append(sample[position : position + size])
        position += size
    return nals


def _marks(nals: Iterable[bytes]) -> Iterator[FrameMark]:
    return (mark for nal in nals if (mark := mark_of_nal(nal)) is not None)


def mark_of_sample(sample: bytes, length_size: int = 4) -> FrameMark | None:
    """The mark of a sample as stored in MP4 (length-prefixed NAL units)."""
    return next(_marks(split_sample(sample, length_size)), None)


def mark_of_annexb(data: bytes) -> FrameMark | None:
    """The mark of an access unit in Annex B form."""
    return next(_marks(split_annexb(data)), None)
