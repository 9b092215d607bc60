"""Storing content: in one request or in parts, verified by the store, and looked at afterwards.

A put succeeds when all of this is so:

1. the store was given the SHA-256 of what it should receive and did not object, and its answer
   names that digest (or, where it does not, or was found to name what it has not verified,
   everything was read back and hashed here);
2. the write was conditional on nothing being there (or nothing was there, where the store has no
   conditional writes);
3. the object is there, with that length and that digest: a store that said yes is not believed.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

from vigie.platform.errors import VigieError
from vigie.platform.objectstore.s3 import attributes, multipart
from vigie.platform.objectstore.s3.client import Body, Deadline, base64_of
from vigie.platform.objectstore.s3.failures import ALTERED, StoreFailure
from vigie.platform.objectstore.s3.looking import Looker, Seen
from vigie.platform.objectstore.s3.reading import read_range
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.reasons import OBJECT_EXISTS, STORE_CHECKSUM_MISMATCH, STORE_UNAVAILABLE

_PARTS_FROM: Final = 4
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be stored.

    Attributes:
        key: where.
        source: the bytes, or the file that has them.
        sha256: of all of it.
        headers: content type and metadata.
    """

    key: str
    source: bytes | Path
    sha256: str
    headers: dict[str, str]

    def open(self) -> IO[bytes]:
        """The content from its begin; raises OSError."""
        return BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    def size(self) -> int:
        """Its length now; raises OSError."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


class Uploader:
    """Stores content.

    Args:
        requests: to the store.
        looker: looks at what is there.
        reach: says that a step is about to begin, for tests.
        read_back: counts objects that had to be read back.
    """

    def __init__(
        self,
        requests: Requests,
        looker: Looker,
        reach: Callable[[str], None],
        read_back: Callable[[], None],
    ) -> None:
        self._requests = requests
        self._looker = looker
        self._reach = reach
        self._read_back = read_back
        self.conditional = True
        self.checksums = True

    async def put(self, content: Content) -> tuple[Seen, bool]:
        """Store; the object as it is afterwards, and whether it is new.

        Raises:
            VigieError: as the port says.
            OSError: the source cannot be read.
        """
        size_bytes = await self._requests.work(content.size)
        if not self.conditional and (there := await self._already_there(content)) is not None:
            return there, False
        self._reach("s3.put.begun")
        try:
            sent = await self._send(content, size_bytes)
        except StoreFailure as failure:
            if failure.code in ALTERED:
                raise _altered(content.key, "the store received other bytes") from failure
            # An upload in parts that is gone was perhaps finished by an attempt without an answer.
            if not failure.exists and failure.code != "NoSuchUpload":
                raise
            there = await self._already_there(content)
            if there is None:
                raise _vanished(content.key) from failure
            return there, False
        if isinstance(sent, Seen):
            return sent, False
        self._reach("s3.put.stored")
        seen = await self._confirmed(content, size_bytes, sent)
        self._reach("s3.put.verified")
        return seen, True

    async def _send(self, content: Content, size_bytes: int) -> "multipart.Sent | Seen":
        headers = dict(content.headers)
        if self.conditional:
            headers["If-None-Match"] = "*"
        if size_bytes > _PARTS_FROM * self._requests.config.part_bytes:
            return await multipart.put_parts(self._requests, content, size_bytes, headers)
        return await self._whole(content, size_bytes, headers)

    async def _whole(
        self, content: Content, size_bytes: int, headers: dict[str, str]
    ) -> "multipart.Sent | Seen":
        requests, bucket = self._requests, self._requests.bucket
        name = bucket.object_name(content.key)
        headers = {**headers, attributes.CHECKSUM: base64_of(content.sha256)}

        def put(deadline: Deadline) -> Any:
            with content.open() as source:
                body = Body(source, size_bytes, content.sha256, deadline)
                return requests.client.put(bucket.name, name, body, headers)

        async def look(failure: StoreFailure) -> Any:
            # Without an answer the object may be there: stored, or refused before all was sent.
            return await self._already_there(content) if failure.status is None else None

        result = await requests.run("put", put, size_bytes=size_bytes, uploading=True, between=look)
        if isinstance(result, Seen):
            return result
        echoed = result.http_headers.get(attributes.CHECKSUM, "")
        return multipart.Sent(
            result.etag or "", result.version_id, base64_of(content.sha256), echoed
        )

    async def _already_there(self, content: Content) -> Seen | None:
        """What is under the key, when it is the same; ``None`` when nothing is.

        Raises:
            VigieError: OBJECT_EXISTS when it is something else.
        """
        seen = await self._looker.see(content.key)
        if seen is None:
            return None
        if seen.sha256 and seen.sha256 != content.sha256:
            raise VigieError(
                OBJECT_EXISTS, f"{content.key} is there with other content", key=content.key
            )
        if self._vouched(seen, content):
            return seen
        # The store does not say what it has verified: the source goes once we say yes.
        if await self._digest_of(content.key, seen.size_bytes) != content.sha256:
            if not seen.sha256:
                raise VigieError(
                    OBJECT_EXISTS, f"{content.key} is there with other content", key=content.key
                )
            raise _altered(content.key, "the stored object has other bytes than its digest says")
        return seen

    def _vouched(self, seen: Seen, content: Content) -> bool:
        """Whether the store's word is enough: its own checksum, or one of parts beside our digest.

        The parts' digests were compared as they came, and the whole with ours before the end.
        Who may not read takes the tag for it: it was written with the content, conditionally.
        """
        if not self.checksums:
            return False
        if seen.checksum == base64_of(content.sha256):
            return True
        return bool(seen.sha256) and ("-" in seen.checksum or not seen.headers)

    async def _confirmed(self, content: Content, size_bytes: int, sent: "multipart.Sent") -> Seen:
        """Look at what was just stored (3 above).

        Raises:
            VigieError: STORE_UNAVAILABLE when it is not there, STORE_CHECKSUM_MISMATCH when it is
                something else.
        """
        seen = await self._looker.see(content.key)
        if seen is None:
            raise _vanished(content.key)
        if seen.size_bytes != size_bytes or (seen.sha256 and seen.sha256 != content.sha256):
            raise _altered(content.key, f"the store has {seen.size_bytes} bytes of {size_bytes}")
        echoed = sent.echoed == sent.expected and seen.etag == sent.etag
        if self.checksums and (echoed or seen.checksum == sent.expected):
            return seen
        self._read_back()
        if await self._digest_of(content.key, size_bytes) != content.sha256:
            raise _altered(content.key, "the store gives back other bytes than it was given")
        return seen

    async def _digest_of(self, key: str, size_bytes: int) -> str:
        digest = hashlib.sha256()
        async for chunk in read_range(self._requests, key, 0, size_bytes, _READ_BYTES):
            await asyncio.to_thread(digest.update, chunk)
        return digest.hexdigest()


def _altered(key: str, what: str) -> VigieError:
    return VigieError(STORE_CHECKSUM_MISMATCH, f"{key}: {what}", key=key)


def _vanished(key: str) -> VigieError:
    return VigieError(
        STORE_UNAVAILABLE, f"{key}: the store said that it has it, and does not", key=key
    )
