"""The hidden area of the directory store: temporary files on their way to their place."""

import os
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from vigie.platform.errors import VigieError
from vigie.platform.objectstore.durable import DurableFolders
from vigie.platform.objectstore.keys import RESERVED_PART, key_parts
from vigie.platform.reasons import KEY_INVALID, STORE_UNAVAILABLE

_FOLDER_RACES: Final = 10


class Workspace:
    """Paths of the store and the moves between them. Thread-safe.

    Attributes:
        root: the store's directory, links resolved.
        records: root of the parallel tree of records.
        temporary: where files are written before they are moved.
        folders: makes and removes the folders below the root.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self.records = self.root / RESERVED_PART / "meta"
        self.temporary = self.root / RESERVED_PART / "temporary"
        self.folders = DurableFolders(self.root)
        self._in_flight: set[str] = set()

    def prepare(self) -> None:
        """Make the hidden folders."""
        self.folders.make(self.records)
        self.folders.make(self.temporary)

    def require(self) -> None:
        """Look that the store itself is there before believing that something in it is not.

        A disk that is not mounted leaves its mount point, empty. Without this look every object
        would seem to be gone, and what retention wants destroyed to be destroyed.

        Raises:
            OSError: the hidden folders, made at the start, are not there.
        """
        os.stat(f"{self.temporary}/")  # noqa: PTH116 - a Path cannot ask for a folder

    def content_path(self, key: str) -> Path:
        """Where the content of ``key`` stands; never outside the root, also not by a link.

        Raises:
            VigieError: KEY_INVALID.
        """
        path = self.root.joinpath(*key_parts(key))
        if Path(os.path.realpath(path.parent)) != path.parent:
            raise VigieError(KEY_INVALID, f"{key!r} leads through a symbolic link", field="key")
        return path

    def record_path(self, key: str) -> Path:
        """Where the record of ``key`` stands.

        Folders end in ``.d`` and records in ``.json``, so that no key's record can stand where
        another key needs a folder.
        """
        *folders, name = key_parts(key)
        return self.records.joinpath(*(f"{one}.d" for one in folders), f"{name}.json")

    def key_of_record(self, path: Path) -> str:
        """The inverse of `record_path`."""
        *folders, name = path.relative_to(self.records).parts
        parts = [folder.removesuffix(".d") for folder in folders]
        return "/".join([*parts, name.removesuffix(".json")])

    def new_temporary(self, cleanup: ExitStack) -> Path:
        """A name for a new temporary file, which ``cleanup`` removes if it is still there."""
        name = secrets.token_hex(16)
        path = self.temporary / name
        self._in_flight.add(name)
        cleanup.callback(self._in_flight.discard, name)
        cleanup.callback(path.unlink, missing_ok=True)
        return path

    def remove_leftovers(self) -> int:
        """Remove temporary files that nobody in this process writes; says how many."""
        removed = 0
        for path in self.temporary.iterdir():
            if path.name not in self._in_flight:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def move(self, temporary: Path, path: Path) -> None:
        """Rename ``temporary`` to ``path``, whose folders are made durable before.

        Raises:
            VigieError: KEY_INVALID when a part of the way is an object.
        """
        for _ in range(_FOLDER_RACES):
            try:
                self.folders.make(path.parent)
                temporary.rename(path)
            except FileNotFoundError:
                # A delete has removed the folder, empty again, between our two steps.
                continue
            except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
                raise VigieError(
                    KEY_INVALID, f"{path.parent} is an object, not a folder", field="key"
                ) from error
            return
        raise VigieError(STORE_UNAVAILABLE, f"{path.parent} keeps vanishing")
