"""One segment growing in the spool, written and hashed in batches that stay in the cache."""

import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from vigie.ingest.spool import faults as points
from vigie.ingest.spool.layout import RunDirectory
from vigie.ingest.spool.records import write_all
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.folders import sync_folder

SUM: Final = struct.Struct(">Q32s")
"""An entry of a ``.sums`` file: an offset in the segment, SHA-256 of everything before it."""

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
_MODE: Final = 0o640
_BATCH_BYTES: Final = 128 << 10
"""Samples have left the caches when their group is complete. Fetched once into a batch of this
size, they are still there for the write and the hash."""


class SyncPolicy(StrEnum):
    """When media in the spool is forced to the disk."""

    FRAGMENT = "fragment"
    """After every key-frame interval: a power cut costs at most one of them."""
    SEGMENT = "segment"
    """When a segment closes: a power cut costs up to a segment; for slow disks."""


class SegmentFile:
    """The bytes of a segment that is being written.

    Data goes before its sum, and where each fragment is forced to the disk, the data is forced
    before the sum is written: a sum never vouches for bytes that are not there. Only with its sum
    on the disk is a fragment believed after a power cut, so that is forced, too. What a failed
    write left behind is cut off again; when even that fails, recovery does it.

    Args:
        directory: the run.
        number: of the segment.
        header: ``ftyp`` and ``moov``; written together with the first fragment.
        sync: when to force bytes to the disk.
        faults: fault points.

    Raises:
        OSError: the files cannot be made.
    """

    def __init__(
        self,
        directory: RunDirectory,
        number: int,
        header: bytes,
        *,
        sync: SyncPolicy,
        faults: FaultPoints,
    ) -> None:
        self._directory = directory
        self._number = number
        self._sync = sync
        self._faults = faults
        self._pending = [header]
        self._digest = hashlib.sha256()
        self._size = 0
        self._header_size = len(header)
        faults.reach(points.SEGMENT_CREATE)
        self._media = os.open(directory.media(number), _CREATE, _MODE)
        try:
            self._sums = os.open(directory.sums(number), _CREATE, _MODE)
        except BaseException:
            os.close(self._media)
            raise
        self._open = True

    @property
    def size_bytes(self) -> int:
        """Bytes so far, the header included even before it is written."""
        return self._size or self._header_size

    def append(self, head: bytes, samples: Sequence[bytes | bytearray]) -> None:
        """Write one fragment: ``prft`` ``moof`` and the header of ``mdat``, then its samples.

        Raises:
            OSError: it is not in the file (or not durable).
        """
        self._faults.reach(points.FRAGMENT_WRITE)
        first = not self._size
        digest, written = self._digest.copy(), 0
        try:
            for batch in _batches([*self._pending, head], samples):
                write_all(self._media, batch)
                digest.update(batch)
                written += len(batch)
        except BaseException:  # half a fragment must not stay, whatever broke off its writing
            os.ftruncate(self._media, self._size)
            raise
        self._digest = digest
        self._pending = []
        self._size += written
        forced = self._sync is SyncPolicy.FRAGMENT
        if forced:
            self._faults.reach(points.FRAGMENT_SYNC)
            os.fdatasync(self._media)
        self._faults.reach(points.FRAGMENT_SUM)
        os.write(self._sums, SUM.pack(self._size, self._digest.digest()))
        if forced:
            self._faults.reach(points.SUM_SYNC)
            os.fdatasync(self._sums)
        if first:
            # Whatever the policy: recovery takes a segment without sums for one that was closed.
            sync_folder(self._directory.path)

    def finish(self, index: bytes) -> tuple[int, str]:
        """Write the index (``mfra``), make the file durable and close it.

        Returns:
            Length of the object and its SHA-256 (lower-case hexadecimal).

        Raises:
            OSError: the segment is not closed; recovery can close it.
        """
        self._faults.reach(points.SEGMENT_INDEX)
        write_all(self._media, index)
        self._digest.update(index)
        self._size += len(index)
        self._faults.reach(points.SEGMENT_SYNC)
        os.fsync(self._media)
        self.close()
        return self._size, self._digest.hexdigest()

    def close(self) -> None:
        """Release the files as they are (idempotent).

        Raises:
            OSError: the disk refuses even that; they are released all the same.
        """
        if self._open:
            self._open = False
            try:
                os.close(self._media)
            finally:
                os.close(self._sums)


def _batches(boxes: list[bytes], samples: Sequence[bytes | bytearray]) -> Iterator[bytes]:
    """Everything in order, joined to about `_BATCH_BYTES` at a time."""
    batch: list[bytes | bytearray] = list(boxes)
    size = 0
    for sample in samples:
        batch.append(sample)
        size += len(sample)
        if size >= _BATCH_BYTES:
            yield b"".join(batch)
            batch, size = [], 0
    if batch:
        yield b"".join(batch)
