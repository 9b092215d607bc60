"""Reads source segments for a package: whole, verified, and only then used."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from types import TracebackType
from typing import IO, Any, Final, Self, TypeVar

from vigie.evidence import reasons
from vigie.evidence.ports import SegmentFacts
from vigie.media.bmff.plan import PlannedSegment
from vigie.media.bmff.reader import drive, fragment_steps, header_steps
from vigie.media.errors import MediaError
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ObjectStore

T = TypeVar("T")

_IN_MEMORY_BYTES: Final = 64 << 20
_READ_BYTES: Final = 4 << 20


class SourceContent:
    """The content of one segment, verified: in memory, or in a temporary file when it is long."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._memory = memoryview(b"")
        self._file: IO[bytes] | None = None
        self.size_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Append what was read."""
        self.size_bytes += len(chunk)
        if self._file is None and self.size_bytes > _IN_MEMORY_BYTES:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
            self._file.writelines(self._pieces)
            self._pieces.clear()
        if self._file is None:
            self._pieces.append(chunk)
        else:
            self._file.write(chunk)

    def seal(self) -> None:
        """All is there."""
        pieces, self._pieces = self._pieces, []
        self._memory = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def chunks(self, offset: int, length: int) -> Iterator[bytes | memoryview]:
        """A range of the content.

        Raises:
            VigieError: EVIDENCE_SOURCE_ALTERED when it is shorter.
        """
        if offset + length > self.size_bytes:
            raise VigieError(reasons.EVIDENCE_SOURCE_ALTERED, "a segment ends early")
        if self._file is None:
            yield self._memory[offset : offset + length]
            return
        self._file.seek(offset)
        while length:
            chunk = self._file.read(min(_READ_BYTES, length))
            yield chunk
            length -= len(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()


class SourceReader:
    """Fetches segments for a thread that writes a package.

    Args:
        store: where the segments are.
        loop: the event loop the store lives in; the methods are called from other threads.
    """

    def __init__(self, store: ObjectStore, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop

    def index(self, segment: SegmentFacts) -> PlannedSegment[SegmentFacts]:
        """Header and fragments of a segment, read by ranges.

        Raises:
            VigieError: EVIDENCE_SOURCE_ALTERED, EVIDENCE_SOURCE_MISSING.
        """
        path = self._await(self._store.local_path(segment.object_key), segment.object_key)
        if path is None:
            return self._parse(segment, None)
        try:
            with path.open("rb", buffering=0) as file:
                return self._parse(segment, file)
        except OSError as error:
            raise VigieError(reasons.EVIDENCE_SOURCE_MISSING, segment.object_key) from error

    def _parse(self, segment: SegmentFacts, file: IO[bytes] | None) -> PlannedSegment[SegmentFacts]:
        def read(offset: int, length: int) -> bytes:
            if file is None:
                return b"".join(self._chunks(segment.object_key, offset, length))
            file.seek(offset)
            return file.read(length)

        try:
            header = drive(header_steps(segment.size_bytes), read)
            fragments = drive(fragment_steps(segment.size_bytes, header), read)
            return PlannedSegment(
                segment, header, fragments, segment.start_us, segment.end_us - segment.start_us
            )
        except MediaError as error:
            raise VigieError(
                reasons.EVIDENCE_SOURCE_ALTERED, f"{segment.object_key}: {error}"
            ) from error

    def fetch(self, segment: SegmentFacts) -> SourceContent:
        """The whole object, its digest compared with the one recorded at reception.

        Raises:
            VigieError: EVIDENCE_SOURCE_ALTERED, EVIDENCE_SOURCE_MISSING.
        """
        content, digest = SourceContent(), hashlib.sha256()
        for chunk in self._chunks(segment.object_key, 0, None):
            digest.update(chunk)
            content.add(chunk)
        content.seal()
        if (content.size_bytes, digest.hexdigest()) != (segment.size_bytes, segment.sha256):
            raise VigieError(
                reasons.EVIDENCE_SOURCE_ALTERED,
                f"{segment.object_key} has SHA-256 {digest.hexdigest()},"
                f" {segment.sha256} was recorded",
            )
        return content

    def _chunks(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        iterator: AsyncIterator[bytes] = self._store.read(
            key, offset=offset, length=length, chunk_size=_READ_BYTES
        )

        async def following() -> bytes | None:
            return await anext(iterator, None)

        while (chunk := self._await(following(), key)) is not None:
            yield chunk

    def _await(self, work: Coroutine[Any, Any, T], key: str) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except VigieError as error:
            if error.reason.name != "OBJECT_NOT_FOUND":
                raise
            raise VigieError(reasons.EVIDENCE_SOURCE_MISSING, key) from error
