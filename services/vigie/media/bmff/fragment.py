"""Movie fragments: producer reference time, movie fragment box, header of the media data box.

The media bytes are not touched: what is built here is written before them.
"""

import struct
from itertools import chain
from typing import Final

from vigie.media.bmff.boxes import box, full_box
from vigie.media.bmff.header import TRACK_ID
from vigie.media.bmff.protection import Protection
from vigie.media.errors import MediaError, MediaReason
from vigie.media.rtcp import unix_us_to_ntp
from vigie.media.timing import SampleTable

SYNC_FLAGS: Final = 0x02000000  # depends on no other sample
NON_SYNC_FLAGS: Final = 0x01010000  # depends on others, is no sync sample
# The time in prft is that of the capture of the first sample (clause 8.16.5, 2020 edition).
PRFT_CAPTURED: Final = 24
_TFHD_DESCRIPTION: Final = 0x000002
_TFHD_DURATION: Final = 0x000008
_TFHD_FLAGS: Final = 0x000020
_TFHD_BASE_IS_MOOF: Final = 0x020000
_TRUN_DATA_OFFSET: Final = 0x001
_TRUN_FIRST_FLAGS: Final = 0x004
_TRUN_DURATIONS: Final = 0x100
_TRUN_SIZES: Final = 0x200
_TRUN_FLAGS: Final = 0x400
_TRUN_OFFSETS: Final = 0x800
MDAT_HEADER_SIZE: Final = 8
_MAX_MDAT: Final = 0xFFFFFFFF - MDAT_HEADER_SIZE
_MAX_DURATION: Final = 0xFFFFFFFF
_MAX_OFFSET: Final = 1 << 31


def build_fragment(
    table: SampleTable,
    sequence_number: int,
    base_decode_time: int,
    *,
    wall_us: int | None = None,
    description_index: int | None = None,
    protection: Protection | None = None,
) -> bytes:
    """``[prft] moof`` and the header of ``mdat``; the samples follow in the order of the table.

    Args:
        table: the samples; at least one.
        sequence_number: of the movie fragment, rising within a file.
        base_decode_time: of the first sample, in media ticks since the start of the run.
        wall_us: when the sample of that time was captured, for ``prft``; none written when None.
        description_index: 1-based sample entry; None for the only one.
        protection: contributes the boxes of Common Encryption.

    Raises:
        MediaError: no samples, or more than 4 GiB of them; one that lasts or is moved by more
            than the format can tell.
    """
    size = table.size_bytes
    if not table.sizes or size > _MAX_MDAT:
        raise MediaError(MediaReason.MALFORMED, f"fragment of {len(table.sizes)} samples")
    longest = max(table.durations)
    earliest, latest = min(table.composition_offsets), max(table.composition_offsets)
    if longest > _MAX_DURATION or not -_MAX_OFFSET <= earliest <= latest < _MAX_OFFSET:
        what = f"samples of up to {longest} ticks, moved by {earliest} to {latest}"
        raise MediaError(MediaReason.MALFORMED, what)
    header = _track_fragment_header(table, description_index)
    time = full_box(b"tfdt", 1, 0, struct.pack("!Q", base_decode_time))
    sequence = full_box(b"mfhd", 0, 0, struct.pack("!I", sequence_number & 0xFFFFFFFF))
    run = _track_run(table, 0)
    before_run = len(header) + len(time) + len(run)
    # moof and traf headers, then what protection adds behind the run.
    start = 8 + len(sequence) + 8 + before_run
    extra = protection.track_fragment_boxes(table, start) if protection else b""
    run = _track_run(table, start + len(extra) + MDAT_HEADER_SIZE)
    moof = box(b"moof", sequence, box(b"traf", header, time, run, extra))
    mdat = struct.pack("!I4s", MDAT_HEADER_SIZE + size, b"mdat")
    if wall_us is None:
        return moof + mdat
    return build_reference_time(wall_us, base_decode_time) + moof + mdat


def build_reference_time(wall_us: int, media_time: int) -> bytes:
    """``prft`` (clause 8.16.5): media time ``media_time`` was captured at ``wall_us``."""
    body = struct.pack("!IQQ", TRACK_ID, unix_us_to_ntp(wall_us), media_time)
    return full_box(b"prft", 1, PRFT_CAPTURED, body)


def _track_fragment_header(table: SampleTable, description_index: int | None) -> bytes:
    flags = _TFHD_BASE_IS_MOOF | _TFHD_FLAGS
    fields = [TRACK_ID]
    if description_index is not None:
        flags |= _TFHD_DESCRIPTION
        fields.append(description_index)
    if _is_constant(table.durations):
        flags |= _TFHD_DURATION
        fields.append(table.durations[0])
    fields.append(NON_SYNC_FLAGS)
    return full_box(b"tfhd", 0, flags, struct.pack(f"!{len(fields)}I", *fields))


def _track_run(table: SampleTable, data_offset: int) -> bytes:
    flags = _TRUN_DATA_OFFSET | _TRUN_SIZES
    columns: list[list[int]] = []
    if not _is_constant(table.durations):
        flags |= _TRUN_DURATIONS
        columns.append(table.durations)
    columns.append(table.sizes)
    fields = [len(table.sizes), data_offset]
    if any(table.sync[1:]):
        flags |= _TRUN_FLAGS
        columns.append([SYNC_FLAGS if sync else NON_SYNC_FLAGS for sync in table.sync])
    else:
        flags |= _TRUN_FIRST_FLAGS
        fields.append(SYNC_FLAGS if table.sync[0] else NON_SYNC_FLAGS)
    if any(table.composition_offsets):
        flags |= _TRUN_OFFSETS
        columns.append([offset & 0xFFFFFFFF for offset in table.composition_offsets])
    values = list(chain(fields, *zip(*columns, strict=True)))
    return full_box(b"trun", 1, flags, struct.pack(f"!{len(values)}I", *values))


def _is_constant(values: list[int]) -> bool:
    return values.count(values[0]) == len(values)
