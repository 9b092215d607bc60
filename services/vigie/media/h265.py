"""H.265 (ITU-T H.265): NAL units, parameter sets, hvcC, sync samples."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from vigie.media.bits import BitReader
from vigie.media.codec import (
    MAX_DIMENSION,
    CodecConfiguration,
    SequenceInfo,
    VideoCodec,
    chroma_crop_units,
)
from vigie.media.errors import MalformedMedia, MediaReason
from vigie.media.h264 import read_pixel_aspect, skip_signal_type

# NAL unit types (table 7-1).
RASL_N: Final = 8
RASL_R: Final = 9
IDR_N_LP: Final = 20
BLA_N_LP: Final = 18
VPS: Final = 32
SPS: Final = 33
PPS: Final = 34
ACCESS_UNIT_DELIMITER: Final = 35
VCL_MASK: Final = 0xFFFFFFFF  # types 0 to 31
IRAP_MASK: Final = 0xFF << 16  # types 16 to 23: each of them may start a stream (clause 3.74)
# Pictures that come before the IRAP in output and cannot follow these types.
NO_LEADING_MASK: Final = 1 << IDR_N_LP | 1 << BLA_N_LP
# Leading pictures that refer to what is before the IRAP: undecodable at the start of a run.
SKIPPED_LEADING_MASK: Final = 1 << RASL_N | 1 << RASL_R
# What can only stand before the first slice of an access unit (clause 7.4.2.4.4).
PREFIX_MASK: Final = 0b1111 << 32 | 1 << 39 | 0b1111 << 41 | 0xFF << 48

_NAL_HEADER_SIZE: Final = 2
_MAX_REFERENCE_SETS: Final = 64
_MAX_PICTURES: Final = 16


def nal_type(header: int) -> int:
    """Type of the NAL unit whose first byte is ``header``."""
    return (header >> 1) & 0x3F


class ProfileTierLevel(NamedTuple):
    """The twelve bytes that SPS and hvcC share (clause 7.3.3)."""

    space_tier_profile: int
    compatibility: int
    constraints: int
    level: int


class Sps(NamedTuple):
    """A sequence parameter set: its number, the picture, and what hvcC repeats of it."""

    identifier: int
    vps_identifier: int
    info: SequenceInfo
    general: ProfileTierLevel
    sub_layers: int
    temporal_nesting: bool
    chroma_format: int
    bit_depth_luma: int
    bit_depth_chroma: int


# A new PPS makes a new configuration of the same SPS, and reading one costs half a millisecond.
@lru_cache(maxsize=64)
def parse_sps(nal: bytes) -> Sps:
    """Read a sequence parameter set (clause 7.3.2.2).

    Raises:
        MalformedMedia: it is cut short or impossible.
    """
    if len(nal) < _NAL_HEADER_SIZE or nal_type(nal[0]) != SPS:
        raise MalformedMedia("not a sequence parameter set", 0, "sps")
    reader = BitReader(nal, _NAL_HEADER_SIZE, "sps")
    vps = reader.bits(4)  # sps_video_parameter_set_id
    sub_layers, nesting = reader.bits(3) + 1, reader.flag()
    general = _read_profile_tier_level(reader, sub_layers)
    identifier = reader.bounded(15, "sps_seq_parameter_set_id")
    chroma_format = reader.bounded(3, "chroma_format_idc")
    if chroma_format == 3:  # noqa: PLR2004 - 4:4:4
        reader.skip(1)
    width, height = _read_dimensions(reader, chroma_format)
    luma = 8 + reader.bounded(8, "bit_depth_luma_minus8")
    chroma = 8 + reader.bounded(8, "bit_depth_chroma_minus8")
    poc_bits = 4 + reader.bounded(12, "log2_max_pic_order_cnt_lsb_minus4")
    reorder = 0
    for _ in range(sub_layers if reader.flag() else 1):
        reader.unsigned()
        reorder = reader.bounded(_MAX_PICTURES, "sps_max_num_reorder_pics")
        reader.unsigned()
    _skip_coding_tools(reader)
    _skip_reference_sets(reader, poc_bits)
    aspect, duration, fields = _read_vui(reader) if reader.flag() else ((1, 1), None, False)
    info = SequenceInfo(
        width, height, general.space_tier_profile & 0x1F, general.level, duration, reorder,
        aspect, fields,
    )  # fmt: skip
    return Sps(identifier, vps, info, general, sub_layers, nesting, chroma_format, luma, chroma)


def _read_profile_tier_level(reader: BitReader, sub_layers: int) -> ProfileTierLevel:
    general = ProfileTierLevel(reader.bits(8), reader.bits(32), reader.bits(48), reader.bits(8))
    present = [(reader.flag(), reader.flag()) for _ in range(sub_layers - 1)]
    if present:
        reader.skip(2 * (9 - sub_layers))
    for profile, level in present:
        reader.skip((88 if profile else 0) + (8 if level else 0))
    return general


def _read_dimensions(reader: BitReader, chroma_format: int) -> tuple[int, int]:
    width = reader.bounded(MAX_DIMENSION, "pic_width_in_luma_samples")
    height = reader.bounded(MAX_DIMENSION, "pic_height_in_luma_samples")
    if reader.flag():
        left, right, top, bottom = (reader.bounded(MAX_DIMENSION, "conf_win") for _ in range(4))
        unit_x, unit_y = chroma_crop_units(chroma_format)
        width -= unit_x * (left + right)
        height -= unit_y * (top + bottom)
    if width <= 0 or height <= 0:
        raise reader.malformed("nothing is left of the picture after cropping")
    return width, height


def _skip_coding_tools(reader: BitReader) -> None:
    for _ in range(6):  # sizes of coding and transform blocks
        reader.unsigned()
    if reader.flag() and reader.flag():
        _skip_scaling_lists(reader)
    reader.skip(2)  # amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if reader.flag():  # pcm_enabled_flag
        reader.skip(8)
        reader.unsigned()
        reader.unsigned()
        reader.skip(1)


def _skip_scaling_lists(reader: BitReader) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):  # noqa: PLR2004 - 32x32 has two matrices
            if not reader.flag():
                reader.unsigned()
                continue
            # From 16x16 on the first value has a code of its own.
            reader.skip_codes((size > 1) + min(64, 1 << (4 + 2 * size)))


def _skip_reference_sets(reader: BitReader, poc_bits: int) -> None:
    count = reader.bounded(_MAX_REFERENCE_SETS, "num_short_term_ref_pic_sets")
    pictures = 0
    for index in range(count):
        pictures = _skip_reference_set(reader, index, pictures)
    if reader.flag():  # long_term_ref_pics_present_flag
        for _ in range(reader.bounded(32, "num_long_term_ref_pics_sps")):
            reader.skip(poc_bits + 1)
    reader.skip(2)  # sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag


def _skip_reference_set(reader: BitReader, index: int, previous: int) -> int:
    """Pass over one st_ref_pic_set (clause 7.3.7); returns its number of pictures."""
    if index and reader.flag():  # inter_ref_pic_set_prediction_flag
        reader.skip(1)
        reader.unsigned()
        kept = 0
        for _ in range(previous + 1):
            # used_by_curr_pic_flag, else use_delta_flag
            kept += reader.flag() or reader.flag()
        if kept > _MAX_PICTURES:
            raise reader.malformed(f"a reference picture set of {kept} pictures")
        return kept
    negative = reader.bounded(_MAX_PICTURES, "num_negative_pics")
    positive = reader.bounded(_MAX_PICTURES - negative, "num_positive_pics")
    for _ in range(negative + positive):
        reader.unsigned()
        reader.skip(1)
    return negative + positive


def _read_vui(reader: BitReader) -> tuple[tuple[int, int], Fraction | None, bool]:
    aspect = read_pixel_aspect(reader)
    skip_signal_type(reader)
    reader.skip(1)  # neutral_chroma_indication_flag
    fields = reader.flag()  # field_seq_flag: each access unit is one field
    reader.skip(1)
    if reader.flag():  # default_display_window_flag
        for _ in range(4):
            reader.unsigned()
    duration: Fraction | None = None
    if reader.flag():  # vui_timing_info_present_flag
        units, scale = reader.bits(32), reader.bits(32)
        duration = Fraction(units, scale) if units and scale else None
    return aspect, duration, fields


def vps_identifier(nal: bytes) -> int:
    """vps_video_parameter_set_id of a video parameter set (clause 7.3.2.1)."""
    return BitReader(nal[:16], _NAL_HEADER_SIZE, "vps").bits(4)


def pps_identifiers(nal: bytes) -> tuple[int, int]:
    """pps_pic_parameter_set_id and pps_seq_parameter_set_id of a PPS (clause 7.3.2.3)."""
    reader = BitReader(nal[:16], _NAL_HEADER_SIZE, "pps")
    number = reader.bounded(63, "pps_pic_parameter_set_id")
    return number, reader.bounded(15, "pps_seq_parameter_set_id")


def slice_pps_identifier(nal: bytes) -> int:
    """slice_pic_parameter_set_id of a slice segment (clause 7.3.6.1); raises MalformedMedia."""
    reader = BitReader(nal[:16], _NAL_HEADER_SIZE, "slice")
    reader.skip(1)  # first_slice_segment_in_pic_flag
    if 1 << nal_type(nal[0]) & IRAP_MASK:
        reader.skip(1)  # no_output_of_prior_pics_flag
    return reader.bounded(63, "slice_pic_parameter_set_id")


def build_configuration(
    vps: Sequence[bytes], sps: Sequence[bytes], pps: Sequence[bytes]
) -> CodecConfiguration:
    """The sample entry for these parameter sets (ISO/IEC 14496-15 clause 8.3.3.1).

    ``hvc1`` wants array_completeness = 1; sets that a camera repeats in the stream, byte for
    byte the same, stay where they are (media bytes are never altered) and do no harm.

    Raises:
        MalformedMedia: a set is missing, too long or unreadable.
    """
    if not vps or not sps or not pps:
        raise MalformedMedia(
            "video, sequence or picture parameter set missing", 0, "hvcC",
            MediaReason.PARAMETER_SETS_MISSING,
        )  # fmt: skip
    first = parse_sps(sps[0])
    general = first.general
    record = bytearray(struct.pack("!BBI", 1, general.space_tier_profile, general.compatibility))
    record += general.constraints.to_bytes(6, "big")
    record += struct.pack(
        "!BHBBBBHBB",
        general.level,
        0xF000,  # min_spatial_segmentation_idc unknown
        0xFC,  # parallelismType unknown
        0xFC | first.chroma_format,
        0xF8 | first.bit_depth_luma - 8,
        0xF8 | first.bit_depth_chroma - 8,
        0,  # avgFrameRate unspecified
        first.sub_layers << 3 | first.temporal_nesting << 2 | 3,
        3,
    )
    for kind, sets in ((VPS, vps), (SPS, sps), (PPS, pps)):
        record += struct.pack("!BH", 0x80 | kind, len(sets))
        for nal in sets:
            record += struct.pack("!H", len(nal)) + nal
    return CodecConfiguration(
        VideoCodec.H265, b"hvc1", bytes(record), codec_string(general), first.info
    )


def codec_string(general: ProfileTierLevel) -> str:
    """The codecs parameter (RFC 6381 by ISO/IEC 14496-15 annex E.3)."""
    space = ("", "A", "B", "C")[general.space_tier_profile >> 6]
    tier = "H" if general.space_tier_profile & 0x20 else "L"
    compatibility = int(f"{general.compatibility:032b}"[::-1], 2)
    parts = [f"hvc1.{space}{general.space_tier_profile & 0x1F}", f"{compatibility:X}"]
    parts.append(f"{tier}{general.level}")
    parts += [f"{byte:X}" for byte in general.constraints.to_bytes(6, "big").rstrip(b"\0")]
    return ".".join(parts)


def read_record(record: bytes) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """The video, sequence and picture parameter sets of an hvcC payload.

    Raises:
        MalformedMedia: it is cut short, or NAL lengths are not of four bytes.
    """
    if len(record) < 23 or record[0] != 1:  # noqa: PLR2004 - the fixed part has 23 bytes
        raise MalformedMedia("not an HEVC configuration of version 1", 0, "hvcC")
    if record[21] & 3 != 3:  # noqa: PLR2004 - lengthSizeMinusOne
        raise MalformedMedia("NAL unit lengths are not of four bytes", 21, "hvcC")
    sets: dict[int, list[bytes]] = {VPS: [], SPS: [], PPS: []}
    position = 23
    for _ in range(record[22]):
        if position + 3 > len(record):
            raise MalformedMedia("array cut short", position, "hvcC", MediaReason.TRUNCATED)
        kind, count = record[position] & 0x3F, int.from_bytes(record[position + 1 : position + 3])
        position += 3
        for _ in range(count):
            size = int.from_bytes(record[position : position + 2])
            nal = record[position + 2 : position + 2 + size]
            if len(nal) != size or not size:
                raise MalformedMedia("NAL unit cut short", position, "hvcC", MediaReason.TRUNCATED)
            sets.setdefault(kind, []).append(nal)
            position += 2 + size
    return sets[VPS], sets[SPS], sets[PPS]
