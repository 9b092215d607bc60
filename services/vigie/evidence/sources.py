"""Reads source segments for a package: whole, verified, and only then used."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO, Final

from vigie.evidence import reasons
from vigie.evidence.ports import SegmentFacts
from vigie.media.bmff.plan import PlannedSegment
from vigie.media.bmff.reader import drive, fragment_steps, header_steps
from vigie.media.errors import MediaError
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ObjectStore

_IN_MEMORY_BYTES: Final = 64 << 20
_READ_BYTES: Final = 1 << 20


class SourceReader:
    """Fetches segments for a thread that writes a package.

    Args:
        store: where the segments are.
        loop: the event loop the store lives in; the methods are called from another thread.
    """

    def __init__(self, store: ObjectStore, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop

    def index(self, segment: SegmentFacts) -> PlannedSegment[SegmentFacts]:
        """Header and fragments of a segment, read by ranges.

        Raises:
            VigieError: EVIDENCE_SOURCE_ALTERED, EVIDENCE_SOURCE_MISSING.
        """

        def read(offset: int, length: int) -> bytes:
            return b"".join(self._chunks(segment.object_key, offset, length))

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

    def fetch(self, segment: SegmentFacts) -> IO[bytes]:
        """The whole object, its digest compared with the one recorded at reception.

        Raises:
            VigieError: EVIDENCE_SOURCE_ALTERED, EVIDENCE_SOURCE_MISSING.
        """
        content = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - handed over
        try:
            self._copy(segment, content)
        except BaseException:
            content.close()
            raise
        return content

    def _copy(self, segment: SegmentFacts, content: IO[bytes]) -> None:
        digest = hashlib.sha256()
        size = 0
        for chunk in self._chunks(segment.object_key, 0, None):
            digest.update(chunk)
            content.write(chunk)
            size += len(chunk)
        if (size, digest.hexdigest()) != (segment.size_bytes, segment.sha256):
            raise VigieError(
                reasons.EVIDENCE_SOURCE_ALTERED,
                f"{segment.object_key} has SHA-256 {digest.hexdigest()},"
                f" {segment.sha256} was recorded",
            )

    def _chunks(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        iterator: AsyncIterator[bytes] = self._store.read(
            key, offset=offset, length=length, chunk_size=_READ_BYTES
        )

        async def following() -> bytes | None:
            return await anext(iterator, None)

        while True:
            future = asyncio.run_coroutine_threadsafe(following(), self._loop)
            try:
                chunk = future.result()
            except VigieError as error:
                if error.reason.name != "OBJECT_NOT_FOUND":
                    raise
                raise VigieError(reasons.EVIDENCE_SOURCE_MISSING, key) from error
            if chunk is None:
                return
            yield chunk
