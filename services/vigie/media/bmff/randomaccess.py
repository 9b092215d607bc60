"""``mfra``, the index at the end of a segment, and its short form, the ONVIF SeekTable."""

import base64
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from vigie.media.bmff.boxes import Box, box, child, full_box, unpack, version_and_flags
from vigie.media.bmff.header import TRACK_ID
from vigie.media.errors import MalformedMedia, MediaReason

# "The SeekTable should contain no more than twenty entries" (ONVIF annex, SeekTable Attribute).
SEEK_TABLE_ENTRIES: Final = 20
MFRO_SIZE: Final = 16
_ENTRY: Final = struct.Struct("!QQBBB")
_SMALL_ENTRY: Final = struct.Struct("!IIBBB")
_TFRA_FIELDS: Final = struct.Struct("!III")


class RandomAccessEntry(NamedTuple):
    """One fragment: presentation time of its sync sample, where its ``moof`` is in the file."""

    time: int
    moof_offset: int


class RandomAccessTable:
    """Collects the fragments of one segment."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: list[RandomAccessEntry] = []

    def append(self, time: int, moof_offset: int) -> None:
        """Add a fragment; ``moof_offset`` is that of the ``moof`` itself, not of its ``prft``."""
        self.entries.append(RandomAccessEntry(time, moof_offset))

    def mfra(self) -> bytes:
        """The box to end the segment with (clauses 8.8.9 to 8.8.11)."""
        table = _track_table(self.entries)
        return box(
            b"mfra", table, full_box(b"mfro", 0, 0, struct.pack("!I", 8 + len(table) + MFRO_SIZE))
        )

    def seek_table(self) -> str:
        """The SeekTable attribute: ``mfra`` without ``mfro``, condensed, in base64 with padding.

        The first fragment is always in it; of the others every n-th, so that twenty suffice.
        """
        step = max(1, -(-len(self.entries) // SEEK_TABLE_ENTRIES))
        return base64.b64encode(box(b"mfra", _track_table(self.entries[::step]))).decode()


def _track_table(entries: Sequence[RandomAccessEntry]) -> bytes:
    # Numbers of traf, trun and sample are of one byte each, and each is 1.
    rows = b"".join(_ENTRY.pack(entry.time, entry.moof_offset, 1, 1, 1) for entry in entries)
    return full_box(b"tfra", 1, 0, struct.pack("!III", TRACK_ID, 0, len(entries)), rows)


def parse_random_access(data: bytes, where: Box) -> list[RandomAccessEntry]:
    """The entries of an ``mfra`` with one track, whole in ``data``. Raises MalformedMedia."""
    table = child(data, where, b"tfra")
    version, _ = version_and_flags(data, table, 1)
    _, lengths, count = unpack(_TFRA_FIELDS, data, table, 4)
    if lengths & 0x3F:
        raise MalformedMedia(
            "numbers of more than one byte", table.start, table.path, MediaReason.UNSUPPORTED
        )
    layout = _ENTRY if version else _SMALL_ENTRY
    start = table.body + 4 + _TFRA_FIELDS.size
    if table.end - start != count * layout.size:
        raise MalformedMedia(f"{count} entries do not fit", start, table.path)
    return [
        RandomAccessEntry(*layout.unpack_from(data, start + index * layout.size)[:2])
        for index in range(count)
    ]
