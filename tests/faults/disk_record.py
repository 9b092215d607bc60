"""What a program asks of the file system, in order: the record from which power cuts are drawn.

Python's own functions of `os` are wrapped while a `DiskRecorder` is active; the product is not
changed. Everything below one root is recorded. SQLite writes past Python: its file counts as one
crash-safe unit, of which each commit is one operation (`DiskRecorder.commit`).
"""

import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

import pytest

ROOT_INODE: Final = 0
COMMIT_SITE: Final = "sqlite: commit"
_PRODUCT: Final = f"{os.sep}services{os.sep}vigie{os.sep}"


@dataclass(frozen=True, slots=True)
class Bytes:
    """Content written to a file at an offset."""

    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Length:
    """A file cut (or extended with zeros) to a size."""

    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class Name:
    """An entry of a folder set to an inode, or removed (``None``).

    Attributes:
        folder: inode of the folder.
        name: of the entry.
        inode: what it names from now on.
        moved_to: for the old name of a rename: folder and name that took its place.
    """

    folder: int
    name: str
    inode: int | None
    moved_to: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Sync:
    """A file or folder forced to the disk; ``site`` says by which code."""

    inode: int
    site: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction is durable: the whole database as it is then."""

    image: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """Something the test wants to remember at this point, such as what was promised."""

    what: str
    value: Any


Operation = Bytes | Length | Name | Sync | Commit | Mark


@dataclass(slots=True)
class Record:
    """The operations, and what was there (and durable) before the first of them.

    Attributes:
        operations: in the order in which they took effect.
        folders: inodes that are folders.
        names: entries at the beginning: folder -> name -> inode.
        content: of files at the beginning.
        image: the database at the beginning.
    """

    operations: list[Operation] = field(default_factory=list)
    folders: set[int] = field(default_factory=lambda: {ROOT_INODE})
    names: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT_INODE: {}})
    content: dict[int, bytes] = field(default_factory=dict)
    image: bytes | None = None

    def sites(self) -> list[str]:
        """Every place of the product that forces something to the disk, in order of first use."""
        found = [each.site for each in self.operations if isinstance(each, Sync)]
        return list(dict.fromkeys(found))


class DiskRecorder:
    """Records what happens below ``root`` while it is entered. Thread-safe.

    Args:
        root: an existing directory; what lies in it counts as durable.
        database: the SQLite file below it, which is left out and told by `commit`.
    """

    def __init__(self, root: Path, database: Path) -> None:
        self.record = Record()
        self._root = Path(os.path.realpath(root))
        self._database = database
        self._names: dict[int, dict[str, int]] = {ROOT_INODE: {}}
        self._next = 1
        self._open: dict[int, int] = {}
        self._lock = threading.RLock()
        self._patch = pytest.MonkeyPatch()
        self._adopt(self._root, ROOT_INODE, {})
        self.record.names = {folder: dict(names) for folder, names in self._names.items()}
        if database.exists():
            self.record.image = image_of(database)

    def __enter__(self) -> Self:
        for name, wrap in (
            ("open", self._wrap_open), ("close", self._wrap_close),
            ("write", self._wrap_write), ("writev", self._wrap_write),
            ("pwrite", self._wrap_pwrite), ("copy_file_range", self._wrap_copy),
            ("ftruncate", self._wrap_truncate),
            ("fsync", self._wrap_sync), ("fdatasync", self._wrap_sync),
            ("link", self._wrap_link), ("unlink", self._wrap_remove),
            ("remove", self._wrap_remove), ("rmdir", self._wrap_remove),
            ("rename", self._wrap_rename), ("replace", self._wrap_rename),
            ("mkdir", self._wrap_mkdir),
        ):  # fmt: skip
            self._patch.setattr(os, name, wrap(getattr(os, name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def mark(self, what: str, value: Any = None) -> None:
        """Remember something at this point of the record."""
        with self._lock:
            self.record.operations.append(Mark(what, value))

    def reach(self, name: str) -> None:
        """As `FaultPoints`, given to the database: a commit that took effect is recorded."""
        if name == "database.transaction.committed":
            with self._lock:
                self.record.operations.append(Commit(image_of(self._database)))

    def assert_complete(self) -> None:
        """The record leads to what is on the disk: no operation went past it."""
        assert sorted(self._tree(ROOT_INODE, "")) == sorted(
            path.relative_to(self._root).as_posix()
            for path in self._root.rglob("*")
            if not path.name.startswith(self._database.name)
        )
        for name, inode in self._tree(ROOT_INODE, "").items():
            if inode not in self.record.folders:
                operations: Sequence[Any] = self.record.operations
                mine = [o for o in operations if isinstance(o, Bytes | Length) and o.inode == inode]
                assert replayed(self.record.content.get(inode, b""), mine) == (
                    (self._root / name).read_bytes()
                ), f"{name} was written past the record"

    # --- what is there -------------------------------------------------------------------------

    def _adopt(self, path: Path, inode: int, known: dict[int, int]) -> None:
        """Take what lies on the disk already as durable."""
        for entry in sorted(os.scandir(path), key=lambda each: each.name):
            if entry.name.startswith(self._database.name):
                continue
            real = entry.inode()
            mine = known.get(real) or self._new()
            known[real] = mine
            self._names[inode][entry.name] = mine
            if entry.is_dir(follow_symlinks=False):
                self._make_folder(mine)
                self._adopt(Path(entry.path), mine, known)
            else:
                self.record.content[mine] = Path(entry.path).read_bytes()

    def _tree(self, folder: int, lead: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, inode in self._names[folder].items():
            found[lead + name] = inode
            if inode in self.record.folders:
                found |= self._tree(inode, f"{lead}{name}/")
        return found

    def _new(self) -> int:
        self._next += 1
        return self._next - 1

    def _make_folder(self, inode: int) -> None:
        self.record.folders.add(inode)
        self._names[inode] = {}

    def _kind(self, inode: int) -> str:
        """What a file is, by its extension."""
        if inode in self.record.folders:
            return "folder"
        names = [n for entries in self._names.values() for n, i in entries.items() if i == inode]
        return Path(names[0]).suffix.removeprefix(".") if names else "no name"

    def _place(self, path: Any) -> tuple[int, str] | None:
        """Folder and name of a path below the root; ``None`` for others, and the database."""
        if isinstance(path, int):
            return None
        whole = _absolute(path)
        try:
            parts = Path(whole).relative_to(self._root).parts
        except ValueError:
            return None
        if not parts or parts[-1].startswith(self._database.name):
            return None
        folder = ROOT_INODE
        for part in parts[:-1]:
            found = self._names[folder].get(part)
            if found is None or found not in self.record.folders:
                return None
            folder = found
        return folder, parts[-1]

    def _inode(self, path: Any) -> int | None:
        if not isinstance(path, int) and _absolute(path) == str(self._root):
            return ROOT_INODE
        place = self._place(path)
        return None if place is None else self._names[place[0]].get(place[1])

    def _set(self, place: tuple[int, str], inode: int | None, **moved: Any) -> None:
        folder, name = place
        if inode is None:
            self._names[folder].pop(name, None)
        else:
            self._names[folder][name] = inode
        self.record.operations.append(Name(folder, name, inode, **moved))

    # --- the functions of `os` -----------------------------------------------------------------

    def _wrap_open(self, real: Callable[..., int]) -> Callable[..., int]:
        def wrapped(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if dir_fd is not None:
                return real(path, flags, mode, dir_fd=dir_fd)
            with self._lock:
                descriptor = real(path, flags, mode)
                place, inode = self._place(path), self._inode(path)
                if place is not None and inode is None:
                    inode = self._new()
                    self._set(place, inode)
                elif inode is not None and flags & os.O_TRUNC:
                    self.record.operations.append(Length(inode, 0))
                if inode is not None:
                    self._open[descriptor] = inode
                return descriptor

        return wrapped

    def _wrap_close(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def wrapped(descriptor: int) -> None:
            with self._lock:
                self._open.pop(descriptor, None)
                real(descriptor)

        return wrapped

    def _wrap_write(self, real: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def wrapped(descriptor: int, data: Any) -> int:
            inode = self._open.get(descriptor)
            if inode is None:
                return real(descriptor, data)
            with self._lock:
                whole = b"".join(data) if isinstance(data, list) else bytes(data)
                written = real(descriptor, data)
                offset = os.lseek(descriptor, 0, os.SEEK_CUR) - written
                self.record.operations.append(Bytes(inode, offset, whole[:written]))
                return written

        return wrapped

    def _wrap_pwrite(self, real: Callable[..., int]) -> Callable[..., int]:
        def wrapped(descriptor: int, data: bytes, offset: int) -> int:
            with self._lock:
                written = real(descriptor, data, offset)
                if descriptor in self._open:
                    inode = self._open[descriptor]
                    self.record.operations.append(Bytes(inode, offset, data[:written]))
                return written

        return wrapped

    def _wrap_copy(self, real: Callable[..., int]) -> Callable[..., int]:
        def wrapped(source: int, target: int, count: int) -> int:
            with self._lock:
                begin = os.lseek(source, 0, os.SEEK_CUR)
                copied = real(source, target, count)
                if copied and target in self._open:
                    data = os.pread(source, copied, begin)
                    offset = os.lseek(target, 0, os.SEEK_CUR) - copied
                    self.record.operations.append(Bytes(self._open[target], offset, data))
                return copied

        return wrapped

    def _wrap_truncate(self, real: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def wrapped(descriptor: int, size: int) -> None:
            with self._lock:
                real(descriptor, size)
                if descriptor in self._open:
                    self.record.operations.append(Length(self._open[descriptor], size))

        return wrapped

    def _wrap_sync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def wrapped(descriptor: int) -> None:
            with self._lock:
                real(descriptor)
                if descriptor in self._open:
                    inode = self._open[descriptor]
                    site = f"{site_of(sys._getframe(1))} ({self._kind(inode)})"
                    self.record.operations.append(Sync(inode, site))

        return wrapped

    def _wrap_link(self, real: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def wrapped(source: Any, target: Any) -> None:
            with self._lock:
                real(source, target)
                inode, place = self._inode(source), self._place(target)
                if inode is not None and place is not None:
                    self._set(place, inode)

        return wrapped

    def _wrap_remove(self, real: Callable[..., None]) -> Callable[..., None]:
        def wrapped(path: Any, *, dir_fd: int | None = None) -> None:
            if dir_fd is not None:
                real(path, dir_fd=dir_fd)
                return
            with self._lock:
                real(path)
                place = self._place(path)
                if place is not None:
                    self._set(place, None)

        return wrapped

    def _wrap_rename(self, real: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        def wrapped(source: Any, target: Any) -> None:
            with self._lock:
                real(source, target)
                old, new, inode = self._place(source), self._place(target), self._inode(source)
                if old is not None and new is not None:
                    self._set(new, inode)
                    self._set(old, None, moved_to=new)

        return wrapped

    def _wrap_mkdir(self, real: Callable[..., None]) -> Callable[..., None]:
        def wrapped(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            with self._lock:
                if dir_fd is not None:
                    real(path, mode, dir_fd=dir_fd)
                    return
                real(path, mode)
                place = self._place(path)
                if place is not None:
                    inode = self._new()
                    self._make_folder(inode)
                    self._set(place, inode)

        return wrapped


def _absolute(path: Any) -> str:
    """Without following links: a link is an entry of its own."""
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - see above


def site_of(frame: FrameType | None) -> str:
    """Which code of the product asks: its three innermost functions, the innermost first."""
    names: list[str] = []
    while frame is not None and len(names) < 3:
        if _PRODUCT in frame.f_code.co_filename:
            names.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return " < ".join(names)


def image_of(database: Path) -> bytes:
    """The whole content of a SQLite file as the last commit left it."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.serialize()
    finally:
        connection.close()


def replayed(content: bytes, operations: Sequence[Bytes | Length]) -> bytes:
    """What a file holds after some operations."""
    made = bytearray(content)
    for each in operations:
        if isinstance(each, Length):
            size = each.size
            made = made[:size] + bytes(max(0, size - len(made)))
        else:
            end = each.offset + len(each.data)
            made += bytes(max(0, each.offset - len(made)))
            made[each.offset : end] = each.data
    return bytes(made)
