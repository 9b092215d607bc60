"""Listing keys in byte order, also where the store lists in another one.

S3 promises the byte order of keys. A store that keeps its names in a tree of folders may give the
contents of ``a/`` before ``a-b``, and may leave keys out when it is asked to begin after one. There
the folders are walked: a page that holds everything below a prefix is sorted here; where there is
more, its sub-folders are listed, sorted by their names *with* the slash, and walked in turn. Memory
is bounded by the folders on one path.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from vigie.platform.objectstore.s3 import naming
from vigie.platform.objectstore.s3.requests import Requests

PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Listed:
    """What a listing shows.

    Attributes:
        key: without the prefix of the installation.
        entry: the library's object: size, time, perhaps attributes.
    """

    key: str
    entry: Any


Page = list[Listed]


async def list_objects(
    requests: Requests, prefix: str, start_after: str, *, in_order: bool, attributes: bool = False
) -> AsyncIterator[Page]:
    """Everything below ``prefix``, a page at a time; what the store keeps for itself left out.

    Args:
        requests: to the store.
        prefix: of the keys.
        start_after: only keys behind this one.
        in_order: the store lists in byte order and begins where it is told to.
        attributes: ask for attributes (an extension of MinIO).
    """
    if not _may_begin_a_key(prefix):
        return
    pages = (
        _flat(requests, prefix, start_after, attributes=attributes)
        if in_order
        else _walk(requests, prefix, start_after)
    )
    async for page in pages:
        yield [one for one in page if not one.key.startswith(naming.RESERVED)]


async def _flat(
    requests: Requests, prefix: str, start_after: str, *, attributes: bool
) -> AsyncIterator[Page]:
    after = start_after
    while True:
        page = await _page(requests, prefix, after, attributes=attributes)
        yield page
        if len(page) < PAGE:
            return
        after = page[-1].key
        if after.startswith(naming.RESERVED) and not prefix.startswith(naming.RESERVED):
            after = naming.RESERVED + "\U0010ffff"  # behind everything that is left out anyway


async def _walk(requests: Requests, prefix: str, start_after: str) -> AsyncIterator[Page]:
    page = await _page(requests, prefix, "")
    if len(page) < PAGE:
        yield _in_order(page, start_after)
        return
    folder = await _folder(requests, prefix)
    direct: Page = []
    for one in folder:
        if not one.key.endswith("/"):
            direct.append(one)
            continue
        if direct:
            yield _in_order(direct, start_after)
            direct = []
        all_before = one.key <= start_after and not start_after.startswith(one.key)
        if not all_before and one.key != naming.RESERVED:
            async for below in _walk(requests, one.key, start_after):
                yield below
    yield _in_order(direct, start_after)


async def _folder(requests: Requests, prefix: str) -> Page:
    """Objects and sub-folders (with their slash) one level below, in byte order."""
    bucket = requests.bucket
    name = bucket.object_name(prefix)

    def listed() -> Page:
        found = requests.client.list_objects(bucket.name, name, recursive=False)
        return [Listed(bucket.key(one.object_name or ""), one) for one in found]

    found = await requests.run("list", lambda _: listed(), size_bytes=1 << 24)
    return sorted(found, key=lambda one: one.key.encode())


async def _page(
    requests: Requests, prefix: str, start_after: str, *, attributes: bool = False
) -> Page:
    """One page of everything below, as the store gives it."""
    bucket = requests.bucket
    name = bucket.object_name(prefix)
    after = bucket.object_name(start_after) if start_after else None

    def listed() -> Page:
        found = requests.client.list_objects(
            bucket.name, name, recursive=True, start_after=after, include_user_meta=attributes
        )
        return [Listed(bucket.key(one.object_name or ""), one) for one in islice(found, PAGE)]

    return await requests.run("list", lambda _: listed())


def _in_order(page: Page, start_after: str) -> Page:
    after = start_after.encode()
    kept = [one for one in page if one.key.encode() > after]
    return sorted(kept, key=lambda one: one.key.encode())


def _may_begin_a_key(prefix: str) -> bool:
    """Some stores refuse what cannot begin a key; nothing lies there."""
    *folders, _ = prefix.split("/")
    return all(part not in {"", ".", ".."} for part in folders)
