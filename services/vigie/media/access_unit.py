"""What tells one access unit from the next, and a key frame from the others, for each codec."""

from dataclasses import dataclass
from typing import Final

from vigie.media import h264, h265
from vigie.media.codec import VideoCodec


@dataclass(frozen=True, slots=True)
class AccessUnitRules:
    """Sets of NAL unit types are bit masks, so that one access unit is one integer.

    ``leading_free_mask``: key frames after which no picture comes that precedes them in output.
    ``undecodable_mask``: pictures that the first key frame of a run cannot serve.
    ``opening_mask``: types that begin an access unit wherever they occur in practice; after a
    loss nothing but these proves that a frame is whole.
    """

    codec: VideoCodec
    nal_types: bytes  # by the first byte of a NAL unit; a table costs a third of a call
    nal_header_size: int
    picture_mask: int
    prefix_mask: int
    parameter_mask: int
    sync_mask: int
    leading_free_mask: int
    undecodable_mask: int
    opening_mask: int
    recovery_sei: int | None  # NAL unit type of the SEI that may announce a recovery point


# An H.264 recovery point with recovery_frame_cnt 0 starts a GOP like libav's muxer has it: open
# GOPs of H.264 have no IDR but the first, and a recording without starting points is of no use.
H264_RULES: Final = AccessUnitRules(
    codec=VideoCodec.H264,
    nal_types=bytes(map(h264.nal_type, range(256))),
    nal_header_size=1,
    picture_mask=h264.VCL_MASK,
    prefix_mask=h264.PREFIX_MASK,
    parameter_mask=1 << h264.SPS | 1 << h264.PPS,
    sync_mask=1 << h264.IDR,
    leading_free_mask=1 << h264.IDR,
    undecodable_mask=0,
    opening_mask=1 << h264.ACCESS_UNIT_DELIMITER | 1 << h264.SPS,
    recovery_sei=h264.SEI,
)
H265_RULES: Final = AccessUnitRules(
    codec=VideoCodec.H265,
    nal_types=bytes(map(h265.nal_type, range(256))),
    nal_header_size=2,
    picture_mask=h265.VCL_MASK,
    prefix_mask=h265.PREFIX_MASK,
    parameter_mask=1 << h265.VPS | 1 << h265.SPS | 1 << h265.PPS,
    sync_mask=h265.IRAP_MASK,
    leading_free_mask=h265.NO_LEADING_MASK,
    undecodable_mask=h265.SKIPPED_LEADING_MASK,
    opening_mask=1 << h265.ACCESS_UNIT_DELIMITER | 1 << h265.VPS,
    recovery_sei=None,
)
RULES: Final = {VideoCodec.H264: H264_RULES, VideoCodec.H265: H265_RULES}
