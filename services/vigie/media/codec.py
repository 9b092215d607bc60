"""What the two codecs have in common: their names and what a decoder needs to start."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

MEDIA_TIMESCALE: Final = 90_000
MAX_DIMENSION: Final = 16_384


class VideoCodec(StrEnum):
    """The codecs that are recorded as received."""

    H264 = "h264"
    H265 = "h265"


@dataclass(frozen=True, slots=True)
class SequenceInfo:
    """What a sequence parameter set says that somebody outside the decoder needs.

    ``frame_duration`` is in seconds, from the VUI, None when it says nothing; ``reorder_frames``
    is how many frames may precede one in decoding and follow it in output, None when unsaid;
    ``pixel_aspect`` is the width to height of one sample; ``fields`` means that one frame may
    come as two coded fields.
    """

    width: int
    height: int
    profile: int
    level: int
    frame_duration: Fraction | None
    reorder_frames: int | None
    pixel_aspect: tuple[int, int]
    fields: bool


@dataclass(frozen=True, slots=True)
class CodecConfiguration:
    """The sample entry of a track: its four-character code, record and RFC 6381 codec string.

    ``record`` is the payload of avcC or hvcC (ISO/IEC 14496-15 clauses 5.3.3.1, 8.3.3.1).
    """

    codec: VideoCodec
    sample_entry: bytes
    record: bytes
    codec_string: str
    info: SequenceInfo

    @property
    def width(self) -> int:
        """Pixels, after cropping."""
        return self.info.width

    @property
    def height(self) -> int:
        """Pixels, after cropping."""
        return self.info.height


# Sample aspect ratios by aspect_ratio_idc (H.264 table E-1, H.265 table E.1).
PIXEL_ASPECTS: Final[tuple[tuple[int, int], ...]] = (
    (1, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip
EXTENDED_ASPECT: Final = 255


def chroma_crop_units(chroma_format: int) -> tuple[int, int]:
    """SubWidthC and SubHeightC (H.264 table 6-1, H.265 table 6-1)."""
    return (2 if chroma_format in {1, 2} else 1, 2 if chroma_format == 1 else 1)
