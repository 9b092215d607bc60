"""Making files and folders durable (POSIX: a file's name is durable when its folder is synced)."""

import os
import threading
from pathlib import Path
from typing import Final

from vigie.platform.folders import sync_folder

_REMEMBERED: Final = 10_000


def sync_removal(folder: Path) -> None:
    """Make a removal from ``folder`` durable, also when the folder itself is gone meanwhile.

    Whoever removed the last file may have removed the empty folder: then it is the folder's own
    removal, in its parent, that has to be durable.
    """
    while True:
        try:
            sync_folder(folder)
        except FileNotFoundError:
            folder = folder.parent
        else:
            return


def write_durably(temporary: Path, content: bytes, mode: int = 0o640) -> None:
    """Create ``temporary`` with ``content`` and sync it; removes it again when that fails."""
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


class DurableFolders:
    """Folders below a root, made durable before anything is put into them.

    It remembers which ones are: a folder that another thread has just made, but not synced yet,
    exists and could still vanish with everything in it. Thread-safe.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._durable: set[Path] = set()

    def make(self, folder: Path) -> None:
        """Make sure that ``folder`` and its parents exist and that their names are durable."""
        with self._lock:
            pending: list[Path] = []
            while folder != self._root and not (folder in self._durable and folder.is_dir()):
                pending.append(folder)
                folder = folder.parent
            for one in reversed(pending):
                one.mkdir(exist_ok=True)
                sync_folder(one.parent)
            if len(self._durable) > _REMEMBERED:
                self._durable.clear()
            self._durable.update(pending)

    def remove_empty(self, folder: Path) -> None:
        """Remove ``folder`` and its parents as far as they are empty."""
        with self._lock:
            while folder != self._root:
                try:
                    folder.rmdir()
                except OSError:  # not empty, or gone already: both end the climb
                    return
                self._durable.discard(folder)
                folder = folder.parent
