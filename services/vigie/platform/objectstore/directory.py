"""The object store in a directory: the same keys as file names, atomic and durable.

```
<root>/<key>                      the content
<root>/.vigie/meta/<a.d>/<b>.json the record of the object a/b: digest, attributes, holds
<root>/.vigie/temporary/          files being written
<root>/.vigie/LOCK                one process at a time
```

Order of a put (crash argument in docs/design/storage.md):

1. copy to a temporary file of the same file system, sync it;
2. read it back and compare the SHA-256 (not where the object is the very file that the caller
   has just hashed while it wrote it, and nobody has written to it since);
3. write the record durably (an object without content does not exist);
4. rename the temporary file to its key: from here on the object is visible;
5. sync the folder: from here on it is durable, and the put returns.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from vigie.platform.clock import WallClock
from vigie.platform.database.lock import DataDirectoryLock
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.folders import make_durable_folder
from vigie.platform.objectstore.failures import as_store_error
from vigie.platform.objectstore.port import (
    FileState,
    Folder,
    ListedObject,
    ObjectInfo,
    PutResult,
)
from vigie.platform.objectstore.reading import TreeReader
from vigie.platform.objectstore.record import check_attributes
from vigie.platform.objectstore.tree import ObjectTree
from vigie.platform.objectstore.workspace import SweepReport, Workspace

T = TypeVar("T")

_WRITERS: Final = 4
_READERS: Final = 8
_LIST_BATCH: Final = 256


class DirectoryObjectStore:
    """See `vigie.platform.objectstore.port.ObjectStore`. Make one with `open_directory_store`.

    All file access happens in worker threads, a bounded number of them; readers have threads of
    their own, so that playback does not wait behind uploads.

    Args:
        root: an existing directory.
        wall_clock: for ``stored_at_us`` and retention dates.
        link_sources: `put_file` may make a hard link instead of a copy when source and store are
            on one file system. Only for sources that are never written again (closed spool
            files): the object would change with them.
        faults: where tests strike; names in `vigie.platform.objectstore.tree.FAULT_POINTS`.
        lock: held until `close`.
    """

    def __init__(
        self,
        root: Path,
        wall_clock: WallClock,
        *,
        link_sources: bool = False,
        faults: FaultPoints = NO_FAULTS,
        lock: DataDirectoryLock | None = None,
    ) -> None:
        space = Workspace(root)
        self._reader = TreeReader(space)
        self._tree = ObjectTree(space, wall_clock, link_sources=link_sources, faults=faults)
        self._lock = lock
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="vigie-store-write")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="vigie-store-read")

    async def put_file(
        self,
        key: str,
        path: Path,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        written: FileState | None = None,
    ) -> PutResult:
        """See `ObjectStore.put_file`; ``path`` itself is not changed.

        Raises:
            VigieError: as the port says.
            OSError: the source cannot be opened (its owner's trouble, not the store's).
            ValueError: digest or attributes are malformed.
        """
        check_attributes(sha256, content_type, metadata)
        put = functools.partial(
            self._tree.put,
            key,
            path,
            sha256=sha256,
            content_type=content_type,
            metadata=metadata,
            written=written,
        )
        return await self._in(self._writers, put)

    async def put_bytes(
        self,
        key: str,
        content: bytes,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> PutResult:
        """See `ObjectStore.put_bytes`."""
        check_attributes(sha256, content_type, metadata)
        put = functools.partial(
            self._tree.put,
            key,
            content,
            sha256=sha256,
            content_type=content_type,
            metadata=metadata,
        )
        return await self._in(self._writers, put)

    async def read(
        self, key: str, *, offset: int = 0, length: int | None = None, chunk_size: int = 1 << 18
    ) -> AsyncIterator[bytes]:
        """See `ObjectStore.read`.

        An object deleted meanwhile is read to its end: the open file stays.
        """
        opened = functools.partial(self._reader.open_range, key, offset, length)
        reader = await self._in(self._readers, opened)
        try:
            while chunk := await self._in(
                self._readers, functools.partial(reader.read, chunk_size)
            ):
                yield chunk
        finally:
            reader.close()

    async def local_path(self, key: str) -> Path | None:
        """See `ObjectStore.local_path`."""
        return await self._in(self._readers, functools.partial(self._reader.path_of, key))

    async def stat(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore.stat`."""
        return await self._in(self._readers, functools.partial(self._reader.stat, key))

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See `ObjectStore.list`; lazily, a few hundred objects in memory at a time."""
        objects = self._reader.list(prefix, start_after)
        while batch := await self._in(self._readers, functools.partial(_take, objects)):
            for info in batch:
                yield info

    async def list_keys(
        self, prefix: str = "", *, start_after: str = ""
    ) -> AsyncIterator[ListedObject]:
        """See `ObjectStore.list_keys`; no record is read."""
        objects = self._reader.list_keys(prefix, start_after)
        while batch := await self._in(self._readers, functools.partial(_take, objects)):
            for listed in batch:
                yield listed

    async def folder(self, prefix: str) -> Folder:
        """See `ObjectStore.folder`."""
        return await self._in(self._readers, functools.partial(self._reader.folder, prefix))

    async def delete(self, key: str) -> bool:
        """See `ObjectStore.delete`."""
        return await self._in(self._writers, functools.partial(self._tree.delete, key))

    async def place_hold(self, key: str, hold_id: str) -> None:
        """See `ObjectStore.place_hold`."""
        await self._in(self._writers, functools.partial(self._tree.place_hold, key, hold_id))

    async def release_hold(self, key: str, hold_id: str) -> None:
        """See `ObjectStore.release_hold`."""
        await self._in(self._writers, functools.partial(self._tree.release_hold, key, hold_id))

    async def set_retention(self, key: str, retain_until_us: int) -> None:
        """See `ObjectStore.set_retention`."""
        await self._in(
            self._writers, functools.partial(self._tree.set_retention, key, retain_until_us)
        )

    async def redescribe(
        self,
        key: str,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        holds: frozenset[str] = frozenset(),
    ) -> None:
        """Write the record of an object anew when its content is what it should be.

        Raises:
            VigieError: OBJECT_NOT_FOUND, STORE_CHECKSUM_MISMATCH.
        """
        check_attributes(sha256, content_type, metadata)
        redescribe = functools.partial(
            self._tree.redescribe, key, sha256, content_type, metadata, holds
        )
        await self._in(self._writers, redescribe)

    async def set_aside(self, key: str) -> None:
        """Move an object that is not ours out of the bucket, into the store's quarantine.

        Raises:
            VigieError: OBJECT_NOT_FOUND, OBJECT_HELD, OBJECT_RETAINED.
        """
        await self._in(self._writers, functools.partial(self._tree.set_aside, key))

    async def check(self) -> None:
        """See `ObjectStore.check`: writes, syncs, reads and removes a small file."""
        await self._in(self._writers, self._tree.probe)

    async def prepare(self) -> None:
        """Make the hidden folders and remove temporary files; only while nobody else writes."""
        await self._in(self._writers, self._tree.prepare)

    async def sweep(self) -> SweepReport:
        """Remove what crashed puts and deletes have left; safe while the store is in use."""
        return await self._in(self._writers, self._tree.sweep)

    async def close(self) -> None:
        """Finish what is under way, then give the lock back (idempotent)."""
        await asyncio.to_thread(self._writers.shutdown, wait=True)
        await asyncio.to_thread(self._readers.shutdown, wait=True)
        if self._lock is not None:
            self._lock.release()

    async def _in(self, executor: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, work)


async def open_directory_store(
    root: Path,
    wall_clock: WallClock,
    *,
    link_sources: bool = False,
    faults: FaultPoints = NO_FAULTS,
) -> DirectoryObjectStore:
    """Open (or make) the store at ``root``, locked for this process, temporary files removed.

    Raises:
        VigieError: DATA_DIRECTORY_IN_USE, STORE_UNAVAILABLE.
    """

    def prepare() -> DataDirectoryLock:
        with as_store_error(f"prepare {root}"):
            hidden = root / ".vigie"
            make_durable_folder(hidden)
        lock = DataDirectoryLock(hidden)
        lock.acquire()
        return lock

    lock = await asyncio.to_thread(prepare)
    store = DirectoryObjectStore(
        root, wall_clock, link_sources=link_sources, faults=faults, lock=lock
    )
    try:
        await store.prepare()
    except BaseException:
        await store.close()
        raise
    return store


def _take(objects: Iterator[T]) -> list[T]:
    return list(islice(objects, _LIST_BATCH))
