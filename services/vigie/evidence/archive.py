"""The container of a package: a ZIP with stored entries, or the folder it was unpacked to.

Written in one canonical way (no compression, one time for all entries, fixed attributes), so that
a reader can refuse every deviation: what the signature does not cover cannot carry anything.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Final, Protocol, Self

from typing_extensions import Buffer

from vigie.evidence import zipform
from vigie.evidence.digest import DigestBeside
from vigie.evidence.rejection import RejectedError

CHUNK_BYTES: Final = 1 << 20
_SEEK_BUFFER_BYTES: Final = 64 << 10
"""Each seek throws the buffer away: a large one would read a megabyte for each header."""
READ_ERRORS: Final = (OSError, zipfile.BadZipFile, EOFError, struct.error)
"""What reading the content of an entry may raise, the container's checksum included."""


class PackageWriter:
    """Writes entries one after the other; nothing of their content is held in memory."""

    def __init__(self, path: Path, created: datetime) -> None:
        self._time = zipform.zip_time(created)
        self._stream = path.open("xb")
        self._entries: list[zipform.Entry] = []
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        with self._stream:
            if failed is None:
                self._stream.write(zipform.directory(self._entries, self._position))

    def add(
        self, name: str, chunks: Iterable[bytes | memoryview], *, size_bytes: int
    ) -> tuple[int, str]:
        """Append an entry of ``size_bytes``; returns that and its SHA-256 (hex).

        Raises:
            ValueError: there were fewer or more.
        """
        announced = zipform.Entry(name, self._time, 0, size_bytes, self._position)
        self._stream.write(zipform.local_header(announced))
        digest = DigestBeside()
        crc = written = 0
        with closing(digest):
            for chunk in chunks:
                digest.update(chunk)
                crc = zlib.crc32(chunk, crc)
                self._stream.write(chunk)
                written += len(chunk)
            sha256 = digest.hexdigest()
        if written != size_bytes:
            raise ValueError(f"{name}: {written} bytes, {size_bytes} were announced")
        entry = replace(announced, crc=crc)
        end = self._stream.tell()
        self._stream.seek(self._position)
        self._stream.write(zipform.local_header(entry))
        self._stream.seek(end)
        self._entries.append(entry)
        self._position = end
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
        """The entries, once everything around their contents is what this product writes."""
        infos: dict[str, zipfile.ZipInfo] = {}
        entries: list[zipform.Entry] = []
        position = 0
        if self._zip.comment:
            raise RejectedError("PACKAGE_UNREADABLE", f"{path.name} carries a comment")
        for info in self._zip.infolist():
            name = info.filename
            self._check_entry(info, position)
            if name in infos:
                raise RejectedError("PACKAGE_ENTRY_UNSAFE", f"{name} is there twice")
            entry = zipform.Entry(name, info.date_time, info.CRC, info.file_size, position)
            header = zipform.local_header(entry)
            if self._at(position, len(header)) != header:
                raise RejectedError("PACKAGE_UNREADABLE", f"{name}: its headers disagree")
            infos[name] = info
            entries.append(entry)
            self._data_offsets[name] = position + len(header)
            position += len(header) + info.file_size
        if self._zip.start_dir != position:
            raise RejectedError("PACKAGE_UNREADABLE", f"{path.name}: bytes after the last entry")
        size = path.stat().st_size - position
        if self._at(position, size) != zipform.directory(entries, position):
            raise RejectedError("PACKAGE_UNREADABLE", f"{path.name}: a directory of another kind")
        return infos

    def _check_entry(self, info: zipfile.ZipInfo, position: int) -> None:
        """Say what is wrong with an entry, where that has a name."""
        name = info.filename
        check_name(name)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise RejectedError("PACKAGE_UNREADABLE", f"{name} is compressed; it must be stored")
        file = (zipform.ATTRIBUTES, zipform.CREATED_ON_UNIX)
        if (info.external_attr, info.create_system) != file:
            raise RejectedError("PACKAGE_ENTRY_UNSAFE", f"{name} has other attributes than a file")
        if info.header_offset != position:
            raise RejectedError("PACKAGE_UNREADABLE", f"there are bytes before {name}")

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
            expected = zipform.zip_time(created)
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


def check_name(name: str) -> None:
    """Refuse names that would leave the folder of the package.

    Raises:
        RejectedError: PACKAGE_ENTRY_UNSAFE.
    """
    parts = PurePosixPath(name).parts
    unsafe = not parts or name.startswith("/") or "\\" in name or "\0" in name
    if unsafe or any(part in {"..", "."} for part in name.split("/")) or "" in name.split("/"):
        raise RejectedError("PACKAGE_ENTRY_UNSAFE", f"the name {name!r}")
