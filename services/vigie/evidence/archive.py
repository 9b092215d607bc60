"""The container of a package: a ZIP with stored entries, or the folder it was unpacked to.

Written in one canonical way (no compression, one time for all entries, fixed attributes), so that
a reader can refuse every deviation: what the signature does not cover cannot carry anything.
"""

import io
import stat
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Final, Protocol, Self

from typing_extensions import Buffer

from vigie.evidence.digest import DigestBeside
from vigie.evidence.rejection import RejectedError

CHUNK_BYTES: Final = 1 << 20
_SEEK_BUFFER_BYTES: Final = 64 << 10
"""Each seek throws the buffer away: a large one would read a megabyte for each header."""
READ_ERRORS: Final = (OSError, zipfile.BadZipFile, EOFError, struct.error)
"""What reading the content of an entry may raise, the container's checksum included."""
_ATTRIBUTES: Final = (stat.S_IFREG | 0o444) << 16
_CREATED_ON_UNIX: Final = 3
_UTF8_NAMES: Final = 0x800
_ZIP64_FROM: Final = 0xFFFFFFFF
_OLDEST_ZIP_YEAR: Final = 1980
_VERSION: Final = 20
_CENTRAL_HEADER: Final = struct.Struct("<4sBBBBHHHHIIIHHHHHII")
_END: Final = struct.Struct("<4sHHHHIIH")
_LOCAL_HEADER: Final = struct.Struct("<4sHHHHHIIIHH")


def zip_time(created: datetime) -> tuple[int, int, int, int, int, int]:
    """The time every entry bears: UTC, at the two-second resolution of the format."""
    utc = created.astimezone(UTC)
    if utc.year < _OLDEST_ZIP_YEAR:
        raise ValueError(f"a package cannot be dated {utc:%Y}: the format begins in 1980")
    return (utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second // 2 * 2)


class PackageWriter:
    """Writes entries one after the other; nothing is held in memory."""

    def __init__(self, path: Path, created: datetime) -> None:
        self._zip = zipfile.ZipFile(path, "x", zipfile.ZIP_STORED, allowZip64=True)
        self._time = zip_time(created)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def add(
        self, name: str, chunks: Iterable[bytes | memoryview], *, size_bytes_at_most: int
    ) -> tuple[int, str]:
        """Append an entry; returns its size in bytes and its SHA-256 (hex).

        Raises:
            ValueError: there were more than ``size_bytes_at_most``.
        """
        info = zipfile.ZipInfo(name, self._time)
        info.create_system = _CREATED_ON_UNIX
        info.external_attr = _ATTRIBUTES
        info.file_size = size_bytes_at_most  # decides about the 64-bit form of the header
        digest = DigestBeside()
        size_bytes = 0
        with closing(digest), self._zip.open(info, "w") as entry:
            for chunk in chunks:
                digest.update(chunk)
                entry.write(chunk)
                size_bytes += len(chunk)
            sha256 = digest.hexdigest()
        if size_bytes > size_bytes_at_most:
            raise ValueError(f"{name}: {size_bytes} bytes, at most {size_bytes_at_most} announced")
        return size_bytes, sha256


class Package(Protocol):
    """A package to be verified."""

    def names(self) -> list[str]:
        """Names of all files, sorted."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """A seekable stream of one file.

        Raises:
            RejectedError: PACKAGE_UNREADABLE.
        """
        ...

    def region(self, name: str) -> IO[bytes]:
        """The same as `open`, cheap to seek in, without the container's own checksum."""
        ...

    def check_times(self, created: datetime) -> None:
        """Every file must bear the time of the package.

        Raises:
            RejectedError: FILE_TIME_ALTERED.
        """
        ...

    def close(self) -> None:
        """Release the file."""
        ...


def open_package(path: Path) -> Package:
    """Open a ZIP file or a folder.

    Raises:
        RejectedError: PACKAGE_UNREADABLE, PACKAGE_ENTRY_UNSAFE.
    """
    if path.is_dir():
        return FolderPackage(path)
    try:
        return ZipPackage(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise RejectedError("PACKAGE_UNREADABLE", f"{path.name}: {error}") from error


def read_all(package: Package, name: str, *, limit: int) -> bytes:
    """A small file whole.

    Raises:
        RejectedError: PACKAGE_UNREADABLE when it is longer than ``limit`` bytes.
    """
    with closing(package.open(name)) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise RejectedError("PACKAGE_UNREADABLE", f"{name} is longer than {limit} bytes")
    return content


def chunks_of(stream: IO[bytes]) -> Iterator[bytes]:
    """The rest of a stream, in pieces."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


class ZipPackage:
    """A package as downloaded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data_offsets: dict[str, int] = {}
        self._zip = zipfile.ZipFile(path)
        try:
            self._entries = self._checked(path)
        except BaseException:
            self._zip.close()
            raise

    def _checked(self, path: Path) -> dict[str, zipfile.ZipInfo]:
        entries: dict[str, zipfile.ZipInfo] = {}
        position = 0
        if self._zip.comment:
            raise RejectedError("PACKAGE_UNREADABLE", f"{path.name} carries a comment")
        for info in self._zip.infolist():
            self._check_entry(info, position)
            if info.filename in entries:
                raise RejectedError("PACKAGE_ENTRY_UNSAFE", f"{info.filename} is there twice")
            entries[info.filename] = info
            position = info.header_offset + self._local_size(info)
        if self._zip.start_dir != position:
            raise RejectedError("PACKAGE_UNREADABLE", f"{path.name}: bytes after the last entry")
        self._check_directory(path, position)
        return entries

    def _check_directory(self, path: Path, position: int) -> None:
        """The directory must be the one this product writes, to the last byte.

        Beyond 4 GiB its records have a 64-bit form; there, only what `_check_entry` looks at is
        compared.
        """
        size = path.stat().st_size - position
        sizes = [path.stat().st_size, *(info.file_size for info in self._zip.infolist())]
        if max(sizes) >= _ZIP64_FROM:
            return
        if self._at(position, size) != _directory(self._zip.infolist(), position):
            raise RejectedError("PACKAGE_UNREADABLE", f"{path.name}: a directory of another kind")

    def _check_entry(self, info: zipfile.ZipInfo, position: int) -> None:
        name = info.filename
        check_name(name)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise RejectedError("PACKAGE_UNREADABLE", f"{name} is compressed; it must be stored")
        if info.external_attr != _ATTRIBUTES or info.create_system != _CREATED_ON_UNIX:
            raise RejectedError("PACKAGE_ENTRY_UNSAFE", f"{name} has other attributes than a file")
        plain = info.flag_bits & ~_UTF8_NAMES == 0 and not info.comment
        plain = plain and info.internal_attr == 0 and info.volume == 0
        zip64 = max(info.file_size, info.header_offset) >= _ZIP64_FROM
        if not plain or (info.extra and not zip64):
            raise RejectedError("PACKAGE_UNREADABLE", f"{name} has an entry of another kind")
        if info.header_offset != position:
            raise RejectedError("PACKAGE_UNREADABLE", f"there are bytes before {name}")

    def _local_size(self, info: zipfile.ZipInfo) -> int:
        """Bytes of the local header, name, extra field and content, once both headers agree."""
        header = self._at(info.header_offset, _LOCAL_HEADER.size)
        _, version, flags, method, time, date, crc, stored, size, name_size, extra_size = (
            _LOCAL_HEADER.unpack(header)
        )
        zip64 = stored == size == _ZIP64_FROM and extra_size > 0
        same = zip64 or (stored, size, extra_size) == (info.compress_size, info.file_size, 0)
        same = same and (flags, method, crc) == (info.flag_bits, info.compress_type, info.CRC)
        same = same and (version, _dos_time(info.date_time)) == (
            info.extract_version,
            (date, time),
        )
        if not same:
            raise RejectedError("PACKAGE_UNREADABLE", f"{info.filename}: its headers disagree")
        self._data_offsets[info.filename] = (
            info.header_offset + _LOCAL_HEADER.size + int(name_size) + int(extra_size)
        )
        return _LOCAL_HEADER.size + int(name_size) + int(extra_size) + info.file_size

    def _at(self, offset: int, size: int) -> bytes:
        with self._path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(size)

    def region(self, name: str) -> IO[bytes]:
        """See `Package.region`."""
        info = self._entries[name]
        raw = _Region(self._path, self._data_offsets[name], info.file_size)
        return io.BufferedReader(raw, _SEEK_BUFFER_BYTES)

    def names(self) -> list[str]:
        """See `Package.names`."""
        return sorted(self._entries)

    def open(self, name: str) -> IO[bytes]:
        """See `Package.open`."""
        try:
            return self._zip.open(self._entries[name])
        except (zipfile.BadZipFile, ValueError, OSError, struct.error) as error:
            raise RejectedError("PACKAGE_UNREADABLE", f"{name}: {error}") from error

    def check_times(self, created: datetime) -> None:
        """See `Package.check_times`."""
        try:
            expected = zip_time(created)
        except ValueError as error:
            raise RejectedError("FILE_TIME_ALTERED", str(error)) from error
        for name, info in sorted(self._entries.items()):
            if info.date_time != expected:
                raise RejectedError("FILE_TIME_ALTERED", f"{name} bears {info.date_time}")

    def close(self) -> None:
        """See `Package.close`."""
        self._zip.close()


class FolderPackage:
    """A package unpacked. Its files' times are the unpacking tool's and prove nothing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: list[str] = []
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise RejectedError("PACKAGE_ENTRY_UNSAFE", f"{name} is a link or a device")
            if path.is_file():
                check_name(name)
                self._names.append(name)

    def names(self) -> list[str]:
        """See `Package.names`."""
        return sorted(self._names)

    def open(self, name: str) -> IO[bytes]:
        """See `Package.open`."""
        try:
            return (self._root / name).open("rb")
        except OSError as error:
            raise RejectedError("PACKAGE_UNREADABLE", f"{name}: {error.strerror}") from error

    def region(self, name: str) -> IO[bytes]:
        """See `Package.region`."""
        return self.open(name)

    def check_times(self, created: datetime) -> None:
        """See `Package.check_times`."""

    def close(self) -> None:
        """See `Package.close`."""


class _Region(io.RawIOBase):
    """A range of a file as a stream of its own."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        super().__init__()
        self._stream = path.open("rb", buffering=0)
        self._offset = offset
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self._size - self._position))
        self._stream.seek(self._offset + self._position)
        count = self._stream.readinto(view[:wanted]) or 0
        self._position += count
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def _directory(entries: Sequence[zipfile.ZipInfo], position: int) -> bytes:
    """Central directory and its end, as `PackageWriter` leaves them (APPNOTE 4.3.12, 4.3.16)."""
    records = bytearray()
    for info in entries:
        name = info.filename.encode()
        date, time = _dos_time(info.date_time)
        records += _CENTRAL_HEADER.pack(
            b"PK\1\2", _VERSION, _CREATED_ON_UNIX, _VERSION, 0, info.flag_bits, 0, time, date,
            info.CRC, info.file_size, info.file_size, len(name), 0, 0, 0, 0, _ATTRIBUTES,
            info.header_offset,
        )  # fmt: skip
        records += name
    count = len(entries)
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(records), position, 0)
    return bytes(records) + end


def _dos_time(value: tuple[int, int, int, int, int, int]) -> tuple[int, int]:
    year, month, day, hour, minute, second = value
    return (year - 1980) << 9 | month << 5 | day, hour << 11 | minute << 5 | second // 2


def check_name(name: str) -> None:
    """Refuse names that would leave the folder of the package.

    Raises:
        RejectedError: PACKAGE_ENTRY_UNSAFE.
    """
    parts = PurePosixPath(name).parts
    unsafe = not parts or name.startswith("/") or "\\" in name or "\0" in name
    if unsafe or any(part in {"..", "."} for part in name.split("/")) or "" in name.split("/"):
        raise RejectedError("PACKAGE_ENTRY_UNSAFE", f"the name {name!r}")
