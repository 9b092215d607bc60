"""The header of a CMAF file: file type and movie boxes (ISO/IEC 14496-12, 23000-19 clause 7)."""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from vigie.media.bmff.boxes import box, full_box
from vigie.media.bmff.protection import Protection
from vigie.media.codec import MEDIA_TIMESCALE, CodecConfiguration, VideoCodec

TRACK_ID: Final = 1
_UNITY_MATRIX: Final = struct.pack("!9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_UNDETERMINED: Final = 0x55C4  # ISO 639-2 "und", three times five bits
_TRACK_ENABLED_IN_MOVIE: Final = 3
_NON_SYNC_FLAGS: Final = 0x01010000
_DEPTH_COLOUR: Final = 24
_RESOLUTION_72_DPI: Final = 72 << 16
# cmf2 asks for a track without edit list; cmfc allows one that takes off the decoding delay.
CMAF_BRANDS: Final = (b"cmfc", b"iso6", b"cmfc", b"cmf2", b"mp41")
CMAF_DELAY_BRANDS: Final = (b"cmfc", b"iso6", b"cmfc", b"mp41")
# An edit list that cuts frames off is not allowed in CMAF, so clips do not claim to be.
CLIP_BRANDS: Final = (b"iso6", b"iso6", b"isom", b"mp41")


class Presentation(NamedTuple):
    """What part of the media timeline is shown (an edit list of one entry), in media ticks.

    A ``duration`` of 0 means up to the end of the last fragment.
    """

    media_time: int
    duration: int


def content_type(configuration: CodecConfiguration) -> str:
    """The media type with codecs parameter (RFC 6381), as the object's content type."""
    return f'video/mp4; codecs="{configuration.codec_string}"'


def build_header(
    configuration: CodecConfiguration,
    *,
    presentation_delay: int = 0,
    bitrate: int | None = None,
    protection: Protection | None = None,
) -> bytes:
    """``ftyp`` and ``moov`` of a CMAF track with fragments to follow.

    Args:
        configuration: codec and dimensions.
        presentation_delay: of the run (`timing.RunTimeline`), in media ticks.
        bitrate: average bits a second for a ``btrt`` box; none is written when None.
        protection: contributes the boxes of Common Encryption.
    """
    entry = build_sample_entry(configuration, bitrate=bitrate, protection=protection)
    return build_movie(
        [entry],
        configuration,
        brands=CMAF_DELAY_BRANDS if presentation_delay else CMAF_BRANDS,
        presentation=Presentation(presentation_delay, 0) if presentation_delay else None,
        protection=protection,
    )


def build_movie(
    entries: Sequence[bytes],
    configuration: CodecConfiguration,
    *,
    brands: Sequence[bytes],
    fragments_duration: int = 0,
    presentation: Presentation | None = None,
    protection: Protection | None = None,
) -> bytes:
    """The header for these sample entries.

    ``fragments_duration`` (media ticks) goes to ``mehd`` so that players know the length before
    they have read all fragments; with ``presentation`` the movie lasts as long as that.
    """
    shown = presentation.duration if presentation else fragments_duration
    head = full_box(
        b"mvhd", 1, 0,
        struct.pack("!QQIQ", 0, 0, MEDIA_TIMESCALE, shown),
        struct.pack("!IH10x", 1 << 16, 1 << 8), _UNITY_MATRIX,
        struct.pack("!24xI", TRACK_ID + 1),
    )  # fmt: skip
    track = box(b"trak", _track_header(configuration, shown),
                _edit_list(presentation) if presentation else b"",
                _media(entries))  # fmt: skip
    extends = full_box(b"trex", 0, 0, struct.pack("!5I", TRACK_ID, 1, 0, 0, _NON_SYNC_FLAGS))
    length = full_box(b"mehd", 1, 0, struct.pack("!Q", shown)) if shown else b""
    extra = protection.movie_boxes() if protection else b""
    file_type = box(b"ftyp", brands[0], struct.pack("!I", 0), *brands[1:])
    return file_type + box(b"moov", head, track, box(b"mvex", length, extends), extra)


def build_sample_entry(
    configuration: CodecConfiguration,
    *,
    bitrate: int | None = None,
    protection: Protection | None = None,
) -> bytes:
    """The visual sample entry (ISO/IEC 14496-12 clause 12.1.3, 14496-15 clauses 5.4.2, 8.4.1)."""
    kind = configuration.sample_entry
    record = b"avcC" if configuration.codec is VideoCodec.H264 else b"hvcC"
    children = [box(record, configuration.record)]
    across, down = configuration.info.pixel_aspect
    if across != down:
        children.append(box(b"pasp", struct.pack("!II", across, down)))
    if bitrate is not None:
        children.append(box(b"btrt", struct.pack("!III", 0, bitrate, bitrate)))
    if protection is not None:
        children.append(protection.sample_entry_boxes(kind))
        kind = protection.sample_entry_type(kind)
    fixed = struct.pack(
        "!6xH16xHHIIIH32xHh",
        1, configuration.width, configuration.height,
        _RESOLUTION_72_DPI, _RESOLUTION_72_DPI, 0, 1, _DEPTH_COLOUR, -1,
    )  # fmt: skip
    return box(kind, fixed, *children)


def _track_header(configuration: CodecConfiguration, duration: int) -> bytes:
    across, down = configuration.info.pixel_aspect
    width = (configuration.width << 16) * across // down
    return full_box(
        b"tkhd", 1, _TRACK_ENABLED_IN_MOVIE,
        struct.pack("!QQI4xQ8xhhhxx", 0, 0, TRACK_ID, duration, 0, 0, 0), _UNITY_MATRIX,
        struct.pack("!II", width & 0xFFFFFFFF, configuration.height << 16),
    )  # fmt: skip


def _edit_list(presentation: Presentation) -> bytes:
    entry = struct.pack("!IQqhh", 1, presentation.duration, presentation.media_time, 1, 0)
    return box(b"edts", full_box(b"elst", 1, 0, entry))


def _media(entries: Sequence[bytes]) -> bytes:
    head = full_box(
        b"mdhd", 1, 0,
        struct.pack("!QQIQHH", 0, 0, MEDIA_TIMESCALE, 0, _UNDETERMINED, 0),
    )  # fmt: skip
    handler = full_box(b"hdlr", 0, 0, struct.pack("!I4s12x", 0, b"vide"), b"VideoHandler\0")
    reference = full_box(b"dref", 0, 0, struct.pack("!I", 1), full_box(b"url ", 0, 1))
    empty = struct.pack("!I", 0)
    table = box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack("!I", len(entries)), *entries),
        full_box(b"stts", 0, 0, empty),
        full_box(b"stsc", 0, 0, empty),
        full_box(b"stsz", 0, 0, empty, empty),
        full_box(b"stco", 0, 0, empty),
    )
    information = box(b"minf", full_box(b"vmhd", 0, 1, bytes(8)), box(b"dinf", reference), table)
    return box(b"mdia", head, handler, information)
