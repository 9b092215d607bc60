"""Disks that can be broken while the product runs, and mended again.

Where this user may mount, a place of the installation is a small file system of its own: it is
really full, really read-only. Where he may not, the same is shown with the product's fault
points. What a file system of memory cannot do (to fail, to be slow) is done with fault points
everywhere; that a disk is gone needs no right to mount.
"""

import contextlib
import os
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

SPOOL_STEPS: Final = (
    "ingest.run.*", "ingest.record.*", "ingest.segment.*", "ingest.fragment.*",
)  # fmt: skip
STORE_STEPS: Final = ("store.*",)
DATABASE_STEPS: Final = ("database.transaction.committing",)
_SPARE_BYTES: Final = 4 << 20


def mount(*arguments: str) -> bool:
    """Whether ``mount ARGUMENTS`` was done."""
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    return done.returncode == 0


def unmount(folder: Path) -> None:
    """Take the uppermost file system from a folder, at once, whoever still reads there."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


@cache
def may_mount() -> bool:
    """Whether this user may mount file systems here (root on a machine, rarely in a container)."""
    with tempfile.TemporaryDirectory() as name:
        try:
            if not mount("-t", "tmpfs", "-o", "size=1m", "vigie-test", name):
                return False
        except FileNotFoundError:
            return False
        unmount(Path(name))
        return True


class FaultFile:
    """Turns the fault points of a running product on and off (`[debug] fault_file`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: set[str] = set()

    @contextlib.contextmanager
    def on(self, steps: tuple[str, ...], action: str) -> Iterator[None]:
        """While this lasts, ``action`` happens at each of ``steps``."""
        lines = {f"{step}:{action}" for step in steps}
        self._write(self._lines | lines)
        try:
            yield
        finally:
            self._write(self._lines - lines)

    def _write(self, lines: set[str]) -> None:
        self._lines = lines
        temporary = self.path.with_suffix(".new")
        temporary.write_text("\n".join(sorted(lines)), "utf-8")
        temporary.replace(self.path)


@dataclass(frozen=True, slots=True)
class Disk:
    """Where one part of an installation lies.

    Attributes:
        folder: of the part.
        steps: what of the product works on it.
        faults: turns them into failures.
        mounted: whether it is a file system of its own.
    """

    folder: Path
    steps: tuple[str, ...]
    faults: FaultFile
    mounted: bool

    @contextlib.contextmanager
    def full(self, *, leaving_bytes: int = 0) -> Iterator[None]:
        """Somebody has filled it."""
        if not self.mounted:
            with self.faults.on(self.steps, "enospc"):
                yield
            return
        filler = self.folder / "filler"
        state = os.statvfs(self.folder)
        with filler.open("wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - leaving_bytes)
        if not leaving_bytes:
            with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        try:
            yield
        finally:
            filler.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Its file system takes nothing any more, as the kernel does after an error."""
        if not self.mounted:
            with self.faults.on(self.steps, "erofs"):
                yield
            return
        # Made read-only aside: a file that the product opened in between would forbid it.
        aside = self.folder.with_name(self.folder.name + ".read-only")
        aside.mkdir()
        try:
            assert mount("--bind", str(self.folder), str(aside))
            assert mount("-o", "remount,bind,ro", str(aside))
            assert mount("--bind", str(aside), str(self.folder))
            try:
                yield
            finally:
                unmount(self.folder)
        finally:
            unmount(aside)
            aside.rmdir()

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """It is not mounted: its mount point is there, and empty."""
        if self.mounted:
            assert mount("-t", "tmpfs", "-o", "size=8m", "vigie-test", str(self.folder))
            try:
                yield
            finally:
                left = [path.name for path in self.folder.iterdir()]
                unmount(self.folder)
            assert not left, f"the product wrote below the mount point: {left}"
            return
        aside = self.folder.with_name(self.folder.name + ".aside")
        self.folder.rename(aside)
        self.folder.mkdir()
        try:
            yield
        finally:
            self.folder.rmdir()  # fails when the product wrote below the mount point
            aside.rename(self.folder)

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """It answers with input/output errors."""
        with self.faults.on(self.steps, "eio"):
            yield

    @contextlib.contextmanager
    def slow(self, seconds: float, steps: tuple[str, ...]) -> Iterator[None]:
        """Each of ``steps`` takes longer by ``seconds``."""
        with self.faults.on(steps, f"delay={seconds}"):
            yield


@contextlib.contextmanager
def slow_database(disk: Disk) -> Iterator[None]:
    """Somebody else holds the database file for two thirds of the time."""
    ended = threading.Event()

    def hold() -> None:
        with contextlib.closing(sqlite3.connect(disk.folder / "vigie.db", timeout=20)) as other:
            other.isolation_level = None
            while not ended.wait(0.2):
                other.execute("BEGIN IMMEDIATE")
                ended.wait(0.4)
                other.execute("ROLLBACK")

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        yield
    finally:
        ended.set()
        holder.join()


@contextlib.contextmanager
def own_disk(
    folder: Path, steps: tuple[str, ...], faults: FaultFile, *, size_bytes: int
) -> Iterator[Disk]:
    """A folder as a disk of its own, where that is permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = may_mount() and mount(
        "-t", "tmpfs", "-o", f"size={size_bytes + _SPARE_BYTES}", "vigie-test", str(folder)
    )
    try:
        yield Disk(folder, steps, faults, mounted)
    finally:
        if mounted:
            unmount(folder)
