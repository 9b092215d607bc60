"""The bytes of a ZIP around its contents, in the one form a package has (APPNOTE 6.3.10).

Written here, not by `zipfile`: from which size on a record takes its 64-bit form is a choice of the
writer (`zipfile` takes it from 2 GiB on, or earlier), and a form of two choices has room for what
nobody signed. Here a field is 64 bits wide exactly where 32 cannot hold it.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

ATTRIBUTES: Final = 0o100444 << 16
"""Of every entry: a regular file that all may read (Unix mode, upper half)."""
CREATED_ON_UNIX: Final = 3
UTF8_NAMES: Final = 0x800
_WIDE_FROM: int = 0xFFFFFFFF
"""This value says "see the 64-bit field"; it and all above need one. Tests lower it."""
_MANY_FROM: int = 0xFFFF
"""The same, of the number of entries."""
_WIDE_MARK: Final = 0xFFFFFFFF
_MANY_MARK: Final = 0xFFFF
_WIDE_FIELD: Final = 1
_OLDEST_YEAR: Final = 1980
_PLAIN_VERSION: Final = 20
_WIDE_VERSION: Final = 45
_LOCAL_HEADER: Final = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL_HEADER: Final = struct.Struct("<4sBBBBHHHHIIIHHHHHII")
_WIDE_END: Final = struct.Struct("<4sQHHIIQQQQ")
_WIDE_END_LOCATOR: Final = struct.Struct("<4sIQI")
_END: Final = struct.Struct("<4sHHHHIIH")

ZipTime = tuple[int, int, int, int, int, int]
"""Year, month, day, hour, minute, second: what an entry bears."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a package.

    Attributes:
        name: its path.
        time: what it bears.
        crc: CRC-32 of its content.
        size_bytes: length of its content.
        offset: of its local header in the package.
    """

    name: str
    time: ZipTime
    crc: int
    size_bytes: int
    offset: int

    @property
    def flags(self) -> int:
        """General purpose bits: how the name is written, and nothing else."""
        return 0 if self.name.isascii() else UTF8_NAMES

    @property
    def version(self) -> int:
        """Needed to extract: the same in both headers."""
        wide = max(self.size_bytes, self.offset) >= _WIDE_FROM
        return _WIDE_VERSION if wide else _PLAIN_VERSION


def zip_time(created: datetime) -> ZipTime:
    """The time every entry bears: UTC, at the two-second resolution of the format."""
    utc = created.astimezone(UTC)
    if utc.year < _OLDEST_YEAR:
        raise ValueError(f"a package cannot be dated {utc:%Y}: the format begins in 1980")
    return (utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second // 2 * 2)


def local_header(entry: Entry) -> bytes:
    """What stands before the content of an entry (4.3.7)."""
    name = entry.name.encode()
    date, time = _dos_time(entry.time)
    size, wide = entry.size_bytes, b""
    if size >= _WIDE_FROM:
        size, wide = _WIDE_MARK, _wide(entry.size_bytes, entry.size_bytes)
    head = _LOCAL_HEADER.pack(
        b"PK\3\4", entry.version, entry.flags, 0, time, date, entry.crc, size, size,
        len(name), len(wide),
    )  # fmt: skip
    return head + name + wide


def directory(entries: Sequence[Entry], position: int) -> bytes:
    """The central directory that begins at ``position``, and the end of the package."""
    records = b"".join(_central_header(entry) for entry in entries)
    count, size = len(entries), len(records)
    wide = b""
    if max(size, position) >= _WIDE_FROM or count >= _MANY_FROM:
        wide = _WIDE_END.pack(
            b"PK\6\6", _WIDE_END.size - 12, _WIDE_VERSION, _WIDE_VERSION, 0, 0, count, count,
            size, position,
        )  # fmt: skip
        wide += _WIDE_END_LOCATOR.pack(b"PK\6\7", 0, position + size, 1)
    narrow_count = _MANY_MARK if count >= _MANY_FROM else count
    end = _END.pack(
        b"PK\5\6", 0, 0, narrow_count, narrow_count, _narrow(size), _narrow(position), 0
    )
    return records + wide + end


def _central_header(entry: Entry) -> bytes:
    """The record of an entry in the directory (4.3.12, 4.5.3)."""
    name = entry.name.encode()
    date, time = _dos_time(entry.time)
    values = [entry.size_bytes] * 2 if entry.size_bytes >= _WIDE_FROM else []
    values += [entry.offset] if entry.offset >= _WIDE_FROM else []
    wide = _wide(*values) if values else b""
    size = _narrow(entry.size_bytes)
    head = _CENTRAL_HEADER.pack(
        b"PK\1\2", entry.version, CREATED_ON_UNIX, entry.version, 0, entry.flags, 0, time, date,
        entry.crc, size, size, len(name), len(wide), 0, 0, 0, ATTRIBUTES, _narrow(entry.offset),
    )  # fmt: skip
    return head + name + wide


def _wide(*values: int) -> bytes:
    return struct.pack(f"<HH{len(values)}Q", _WIDE_FIELD, 8 * len(values), *values)


def _narrow(value: int) -> int:
    return _WIDE_MARK if value >= _WIDE_FROM else value


def _dos_time(value: ZipTime) -> tuple[int, int]:
    year, month, day, hour, minute, second = value
    return (year - _OLDEST_YEAR) << 9 | month << 5 | day, hour << 11 | minute << 5 | second // 2
