"""Length-prefixed NAL units to Annex B (start codes), for decoders and for comparison."""

from collections.abc import Iterator
from typing import Final

from vigie.media.errors import MalformedMedia, MediaReason
from vigie.media.parameters import ParameterSets
from vigie.media.rtp import Buffer

_START_CODE: Final = b"\0\0\0\1"
_SHORT_START_CODE: Final = b"\0\0\1"


def split(data: Buffer) -> Iterator[memoryview]:
    """The NAL units of a sample (or of many) whose lengths come in four bytes.

    Raises:
        MalformedMedia: a length leads beyond the end.
    """
    view = memoryview(data)
    position, end = 0, len(view)
    while position < end:
        start = position + 4
        size = int.from_bytes(view[position:start], "big")
        if start > end or start + size > end:
            raise MalformedMedia(
                f"NAL unit of {size} bytes does not fit", position, "sample", MediaReason.TRUNCATED
            )
        yield view[start : start + size]
        position = start + size


def to_annexb(data: Buffer, parameters: ParameterSets | None = None) -> bytes:
    """The samples of ``data`` as a byte stream (H.264/H.265 annex B).

    ``parameters`` are put first when given. Raises MalformedMedia.
    """
    sets = (*parameters.vps, *parameters.sps, *parameters.pps) if parameters else ()
    out = bytearray()
    for nal in sets:
        out += _START_CODE + nal
    for unit in split(data):
        out += _START_CODE
        out += unit
    return bytes(out)


def length_prefixed(parameters: ParameterSets) -> bytes:
    """Parameter sets in the form they have in samples, to put before a key frame."""
    sets = (*parameters.vps, *parameters.sps, *parameters.pps)
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in sets)


def nal_units(stream: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream, start codes and trailing zero bytes removed."""
    units = (part.rstrip(b"\0") for part in stream.split(_SHORT_START_CODE)[1:])
    return [unit for unit in units if unit]
