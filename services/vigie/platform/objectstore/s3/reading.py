"""Reading ranges: each request takes one stretch into memory and is over.

A connection that stayed open as long as a slow viewer reads would be one of a bounded number, and
the store would cut it some time. So a read is a sequence of short requests of growing length; each
can be tried again alone, and none gives bytes of another object than the one before (If-Match).
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from vigie.platform.errors import VigieError
from vigie.platform.objectstore.s3.client import Deadline
from vigie.platform.objectstore.s3.failures import NO_ANSWER, StoreFailure
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.reasons import RANGE_INVALID, STORE_UNAVAILABLE

_FIRST_BYTES: Final = 1 << 19
_LONGEST_BYTES: Final = 1 << 22
_BLOCK_BYTES: Final = 1 << 18
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of an object.

    Attributes:
        data: the bytes.
        total_bytes: length of the whole object.
        etag: of the object.
    """

    data: bytes
    total_bytes: int
    etag: str


async def read_stretch(
    requests: Requests, key: str, offset: int, length: int, *, etag: str = ""
) -> Stretch:
    """At most ``length`` bytes (at least one) from ``offset`` on; fewer only at the end.

    Raises:
        StoreFailure: ``InvalidRange`` when nothing lies there (an empty object, too).
    """
    bucket, name = requests.bucket.name, requests.bucket.object_name(key)
    headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
    if etag:
        headers["If-Match"] = etag

    def fetched(deadline: Deadline) -> Stretch:
        response = requests.client.get(bucket, name, headers)
        try:
            parts: list[bytes] = []
            while block := response.read(_BLOCK_BYTES):
                deadline.check()
                parts.append(block)
            told = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            total = int(told[3]) if told else len(data)
            if len(data) != min(length, total - offset):
                raise _short(key, len(data), offset)
            return Stretch(data, total, response.headers.get("etag", ""))
        finally:
            response.close()
            response.release_conn()

    return await requests.run("get", fetched, size_bytes=length)


async def read_range(
    requests: Requests,
    key: str,
    offset: int,
    length: int | None,
    chunk: int,
) -> AsyncIterator[bytes]:
    """The bytes of a range, in chunks of at most ``chunk`` bytes.

    Args:
        requests: to the store.
        key: of an object.
        offset: where the range begins.
        length: how long it is; ``None``: to the end of the object.
        chunk: length of the pieces.

    Raises:
        VigieError: RANGE_INVALID; what `read_stretch` raises.
    """
    end = None if length is None else offset + length
    window, etag = max(chunk, _FIRST_BYTES), ""
    while end is None or offset < end:
        wanted = window if end is None else min(window, end - offset)
        try:
            stretch = await read_stretch(requests, key, offset, wanted, etag=etag)
        except StoreFailure as failure:
            if failure.exists:
                raise VigieError(
                    STORE_UNAVAILABLE, f"{key} became another object while it was read", key=key
                ) from failure
            raise
        if end is None:
            end = stretch.total_bytes
        if end > stretch.total_bytes:
            raise range_invalid(key, stretch.total_bytes, offset, end - offset)
        etag = stretch.etag
        view = memoryview(stretch.data)
        for at in range(0, len(view), chunk):
            yield bytes(view[at : at + chunk])
        offset += len(stretch.data)
        window = min(2 * window, max(chunk, _LONGEST_BYTES))


def range_invalid(key: str, size_bytes: int, offset: int, length: int) -> VigieError:
    """RANGE_INVALID, saying what was asked for."""
    return VigieError(
        RANGE_INVALID,
        f"{key} has {size_bytes} bytes; asked for {length} from {offset}",
        field="offset",
        key=key,
    )


def _short(key: str, given: int, offset: int) -> StoreFailure:
    what = f"{key}: the store gave {given} bytes from {offset}, fewer than there are"
    return StoreFailure(STORE_UNAVAILABLE, what, code=NO_ANSWER, status=None, passing=True)
