"""Parsing of the movie box: one video track with fragments to follow."""

import struct
from dataclasses import dataclass
from typing import Final

from vigie.media.bmff.boxes import (
    Box,
    child,
    children,
    iter_boxes,
    read_box_header,
    unpack,
    version_and_flags,
)
from vigie.media.codec import CodecConfiguration, VideoCodec
from vigie.media.errors import MalformedMedia, UnsupportedMedia
from vigie.media.parameters import ParameterSets

_U16_PAIR: Final = struct.Struct("!HH")
_U32: Final = struct.Struct("!I")
_TREX: Final = struct.Struct("!5I")
_EDIT_0: Final = struct.Struct("!IiI")
_EDIT_1: Final = struct.Struct("!QqI")
_CODECS: Final = {
    b"avc1": VideoCodec.H264, b"avc3": VideoCodec.H264,
    b"hvc1": VideoCodec.H265, b"hev1": VideoCodec.H265,
}  # fmt: skip
_RECORDS: Final = {VideoCodec.H264: b"avcC", VideoCodec.H265: b"hvcC"}
_VISUAL_SAMPLE_ENTRY_SIZE: Final = 78
_DIMENSIONS_AT: Final = 24


@dataclass(frozen=True, slots=True)
class SampleDefaults:
    """What fragments do not repeat (``trex``)."""

    description_index: int
    duration: int
    size: int
    flags: int


@dataclass(frozen=True, slots=True)
class MediaHeader:
    """A video track as its movie box describes it.

    ``parameters`` has one item a sample entry (nearly always one); ``presentation_delay`` is the
    media_time of the edit list, 0 without one; ``presentation_duration`` that of the edit, 0 when
    open; ``size_bytes`` is the size of ``ftyp`` and ``moov``: fragments come after it.
    """

    track_id: int
    timescale: int
    parameters: tuple[ParameterSets, ...]
    width: int
    height: int
    defaults: SampleDefaults
    presentation_delay: int
    presentation_duration: int
    size_bytes: int
    data: bytes

    @property
    def configuration(self) -> CodecConfiguration:
        """That of the first sample entry."""
        return self.parameters[0].configuration


def parse_movie(data: bytes, movie: Box) -> MediaHeader:
    """Read the movie box, whole in ``data``, which begins at the start of the file.

    Raises:
        MalformedMedia: not one video track, boxes missing or cut short.
        UnsupportedMedia: of another codec, or encrypted.
    """
    track = child(data, movie, b"trak")
    media = child(data, track, b"mdia")
    handler = child(data, media, b"hdlr")
    if data[handler.body + 8 : handler.body + 12] != b"vide":
        raise MalformedMedia("the track is no video", handler.start, handler.path)
    table = child(data, child(data, media, b"minf"), b"stbl")
    entries, width, height = _parse_descriptions(data, child(data, table, b"stsd"))
    track_id = _after_times(data, child(data, track, b"tkhd"))
    extends = child(data, child(data, movie, b"mvex"), b"trex")
    version_and_flags(data, extends, 0)
    extended, description, duration, size, flags = unpack(_TREX, data, extends, 4)
    if extended != track_id:
        raise MalformedMedia(f"for track {extended}", extends.start, extends.path)
    timescale = _after_times(data, child(data, media, b"mdhd"))
    if not timescale:
        raise MalformedMedia("timescale 0", media.start, f"{media.path}/mdhd")
    delay, shown = _parse_edits(data, track)
    return MediaHeader(
        track_id, timescale, entries, width, height,
        SampleDefaults(description, duration, size, flags), delay, shown, movie.end, data,
    )  # fmt: skip


def _after_times(data: bytes, where: Box) -> int:
    """The field after creation and modification time of tkhd (track) and mdhd (timescale)."""
    version, _ = version_and_flags(data, where, 1)
    return unpack(_U32, data, where, 20 if version else 12)[0]


def _parse_edits(data: bytes, track: Box) -> tuple[int, int]:
    for edits in children(data, track, b"edts"):
        edit = child(data, edits, b"elst")
        version, _ = version_and_flags(data, edit, 1)
        if unpack(_U32, data, edit, 4)[0] != 1:
            raise UnsupportedMedia("edit list of more than one entry")
        duration, time, _ = unpack(_EDIT_1 if version else _EDIT_0, data, edit, 8)
        if time < 0:
            raise UnsupportedMedia("empty edit")
        return time, duration
    return 0, 0


def _parse_descriptions(data: bytes, where: Box) -> tuple[tuple[ParameterSets, ...], int, int]:
    version_and_flags(data, where, 0)
    (count,) = unpack(_U32, data, where, 4)
    found = [
        _parse_entry(data, entry)
        for entry in iter_boxes(data, where.body + 8, where.end, where.path)
    ]
    if not found or len(found) != count:
        raise MalformedMedia(f"{len(found)} entries, {count} announced", where.start, where.path)
    _, width, height = found[0]
    return tuple(parameters for parameters, _, _ in found), width, height


def _parse_entry(data: bytes, entry: Box) -> tuple[ParameterSets, int, int]:
    codec = _CODECS.get(entry.kind)
    if codec is None:
        raise UnsupportedMedia(f"sample entry {entry.kind!r}")
    width, height = unpack(_U16_PAIR, data, entry, _DIMENSIONS_AT)
    start = entry.body + _VISUAL_SAMPLE_ENTRY_SIZE
    while start < entry.end:
        record = read_box_header(data, start, entry.end, entry.path)
        if record.kind == _RECORDS[codec]:
            sets = ParameterSets.from_configuration(codec, data[record.body : record.end])
            _ = sets.configuration  # refused now, not when somebody looks at it
            return sets, width, height
        start = record.end
    raise MalformedMedia("no decoder configuration", entry.start, entry.path)
