"""What every object store offers, a directory or any S3 with Object Lock.

Guarantees asked of an implementation (held by one contract suite):

- an object is visible whole or not at all, and durable when `put_file` returns;
- the SHA-256 given is verified against what was stored, by the store or by reading back;
- putting the same key with the same SHA-256 again succeeds and changes nothing; with another
  SHA-256 it is refused (objects are immutable);
- an object under a hold, or whose retention date is not reached, cannot be deleted.
"""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store knows of an object.

    Attributes:
        key: object key, ``/``-separated.
        size_bytes: length of the content.
        sha256: digest of the content, lower-case hex.
        content_type: MIME type with parameters.
        metadata: attributes given at upload (names as in the ONVIF annex, values US-ASCII). A store
            may give the names back in lower case.
        stored_at_us: when the store made it durable, by its own clock and to its own resolution,
            microseconds since the Unix epoch. A store may move it on when a hold or the retention
            changes (SeaweedFS); the content is the same.
        holds: identifiers of the holds on it.
        retain_until_us: earliest instant of deletion, or ``None``.
        foreign: it stands in the store but was not put there through this port (or its record is
            unreadable): digest and metadata are then empty. ``vigie fsck`` reports it.
    """

    key: str
    size_bytes: int
    sha256: str
    content_type: str
    metadata: Mapping[str, str]
    stored_at_us: int
    holds: frozenset[str]
    retain_until_us: int | None
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class ListedObject:
    """What a listing alone tells of an object; cheap in every store.

    Attributes:
        key: object key.
        size_bytes: length of the content.
        stored_at_us: when the store got it, perhaps a moment later than in `ObjectInfo`.
    """

    key: str
    size_bytes: int
    stored_at_us: int


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies one level below a prefix.

    Attributes:
        folders: prefixes that further keys share, each with its slash, in byte order.
        objects: keys without a further slash, in byte order.
    """

    folders: Sequence[str]
    objects: Sequence[ListedObject]


@dataclass(frozen=True, slots=True)
class FileState:
    """What the file system says of a file; any write to it changes at least ``changed_ns``.

    Attributes:
        device: of the file system.
        inode: of the file.
        size_bytes: its length.
        written_ns: ``st_mtime_ns``.
        changed_ns: ``st_ctime_ns``, which only the kernel sets.
    """

    device: int
    inode: int
    size_bytes: int
    written_ns: int
    changed_ns: int

    @classmethod
    def of(cls, state: os.stat_result) -> Self:
        """The state in what `os.stat` answers."""
        return cls(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class PutResult:
    """Outcome of a put: ``created`` is false when the same object was there already."""

    info: ObjectInfo
    created: bool


class ObjectStore(Protocol):
    """The store. Every method may raise VigieError STORE_UNAVAILABLE."""

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
        """Store the content of a file; durable and verified when this returns.

        Args:
            key: object key.
            path: the file.
            sha256: digest of its content.
            content_type: MIME type.
            metadata: attributes.
            written: the caller has computed ``sha256`` from the very bytes that it wrote to
                ``path``, and this was the state of the file when it had synced them. A store
                whose object will be that same file need not read it again as long as the state
                is still the same; all others verify what they have stored.

        Raises:
            VigieError: STORE_CHECKSUM_MISMATCH, OBJECT_EXISTS (other content), KEY_INVALID.
            FileNotFoundError: there is no such file.
        """
        ...

    async def put_bytes(
        self,
        key: str,
        content: bytes,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> PutResult:
        """The same for small content in memory."""
        ...

    def read(
        self, key: str, *, offset: int = 0, length: int | None = None, chunk_size: int = 1 << 18
    ) -> AsyncIterator[bytes]:
        """Stream a range of an object, in chunks of at most ``chunk_size`` bytes.

        The range must lie within the object (``offset + length <= size``; ``offset == size``
        gives nothing): a reader that follows an index must never be handed less than it asked
        for without noticing.

        Raises:
            VigieError: OBJECT_NOT_FOUND, RANGE_INVALID.
        """
        ...

    async def local_path(self, key: str) -> Path | None:
        """The file that the object is, for reading only; ``None`` when it is not here as one.

        For work that reads an object several times: it spares a copy. Whoever reads a file
        instead of asking the store verifies what was read.

        Raises:
            VigieError: OBJECT_NOT_FOUND (a store whose objects are no files may not look).
        """
        ...

    async def stat(self, key: str) -> ObjectInfo | None:
        """What the store knows of ``key``, or ``None``."""
        ...

    def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """All objects whose key begins with ``prefix``, in byte order of their keys.

        A store may have to ask for each object; whoever needs only keys takes `list_keys`.
        """
        ...

    def list_keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ListedObject]:
        """The same objects in the same order, without their attributes."""
        ...

    async def folder(self, prefix: str) -> Folder:
        """What lies one level below ``prefix``, which is empty or ends in a slash.

        With `list_keys` below each of its folders at once, a large store is listed in parallel.
        """
        ...

    async def delete(self, key: str) -> bool:
        """Remove for good; false when it was not there.

        Raises:
            VigieError: OBJECT_HELD, OBJECT_RETAINED.
        """
        ...

    async def place_hold(self, key: str, hold_id: str) -> None:
        """Put a hold on an object (idempotent).

        Raises:
            VigieError: OBJECT_NOT_FOUND.
        """
        ...

    async def release_hold(self, key: str, hold_id: str) -> None:
        """Take one hold off (idempotent; also when the object is not there any more)."""
        ...

    async def set_retention(self, key: str, retain_until_us: int) -> None:
        """Refuse deletion until then; may be extended, never shortened.

        Raises:
            VigieError: OBJECT_NOT_FOUND, RETENTION_SHORTENED.
        """
        ...

    async def check(self) -> None:
        """Raise when the store cannot be written and read now."""
        ...
