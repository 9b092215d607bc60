"""Listing keys in byte order, also where the store lists in another one.

S3 promises the byte order of keys, and to begin behind a given one. Neither can be relied upon:

- A store that keeps its names in a tree of folders gives the contents of ``a/`` before ``a-b``
  (SeaweedFS; the order within one page is right and hides it).
- MinIO, asked to begin behind a key in ``a-b/``, leaves out others, and says that there are no
  more. Followed from the begin by its own tokens, it leaves out nothing.

So no store is asked to begin anywhere but at a prefix. Where a listing begins behind a key, the
folders on the way to that key are listed one by one, and what lies behind it is listed whole.
Where the order is another one, all folders are walked: what fits into one page is sorted here; of
what does not, sub-folders are listed, sorted by their names *with* the slash, and walked in turn.
Memory is bounded by the folders on one path.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from vigie.platform.objectstore.s3 import naming
from vigie.platform.objectstore.s3.pages import Entry, Page, fetch_page
from vigie.platform.objectstore.s3.requests import Requests


@dataclass(frozen=True, slots=True)
class Listed:
    """What a listing shows of a key.

    Attributes:
        key: without the prefix of the installation; that of a folder ends in a slash.
        entry: what is known of it.
    """

    key: str
    entry: Entry


Keys = list[Listed]


class Lister:
    """Lists keys.

    Args:
        requests: to the store.
        in_order: the store lists in byte order.
        attributes: ask for attributes (an extension of MinIO).
    """

    def __init__(self, requests: Requests, *, in_order: bool, attributes: bool = False) -> None:
        self._requests = requests
        self._in_order = in_order
        self._attributes = attributes

    async def pages(self, prefix: str, start_after: str = "") -> AsyncIterator[Keys]:
        """Everything below ``prefix`` and behind ``start_after``, some at a time.

        What the store keeps for itself is left out.
        """
        if not _may_begin_a_key(prefix):
            return
        found = self._behind(prefix, start_after) if start_after else self._below(prefix)
        async for some in found:
            yield [one for one in some if not one.key.startswith(naming.RESERVED)]

    async def folder(self, prefix: str) -> Keys:
        """Objects and sub-folders (with their slash) one level below, in byte order."""
        if not _may_begin_a_key(prefix):
            return []
        return [one for one in await self._folder(prefix) if one.key != naming.RESERVED]

    def _below(self, prefix: str) -> AsyncIterator[Keys]:
        return self._flat(prefix) if self._in_order else self._walk(prefix)

    async def _behind(self, prefix: str, start_after: str) -> AsyncIterator[Keys]:
        for one in await self._folder(prefix):
            if not one.key.endswith("/"):
                if one.key > start_after:
                    yield [one]
            elif start_after.startswith(one.key):
                async for some in self._behind(one.key, start_after):
                    yield some
            elif one.key > start_after and one.key != naming.RESERVED:
                async for some in self._below(one.key):
                    yield some

    async def _flat(self, prefix: str) -> AsyncIterator[Keys]:
        continuation = ""
        while True:
            page = await self._page(prefix, continuation)
            yield self._listed(page)
            if page.is_last:
                return
            continuation = page.continuation

    async def _walk(self, prefix: str) -> AsyncIterator[Keys]:
        page = await self._page(prefix, "")
        if page.is_last:
            yield sorted(self._listed(page), key=_place)
            return
        for one in await self._folder(prefix):
            if not one.key.endswith("/"):
                yield [one]
            elif one.key != naming.RESERVED:
                async for some in self._walk(one.key):
                    yield some

    async def _folder(self, prefix: str) -> Keys:
        """Objects and sub-folders (with their slash) one level below, in byte order."""
        found: Keys = []
        continuation = ""
        while True:
            page = await self._page(prefix, continuation, folders=True)
            found += self._listed(page)
            if page.is_last:
                return sorted(found, key=_place)
            continuation = page.continuation

    async def _page(self, prefix: str, continuation: str, *, folders: bool = False) -> Page:
        bucket, client = self._requests.bucket, self._requests.client
        return await self._requests.run(
            "list",
            lambda _: fetch_page(
                client,
                bucket.name,
                bucket.object_name(prefix),
                continuation=continuation,
                folders=folders,
                attributes=self._attributes,
            ),
        )

    def _listed(self, page: Page) -> Keys:
        bucket = self._requests.bucket
        return [Listed(bucket.key(one.name), one) for one in page.entries]


def _place(one: Listed) -> bytes:
    return one.key.encode()


def _may_begin_a_key(prefix: str) -> bool:
    """Some stores refuse what cannot begin a key; nothing lies there."""
    *folders, _ = prefix.split("/")
    return all(part not in {"", ".", ".."} for part in folders)
