"""The hidden area of the directory store: temporary files on their way to their place."""

import os
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from vigie.platform.errors import VigieError
from vigie.platform.objectstore.durable import DurableFolders
from vigie.platform.objectstore.keys import RESERVED_PART, key_parts
from vigie.platform.reasons import KEY_INVALID, OBJECT_NOT_FOUND, STORE_UNAVAILABLE

_FOLDER_RACES: Final = 10
_ASIDE_NAME: Final = 200
_ASIDE_RECORD: Final = "@record.json"  # no quoted key holds an "@"


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What `DirectoryObjectStore.sweep` removed.

    Attributes:
        temporary_files: files of puts that came to nothing.
        orphan_records: records without an object.
        set_aside: files whose time in the quarantine was over.
    """

    temporary_files: int
    orphan_records: int
    set_aside: int = 0


class Workspace:
    """Paths of the store and the moves between them. Thread-safe.

    Attributes:
        root: the store's directory, links resolved.
        records: root of the parallel tree of records.
        temporary: where files are written before they are moved.
        quarantine: what was set aside: objects that are not ours.
        folders: makes and removes the folders below the root.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self.records = self.root / RESERVED_PART / "meta"
        self.temporary = self.root / RESERVED_PART / "temporary"
        self.quarantine = self.root / RESERVED_PART / "quarantine"
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

    def require_object(self, key: str, path: Path) -> None:
        """Look that the object ``key`` stands at ``path``, its `content_path`.

        Raises:
            VigieError: OBJECT_NOT_FOUND.
            OSError: see `require`.
        """
        if not is_regular(path):
            self.require()
            raise not_found(key)

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

    def new_place_aside(self, key: str) -> Path:
        """Where an object is set aside: its name tells its key, and nothing else lies there."""
        self.folders.make(self.quarantine)
        name = quote(key, safe="")[-_ASIDE_NAME:]
        place, number = self.quarantine / name, 0
        while os.path.lexists(place):
            number += 1
            place = self.quarantine / f"{name}.{number}"
        return place

    def record_aside(self, place: Path) -> Path:
        """Where the record of an object stands that was set aside to ``place``."""
        return place.with_name(place.name + _ASIDE_RECORD)

    def set_aside(self) -> list[Path]:
        """What lies in the quarantine, records left out."""
        try:
            aside = list(self.quarantine.iterdir())
        except FileNotFoundError:
            return []
        return sorted(place for place in aside if not place.name.endswith(_ASIDE_RECORD))

    def remove_set_aside(self, before_us: int) -> int:
        """Remove from the quarantine what was set aside before an instant; says how many."""
        removed = 0
        for path in self.set_aside():
            if path.lstat().st_mtime_ns // 1000 < before_us:
                self.record_aside(path).unlink(missing_ok=True)
                path.unlink()
                removed += 1
        return removed

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


def is_regular(path: Path) -> bool:
    """Whether a file stands there, and no link to one: whether it is an object."""
    return path.is_file() and not path.is_symlink()


def not_found(key: str) -> VigieError:
    """OBJECT_NOT_FOUND."""
    return VigieError(OBJECT_NOT_FOUND, f"no object {key}", key=key)
