"""Storing a long file in parts: one part in memory, each verified by the store.

The digest of the whole is compared here, before the parts are put together: every part was hashed
as it was read, in order. If anything fails, the parts are given up at once; what a killed process
leaves is removed by the bucket's lifecycle rule or by the store's `sweep`.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from vigie.platform.errors import VigieError
from vigie.platform.objectstore.s3 import attributes
from vigie.platform.objectstore.s3.client import Body, Deadline, base64_of
from vigie.platform.objectstore.s3.failures import StoreFailure
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.reasons import STORE_CHECKSUM_MISMATCH

if TYPE_CHECKING:
    from vigie.platform.objectstore.s3.upload import Content

_MOST_PARTS: Final = 10_000
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Sent:
    """What the store answered to the content.

    Attributes:
        etag: of the object.
        version: of the object.
        expected: its checksum, as the store ought to say it.
        echoed: what the store's answer says; "" when nothing.
    """

    etag: str
    version: str | None
    expected: str
    echoed: str


@dataclass(frozen=True, slots=True)
class _Part:
    number: int
    etag: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Upload:
    """An upload in parts that was begun."""

    requests: Requests
    key: str
    name: str
    identifier: str

    async def send(self, number: int, data: bytes, digest: bytes) -> _Part:
        """Store one part."""
        client, bucket = self.requests.client, self.requests.bucket.name
        sha256 = digest.hex()
        headers = {attributes.CHECKSUM: base64_of(sha256)}
        query = {"partNumber": str(number), "uploadId": self.identifier}

        def put(deadline: Deadline) -> Any:
            body = Body(_Memory(data), len(data), sha256, deadline)
            return client.put(bucket, self.name, body, headers, query)

        result = await self.requests.run("put part", put, size_bytes=len(data), uploading=True)
        return _Part(number, result.etag or "", digest)

    async def complete(self, parts: list[_Part], condition: Mapping[str, str]) -> Sent:
        """Put the parts together."""
        client, bucket = self.requests.client, self.requests.bucket.name
        body = _completion(parts)
        headers = {**condition, "Content-Type": "application/xml"}

        def complete() -> Any:
            return client.post(bucket, self.name, body, headers, {"uploadId": self.identifier})

        # The store copies the parts before it answers, or at least looks at each.
        size_bytes = len(parts) * self.requests.config.part_bytes
        answer = await self.requests.run(
            "complete upload", lambda _: complete(), size_bytes=size_bytes
        )
        composite = hashlib.sha256(b"".join(part.digest for part in parts)).hexdigest()
        return Sent(
            etag=_text(answer.data, "ETag").strip('"'),
            version=answer.headers.get("x-amz-version-id"),
            expected=f"{base64_of(composite)}-{len(parts)}",
            echoed=_text(answer.data, "ChecksumSHA256"),
        )

    async def abort(self) -> None:
        """Give up what was stored, as far as the store can be reached."""
        client, bucket = self.requests.client, self.requests.bucket.name
        with suppress(StoreFailure, RuntimeError):  # the threads may have ended by now
            await self.requests.run(
                "abort upload",
                lambda _: client.abort_upload(bucket, self.name, self.identifier),
            )


async def put_parts(
    requests: Requests, content: "Content", size_bytes: int, headers: Mapping[str, str]
) -> Sent:
    """Store ``content`` in parts.

    Raises:
        StoreFailure: as requests do; nothing is left of it.
        VigieError: STORE_CHECKSUM_MISMATCH.
        OSError: the source cannot be read.
    """
    condition = {name: headers[name] for name in headers if name == "If-None-Match"}
    told = {name: value for name, value in headers.items() if name not in condition}
    upload = await _begin(requests, content.key, told)
    try:
        parts = await _send_all(upload, content, size_bytes)
        return await upload.complete(parts, condition)
    except BaseException:
        giving_up = asyncio.create_task(upload.abort())
        with suppress(asyncio.CancelledError):
            await asyncio.shield(giving_up)
        raise


async def _begin(requests: Requests, key: str, headers: Mapping[str, str]) -> _Upload:
    bucket, name = requests.bucket.name, requests.bucket.object_name(key)
    headers = {**headers, "x-amz-checksum-algorithm": "SHA256"}

    def begin() -> str:
        answer = requests.client.post(bucket, name, None, headers, {"uploads": ""})
        return _text(answer.data, "UploadId")

    identifier = await requests.run("begin upload", lambda _: begin())
    return _Upload(requests, key, name, identifier)


async def _send_all(upload: _Upload, content: "Content", size_bytes: int) -> list[_Part]:
    """All parts, in order.

    Raises:
        VigieError: STORE_CHECKSUM_MISMATCH: together they are not what they should be.
    """
    requests = upload.requests
    part_bytes = max(requests.config.part_bytes, _rounded_up(size_bytes))
    whole, parts = hashlib.sha256(), []
    source = await requests.work(content.open)
    try:
        for number in range(1, -(-size_bytes // part_bytes) + 1):
            data, digest = await requests.work(lambda: _read(source, part_bytes, whole))
            parts.append(await upload.send(number, data, digest))
    finally:
        source.close()
    if (found := whole.hexdigest()) != content.sha256:
        raise VigieError(
            STORE_CHECKSUM_MISMATCH,
            f"{content.key}: the content has SHA-256 {found}, not {content.sha256}",
            key=content.key,
        )
    return parts


def _completion(parts: list[_Part]) -> bytes:
    root = ET.Element("CompleteMultipartUpload", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    for part in parts:
        element = ET.SubElement(root, "Part")
        ET.SubElement(element, "PartNumber").text = str(part.number)
        ET.SubElement(element, "ETag").text = f'"{part.etag}"'
        ET.SubElement(element, "ChecksumSHA256").text = base64_of(part.digest.hex())
    content: bytes = ET.tostring(root)
    return content


def _text(document: bytes, name: str) -> str:
    """The text of the first element of that name, in any namespace; "" without one."""
    for element in ET.fromstring(document).iter():  # noqa: S314 - the store's own answer
        if element.tag.rpartition("}")[2] == name:
            return element.text or ""
    return ""


class _Memory:
    """Bytes in memory as a source, without a copy of all of them."""

    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        block, self._view = self._view[:size], self._view[size:]
        return bytes(block)


def _read(source: IO[bytes], size: int, whole: "hashlib._Hash") -> tuple[bytes, bytes]:
    """The next part and its digest; it is hashed into the whole, too."""
    data = source.read(size)
    whole.update(data)
    return data, hashlib.sha256(data).digest()


def _rounded_up(size_bytes: int) -> int:
    """The shortest length of parts, in whole MiB, with which there are not too many."""
    return -(-size_bytes // (_MOST_PARTS * _MIB)) * _MIB
