"""One process at a time on one data directory."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from vigie.platform.errors import VigieError
from vigie.platform.reasons import DATA_DIRECTORY_IN_USE, DATABASE_UNAVAILABLE

LOCK_FILE_NAME = "LOCK"


class DataDirectoryLock:
    """An advisory lock (``flock``) on ``<directory>/LOCK``, which carries the owner's pid.

    The kernel drops it when the process ends, however it ends; the file itself stays.
    It also keeps one process from opening the same directory twice.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_FILE_NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise.

        Raises:
            VigieError: DATA_DIRECTORY_IN_USE, naming the other process;
                DATABASE_UNAVAILABLE when the lock file cannot be written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise VigieError(
                DATABASE_UNAVAILABLE, f"cannot open {self._path}: {error.strerror}"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise VigieError(
                DATA_DIRECTORY_IN_USE,
                f"{self._path.parent} is in use by process {owner}",
                directory=str(self._path.parent),
                process=owner,
            ) from error
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        except OSError as error:
            os.close(descriptor)
            raise VigieError(
                DATABASE_UNAVAILABLE, f"cannot write {self._path}: {error.strerror}"
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back (idempotent)."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
