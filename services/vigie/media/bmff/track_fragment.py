"""Parsing of the movie fragment box into a sample table."""

import struct
from typing import Final, NamedTuple

from vigie.media.bmff.boxes import Box, child, children, unpack, version_and_flags
from vigie.media.bmff.movie import MediaHeader, SampleDefaults
from vigie.media.errors import MalformedMedia, MediaReason
from vigie.media.timing import SampleTable

MAX_SAMPLES: Final = 200_000
# The length of a NAL unit and its first byte; encrypted or not, a sample is never less.
MIN_SAMPLE_BYTES: Final = 5
_U32: Final = struct.Struct("!I")
_I32: Final = struct.Struct("!i")
_U64: Final = struct.Struct("!Q")
_NON_SYNC: Final = 0x00010000
_BASE_DATA_OFFSET: Final = 0x000001
_DATA_OFFSET: Final = 0x001
_FIRST_FLAGS: Final = 0x004
_COLUMNS: Final = (0x100, 0x200, 0x400, 0x800)  # durations, sizes, flags, composition offsets


class TrackFragment(NamedTuple):
    """``data_offset`` is where the samples begin, from the start of the movie fragment box."""

    sequence_number: int
    base_decode_time: int
    description_index: int
    data_offset: int
    table: SampleTable


def parse_movie_fragment(
    data: bytes, moof: Box, header: MediaHeader, room_bytes: int
) -> TrackFragment:
    """Read the movie fragment box, whole in ``data``.

    A table may state one size for all samples, so that a number in a few bytes asks for as many
    entries as it likes. There must be room for their media: ``room_bytes``, what the object has
    behind this box.

    Raises:
        MalformedMedia: not one track fragment of this track, or tables that do not fit.
    """
    sequence = child(data, moof, b"mfhd")
    (number,) = unpack(_U32, data, sequence, 4)
    track = child(data, moof, b"traf")
    defaults = _parse_track_header(data, child(data, track, b"tfhd"), header)
    time = child(data, track, b"tfdt")
    version, _ = version_and_flags(data, time, 1)
    (base,) = unpack(_U64 if version else _U32, data, time, 4)
    runs = children(data, track, b"trun")
    if not runs:
        raise MalformedMedia("no track run", track.start, track.path)
    table = SampleTable([], [], [], [])
    first = -1
    for run in runs:
        start = _parse_run(data, run, defaults, table, room_bytes)
        if first < 0:
            first = start
        elif start not in {-1, first + table.size_bytes}:
            # Runs without an offset follow each other; others must say the same.
            raise MalformedMedia("runs are not contiguous", run.start, run.path)
    if first < 0 or not table.sizes:
        raise MalformedMedia("no data offset, or no samples", track.start, track.path)
    smallest = min(table.sizes)
    if smallest < MIN_SAMPLE_BYTES:
        raise MalformedMedia(f"a sample of {smallest} bytes", track.start, track.path)
    return TrackFragment(number, base, defaults.description_index, first, table)


def _parse_track_header(data: bytes, where: Box, header: MediaHeader) -> SampleDefaults:
    _, flags = version_and_flags(data, where, 0)
    (track_id,) = unpack(_U32, data, where, 4)
    if track_id != header.track_id:
        raise MalformedMedia(f"of track {track_id}", where.start, where.path)
    if flags & _BASE_DATA_OFFSET:
        raise MalformedMedia(
            "absolute data offset", where.start, where.path, MediaReason.UNSUPPORTED
        )
    values = [
        header.defaults.description_index,
        header.defaults.duration,
        header.defaults.size,
        header.defaults.flags,
    ]
    position = 8
    for index, flag in enumerate((0x02, 0x08, 0x10, 0x20)):
        if flags & flag:
            (values[index],) = unpack(_U32, data, where, position)
            position += 4
    if not 1 <= values[0] <= len(header.parameters):
        raise MalformedMedia(f"sample entry {values[0]}", where.start, where.path)
    return SampleDefaults(*values)


def _parse_run(
    data: bytes, run: Box, defaults: SampleDefaults, into: SampleTable, room_bytes: int
) -> int:
    """Append the samples of one run; returns its data offset, -1 when it has none."""
    version, flags = version_and_flags(data, run, 1)
    (count,) = unpack(_U32, data, run, 4)
    position = 8
    offset = -1
    if flags & _DATA_OFFSET:
        (offset,) = unpack(_I32, data, run, position)
        position += 4
    first_flags = None
    if flags & _FIRST_FLAGS:
        (first_flags,) = unpack(_U32, data, run, position)
        position += 4
    present = [bool(flags & column) for column in _COLUMNS]
    width = sum(present)
    if len(into.sizes) + count > MAX_SAMPLES:
        raise MalformedMedia(f"{count} samples", run.start, run.path, MediaReason.TOO_LARGE)
    if (len(into.sizes) + count) * MIN_SAMPLE_BYTES > room_bytes:
        detail = f"{count} samples, for which {room_bytes} bytes have no room"
        raise MalformedMedia(detail, run.start, run.path)
    if run.body + position + 4 * width * count != run.end:
        raise MalformedMedia(f"{count} samples do not fit", run.start, run.path)
    values = struct.unpack_from(f"!{width * count}I", data, run.body + position)
    fallback = (defaults.duration, defaults.size, defaults.flags, 0)
    columns: list[list[int]] = []
    at = 0
    for has, default in zip(present, fallback, strict=True):
        columns.append(list(values[at::width]) if has else [default] * count)
        at += has
    if first_flags is not None and count:
        columns[2][0] = first_flags
    if version:
        columns[3] = [value - (value >> 31 << 32) for value in columns[3]]
    into.durations.extend(columns[0])
    into.sizes.extend(columns[1])
    into.sync.extend(not value & _NON_SYNC for value in columns[2])
    into.composition_offsets.extend(columns[3])
    return offset
