"""The little that a sender must know of NAL units (ISO/IEC 14496-10, 23008-2, 14496-15)."""

from typing import Final

from vigie.simcam.marks import Codec, split_annexb

H264_SPS: Final = 7
H264_PPS: Final = 8
H264_AUD: Final = 9
H264_IDR: Final = 5
H265_VPS: Final = 32
H265_SPS: Final = 33
H265_PPS: Final = 34
H265_AUD: Final = 35
_H265_IRAP: Final = range(16, 24)


def nal_type(codec: Codec, nal: bytes) -> int:
    """nal_unit_type of a NAL unit."""
    return nal[0] & 0x1F if codec == "h264" else nal[0] >> 1 & 0x3F


def is_parameter_set(codec: Codec, nal: bytes) -> bool:
    """Whether the unit is an SPS or PPS (or VPS)."""
    kinds = (H264_SPS, H264_PPS) if codec == "h264" else (H265_VPS, H265_SPS, H265_PPS)
    return nal_type(codec, nal) in kinds


def is_delimiter(codec: Codec, nal: bytes) -> bool:
    """Whether the unit is an access unit delimiter, which must stay first."""
    return nal_type(codec, nal) == (H264_AUD if codec == "h264" else H265_AUD)


def is_random_access(codec: Codec, nal: bytes) -> bool:
    """Whether the unit is a slice of a picture at which decoding can start."""
    kind = nal_type(codec, nal)
    return kind == H264_IDR if codec == "h264" else kind in _H265_IRAP


def parameter_sets_of_extradata(codec: Codec, extradata: bytes) -> tuple[bytes, ...]:
    """Parameter sets of an avcC or hvcC record (or of Annex B), in sending order."""
    if extradata.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
        found = split_annexb(extradata)
    elif codec == "h264":
        found = _avcc(extradata)
    else:
        found = _hvcc(extradata)
    return tuple(nal for nal in found if is_parameter_set(codec, nal))


def _avcc(data: bytes) -> list[bytes]:
    """ISO/IEC 14496-15, 5.3.3.1.2."""
    nals: list[bytes] = []
    position = 5
    for mask in (0x1F, 0xFF):
        count = data[position] & mask
        position += 1
        position = _take(data, position, count, nals)
    return nals


def _hvcc(data: bytes) -> list[bytes]:
    """ISO/IEC 14496-15, 8.3.3.1.2."""
    nals: list[bytes] = []
    position = 23
    for _ in range(data[22]):
        count = int.from_bytes(data[position + 1 : position + 3], "big")
        position = _take(data, position + 3, count, nals)
    return nals


def _take(data: bytes, position: int, count: int, nals: list[bytes]) -> int:
    for _ in range(count):
        size = int.from_bytes(data[position : position + 2], "big")
        nals.append(data[position + 2 : position + 2 + size])
        position += 2 + size
    return position
