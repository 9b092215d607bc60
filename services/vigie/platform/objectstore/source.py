"""Bringing content into the store's file system as cheaply as it allows."""

import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Final

from vigie.platform.objectstore.durable import write_durably
from vigie.platform.objectstore.port import FileState

_CHUNK: Final = 1 << 20
_OBJECT_MODE: Final = 0o440
# copy_file_range(2) answers these when it cannot serve this pair of files.
_NO_KERNEL_COPY: Final = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}
)
_NO_LINK: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})

Failed = Callable[[str], AbstractContextManager[None]]


def bring(
    source: Path | bytes,
    temporary: Path,
    *,
    link: bool,
    written: FileState | None = None,
    failed: Failed,
) -> tuple[int, bool]:
    """Put the content of ``source`` into the new file ``temporary`` and sync it.

    Args:
        source: content, or a file that is only read.
        temporary: must not exist; its folder must.
        link: try a hard link first.
        written: state of the source when its writer had hashed and synced it.
        failed: context manager that translates the *store's* failures; those of the source
            (it is not there, it is not readable) pass as they are.

    Returns:
        Size in bytes; and whether the new file *is* the source, in the state ``written``: nobody
        has written to it since it was hashed.
    """
    if isinstance(source, bytes):
        with failed("write"):
            write_durably(temporary, source, _OBJECT_MODE)
        return len(source), False
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(reading)
        # The source was opened: what fails from here on is the store's.
        with failed("link"):
            linked = link and _linked(source, temporary)
        if linked:
            with failed("sync"):
                os.fsync(reading)
            return os.fstat(reading).st_size, _is_same(written, before, reading, temporary)
        with failed("copy"):
            return _copy(reading, temporary), False
    finally:
        os.close(reading)


def _is_same(
    written: FileState | None, before: os.stat_result, reading: int, temporary: Path
) -> bool:
    """Whether the linked file is the source as it was written, before and after the link.

    The link itself changes the time of the last change, so afterwards the rest must agree.
    """
    if written is None or FileState.of(before) != written:
        return False
    after = replace(FileState.of(os.fstat(reading)), changed_ns=written.changed_ns)
    linked = replace(FileState.of(temporary.lstat()), changed_ns=written.changed_ns)
    return after == linked == written


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content, lower-case hex. `hashlib` lets other threads run meanwhile."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _linked(source: Path, temporary: Path) -> bool:
    try:
        os.link(source, temporary)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    return True


def _copy(reading: int, temporary: Path) -> int:
    writing = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OBJECT_MODE)
    try:
        size_bytes = _kernel_copy(reading, writing)
        if size_bytes is None:
            size_bytes = _plain_copy(reading, writing)
        os.fsync(writing)
        return size_bytes
    finally:
        os.close(writing)


def _kernel_copy(reading: int, writing: int) -> int | None:
    """Copy inside the kernel (shares the blocks where the file system can), or ``None``."""
    total = 0
    while True:
        try:
            copied = os.copy_file_range(reading, writing, 1 << 30)
        except OSError as error:
            if total == 0 and error.errno in _NO_KERNEL_COPY:
                return None
            raise
        if copied == 0:
            # Some virtual file systems answer 0 at once for files that have content.
            return total if total or os.fstat(reading).st_size == 0 else None
        total += copied


def _plain_copy(reading: int, writing: int) -> int:
    total = 0
    while chunk := os.read(reading, _CHUNK):
        view = memoryview(chunk)
        while view:
            view = view[os.write(writing, view) :]
        total += len(chunk)
    return total
