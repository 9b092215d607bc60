"""H.264 (ITU-T H.264): NAL units, sequence parameter sets, avcC, sync samples."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from vigie.media.bits import BitReader, remove_emulation_prevention
from vigie.media.codec import (
    EXTENDED_ASPECT,
    MAX_DIMENSION,
    PIXEL_ASPECTS,
    CodecConfiguration,
    SequenceInfo,
    VideoCodec,
    chroma_crop_units,
)
from vigie.media.errors import MalformedMedia, MediaReason

# NAL unit types (table 7-1).
SLICE: Final = 1
IDR: Final = 5
SEI: Final = 6
SPS: Final = 7
PPS: Final = 8
ACCESS_UNIT_DELIMITER: Final = 9
VCL_MASK: Final = 0b111110  # types 1 to 5
# What can only stand before the first slice of an access unit (clause 7.4.1.2.3).
PREFIX_MASK: Final = (1 << 6) | (1 << 7) | (1 << 8) | (1 << 9) | (0b11111 << 14)

_PROFILES_WITH_CHROMA: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134})
_SEI_RECOVERY_POINT: Final = 6
_MAX_REFERENCE_FRAMES: Final = 16
_SLICE_HEAD: Final = 24  # bytes: more than what stands before the flags of fields
_CONSTRAINT_SET3: Final = 0x10
_INTRA_ONLY_PROFILES: Final = frozenset({44, 86, 100, 110, 122, 244})


def nal_type(header: int) -> int:
    """Type of the NAL unit that starts with byte ``header``."""
    return header & 0x1F


def recovery_frame_count(nal: bytes) -> int | None:
    """recovery_frame_cnt of the recovery point SEI in ``nal``, None when it has none (D.1.8).

    Zero makes the picture as good a start as an IDR; more is a gradual refresh, which is no
    sync sample, since the pictures until then come out damaged.
    """
    if _SEI_RECOVERY_POINT not in nal[1:64]:  # nearly all SEI are others: do not take them apart
        return None
    payload = remove_emulation_prevention(nal[1:64])
    position = 0
    while position + 2 <= len(payload) and payload[position] != 0x80:  # noqa: PLR2004 - rbsp stop bit
        kind, position = _sei_number(payload, position)
        size, position = _sei_number(payload, position)
        if kind == _SEI_RECOVERY_POINT:
            body = bytes(payload[position : position + size])
            return BitReader(body, 0, "sei.recovery_point").unsigned() if body else None
        position += size
    return None


def _sei_number(payload: bytes, position: int) -> tuple[int, int]:
    value = 0
    while position < len(payload):
        byte = payload[position]
        position += 1
        value += byte
        if byte != 0xFF:  # noqa: PLR2004 - 0xFF means "and more" (clause 7.3.2.3.1)
            break
    return value, position


class Sps(NamedTuple):
    """A sequence parameter set: its number, the picture, and what avcC repeats of it."""

    identifier: int
    info: SequenceInfo
    constraints: int
    chroma_format: int
    bit_depth_luma: int
    bit_depth_chroma: int
    frame_number_bits: int


# A new PPS makes a new configuration of the same SPS, and reading one costs half a millisecond.
@lru_cache(maxsize=64)
def parse_sps(nal: bytes) -> Sps:
    """Read a sequence parameter set (clause 7.3.2.1.1).

    Raises:
        MalformedMedia: it is cut short or impossible.
    """
    if len(nal) < 4 or nal_type(nal[0]) != SPS:  # noqa: PLR2004 - header, profile, constraints, level
        raise MalformedMedia("not a sequence parameter set", 0, "sps")
    reader = BitReader(nal, 1, "sps")
    profile, constraints, level = reader.bits(8), reader.bits(8), reader.bits(8)
    identifier = reader.bounded(31, "seq_parameter_set_id")
    chroma = _read_chroma(reader) if profile in _PROFILES_WITH_CHROMA else (1, 8, 8)
    frame_number_bits = _read_picture_order(reader)
    references = reader.bounded(_MAX_REFERENCE_FRAMES, "max_num_ref_frames")
    reader.skip(1)  # gaps_in_frame_num_value_allowed_flag
    width, height, fields = _read_dimensions(reader, chroma[0])
    aspect, duration, reorder = _read_vui(reader) if reader.flag() else ((1, 1), None, None)
    if reorder is None and (references == 0 or _is_intra_only(profile, constraints)):
        reorder = 0
    info = SequenceInfo(width, height, profile, level, duration, reorder, aspect, fields)
    return Sps(identifier, info, constraints, *chroma, frame_number_bits)


class Field(NamedTuple):
    """Half a frame: which one, and of which (frame_num, which two fields of one frame share)."""

    frame_number: int
    is_bottom: bool


def field_of(sample: bytes | bytearray, sps: Sps) -> Field | None:
    """The field that a sample (NAL units behind their lengths) begins with, by its first slice.

    Returns:
        ``None``: it is a frame, or cannot be read (clause 7.3.3).
    """
    if not sps.info.fields or sps.chroma_format == 3:  # noqa: PLR2004 - 4:4:4 may have colour planes
        return None
    position = 0
    while position + 5 <= len(sample):
        start = position + 4
        position = start + int.from_bytes(sample[position:start], "big")
        if nal_type(sample[start]) in {SLICE, IDR}:
            return _field_of_slice(bytes(sample[start : min(position, start + _SLICE_HEAD)]), sps)
    return None


def _field_of_slice(head: bytes, sps: Sps) -> Field | None:
    reader = BitReader(head, 1, "slice_header")
    try:
        for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
            reader.unsigned()
        frame_number = reader.bits(sps.frame_number_bits)
        return Field(frame_number, reader.flag()) if reader.flag() else None
    except MalformedMedia:
        return None


def _is_intra_only(profile: int, constraints: int) -> bool:
    return profile in _INTRA_ONLY_PROFILES and bool(constraints & _CONSTRAINT_SET3)


def _read_chroma(reader: BitReader) -> tuple[int, int, int]:
    chroma_format = reader.bounded(3, "chroma_format_idc")
    if chroma_format == 3:  # noqa: PLR2004 - 4:4:4
        reader.skip(1)  # separate_colour_plane_flag
    luma = 8 + reader.bounded(6, "bit_depth_luma_minus8")
    chroma = 8 + reader.bounded(6, "bit_depth_chroma_minus8")
    reader.skip(1)  # qpprime_y_zero_transform_bypass_flag
    if reader.flag():
        for index in range(12 if chroma_format == 3 else 8):  # noqa: PLR2004 - 4:4:4 has four more
            if reader.flag():
                _skip_scaling_list(reader, 16 if index < 6 else 64)  # noqa: PLR2004 - 4x4 lists first
    return chroma_format, luma, chroma


def _skip_scaling_list(reader: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + reader.signed()) % 256
        last = following or last


def _read_picture_order(reader: BitReader) -> int:
    """The length of frame_num in bits."""
    frame_number_bits = 4 + reader.bounded(12, "log2_max_frame_num_minus4")
    kind = reader.bounded(2, "pic_order_cnt_type")
    if kind == 0:
        reader.bounded(12, "log2_max_pic_order_cnt_lsb_minus4")
    elif kind == 1:
        reader.skip(1)
        reader.signed()
        reader.signed()
        for _ in range(reader.bounded(255, "num_ref_frames_in_pic_order_cnt_cycle")):
            reader.signed()
    return frame_number_bits


def _read_dimensions(reader: BitReader, chroma_format: int) -> tuple[int, int, bool]:
    limit = MAX_DIMENSION // 16
    columns = reader.bounded(limit - 1, "pic_width_in_mbs_minus1") + 1
    rows = reader.bounded(limit - 1, "pic_height_in_map_units_minus1") + 1
    frames_only = reader.flag()
    field_factor = 1 if frames_only else 2
    if not frames_only:
        reader.skip(1)  # mb_adaptive_frame_field_flag
    reader.skip(1)  # direct_8x8_inference_flag
    width, height = columns * 16, rows * 16 * field_factor
    if reader.flag():
        left, right, top, bottom = (reader.bounded(MAX_DIMENSION, "frame_crop") for _ in range(4))
        unit_x, unit_y = chroma_crop_units(chroma_format)
        width -= unit_x * (left + right)
        height -= unit_y * field_factor * (top + bottom)
    if width <= 0 or height <= 0:
        raise reader.malformed("nothing is left of the picture after cropping")
    return width, height, not frames_only


def _read_vui(reader: BitReader) -> tuple[tuple[int, int], Fraction | None, int | None]:
    aspect = read_pixel_aspect(reader)
    skip_signal_type(reader)
    duration: Fraction | None = None
    if reader.flag():  # timing_info_present_flag
        units, scale = reader.bits(32), reader.bits(32)
        reader.skip(1)
        # The scale counts fields, two a frame (E.2.1).
        duration = Fraction(2 * units, scale) if units and scale else None
    has_hrd = False
    for _ in range(2):  # NAL, then VCL parameters
        if reader.flag():
            _skip_hrd(reader)
            has_hrd = True
    if has_hrd:
        reader.skip(1)  # low_delay_hrd_flag
    reader.skip(1)  # pic_struct_present_flag
    if not reader.flag():  # bitstream_restriction_flag
        return aspect, duration, None
    reader.skip(1)
    for _ in range(4):
        reader.unsigned()
    return aspect, duration, reader.bounded(_MAX_REFERENCE_FRAMES, "max_num_reorder_frames")


def read_pixel_aspect(reader: BitReader) -> tuple[int, int]:
    """The sample aspect ratio at the start of a VUI, the same in both codecs."""
    if not reader.flag():
        return (1, 1)
    kind = reader.bits(8)
    if kind == EXTENDED_ASPECT:
        width, height = reader.bits(16), reader.bits(16)
        return (width, height) if width and height else (1, 1)
    return PIXEL_ASPECTS[kind] if kind < len(PIXEL_ASPECTS) else (1, 1)


def skip_signal_type(reader: BitReader) -> None:
    """Pass over what follows the aspect ratio in a VUI, the same in both codecs."""
    if reader.flag():  # overscan_info_present_flag
        reader.skip(1)
    if reader.flag():  # video_signal_type_present_flag
        reader.skip(4)
        if reader.flag():
            reader.skip(24)
    if reader.flag():  # chroma_loc_info_present_flag
        reader.unsigned()
        reader.unsigned()


def _skip_hrd(reader: BitReader) -> None:
    count = reader.bounded(31, "cpb_cnt_minus1") + 1
    reader.skip(8)
    for _ in range(count):
        reader.unsigned()
        reader.unsigned()
        reader.skip(1)
    reader.skip(20)


def pps_identifiers(nal: bytes) -> tuple[int, int]:
    """pic_parameter_set_id and seq_parameter_set_id of a PPS (clause 7.3.2.2)."""
    reader = BitReader(nal[:16], 1, "pps")
    number = reader.bounded(255, "pic_parameter_set_id")
    return number, reader.bounded(31, "seq_parameter_set_id")


def slice_pps_identifier(nal: bytes) -> int:
    """pic_parameter_set_id of a slice (clause 7.3.3); raises MalformedMedia."""
    reader = BitReader(nal[:24], 1, "slice")
    reader.unsigned()  # first_mb_in_slice
    reader.unsigned()  # slice_type
    return reader.bounded(255, "pic_parameter_set_id")


def build_configuration(sps: Sequence[bytes], pps: Sequence[bytes]) -> CodecConfiguration:
    """The sample entry for these parameter sets (ISO/IEC 14496-15 clause 5.3.3.1).

    Raises:
        MalformedMedia: a set is missing, too long or unreadable.
    """
    if not sps or not pps:
        raise MalformedMedia(
            "sequence or picture parameter set missing", 0, "avcC",
            MediaReason.PARAMETER_SETS_MISSING,
        )  # fmt: skip
    first = parse_sps(sps[0])
    profile, constraints, level = sps[0][1:4]
    record = bytearray((1, profile, constraints, level, 0xFF, 0xE0 | len(sps)))
    for nal in sps:
        record += struct.pack("!H", len(nal)) + nal
    record.append(len(pps))
    for nal in pps:
        record += struct.pack("!H", len(nal)) + nal
    if profile in _PROFILES_WITH_CHROMA:
        record += bytes(
            (
                0xFC | first.chroma_format,
                0xF8 | first.bit_depth_luma - 8,
                0xF8 | first.bit_depth_chroma - 8,
                0,
            )
        )
    codec_string = f"avc1.{profile:02x}{constraints:02x}{level:02x}"
    return CodecConfiguration(VideoCodec.H264, b"avc1", bytes(record), codec_string, first.info)


def read_record(record: bytes) -> tuple[list[bytes], list[bytes]]:
    """The sequence and picture parameter sets of an avcC payload.

    Raises:
        MalformedMedia: it is cut short, or NAL lengths are not of four bytes.
    """
    if len(record) < 7 or record[0] != 1:  # noqa: PLR2004 - the smallest record has seven bytes
        raise MalformedMedia("not an AVC configuration of version 1", 0, "avcC")
    if record[4] & 3 != 3:  # noqa: PLR2004 - lengthSizeMinusOne
        raise MalformedMedia("NAL unit lengths are not of four bytes", 4, "avcC")
    sps, position = _read_sets(record, 6, record[5] & 0x1F)
    if position >= len(record):
        raise MalformedMedia("cut short", position, "avcC", MediaReason.TRUNCATED)
    pps, _ = _read_sets(record, position + 1, record[position])
    return sps, pps


def _read_sets(record: bytes, position: int, count: int) -> tuple[list[bytes], int]:
    sets: list[bytes] = []
    for _ in range(count):
        if position + 2 > len(record):
            raise MalformedMedia("cut short", position, "avcC", MediaReason.TRUNCATED)
        size = int.from_bytes(record[position : position + 2], "big")
        nal = record[position + 2 : position + 2 + size]
        if len(nal) != size or not size:
            raise MalformedMedia("parameter set cut short", position, "avcC", MediaReason.TRUNCATED)
        sets.append(nal)
        position += 2 + size
    return sets, position
