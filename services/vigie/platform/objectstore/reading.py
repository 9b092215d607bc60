"""Reading the objects of a directory store. It blocks: for worker threads."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from vigie.platform.errors import VigieError
from vigie.platform.objectstore.failures import as_store_error
from vigie.platform.objectstore.listing import list_files, list_folder
from vigie.platform.objectstore.port import Folder, ListedObject, ObjectInfo
from vigie.platform.objectstore.ranges import RangeReader
from vigie.platform.objectstore.record import RecordDamagedError, foreign_info, read_record
from vigie.platform.objectstore.workspace import Workspace, is_regular, not_found


class TreeReader:
    """Looks at objects and their records in one workspace; changes nothing. Thread-safe."""

    def __init__(self, space: Workspace) -> None:
        self._space = space

    def stat(self, key: str) -> ObjectInfo | None:
        """See the port."""
        path = self._space.content_path(key)
        with as_store_error(f"look at {key}"):
            try:
                state = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                self._space.require()
                return None
            return self._info(key, state) if is_regular(path) else None

    def path_of(self, key: str) -> Path:
        """The file of an object; raises OBJECT_NOT_FOUND."""
        path = self._space.content_path(key)
        with as_store_error(f"look for {key}"):
            self._space.require_object(key, path)
        return path

    def open_range(self, key: str, offset: int, length: int | None) -> RangeReader:
        """Open a range for reading; raises OBJECT_NOT_FOUND, RANGE_INVALID."""
        path = self._space.content_path(key)
        with as_store_error(f"read {key}"):
            try:
                return RangeReader(path, key, offset, length)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                self._space.require()
                raise not_found(key) from error
            except OSError as error:
                if error.errno == errno.ELOOP:  # a symbolic link: not an object
                    raise not_found(key) from error
                raise

    def list(self, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
        """See the port."""
        with as_store_error("list"):
            for key, state in list_files(self._space.root, prefix, start_after):
                yield self._info(key, state)
            # A store that went away in between looks like one that ends here.
            self._space.require()

    def list_keys(self, prefix: str, start_after: str) -> Iterator[ListedObject]:
        """See the port; the time is that of the last change, which a link or rename sets."""
        with as_store_error("list"):
            for key, state in list_files(self._space.root, prefix, start_after):
                yield _listed(key, state)
            self._space.require()

    def folder(self, prefix: str) -> Folder:
        """See the port."""
        with as_store_error("list"):
            folders, files = list_folder(self._space.root, prefix)
            self._space.require()
        return Folder(folders, [_listed(key, state) for key, state in files])

    def _info(self, key: str, state: os.stat_result) -> ObjectInfo:
        try:
            record = read_record(self._space.record_path(key))
        except (RecordDamagedError, VigieError):
            record = None
        return foreign_info(key, state) if record is None else record.info(state.st_size)


def _listed(key: str, state: os.stat_result) -> ListedObject:
    return ListedObject(key, state.st_size, state.st_ctime_ns // 1000)
