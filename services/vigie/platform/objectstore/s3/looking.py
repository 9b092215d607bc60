"""What the store has under a key: by HEAD, or, for who may not read, by listing and tag."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vigie.platform.objectstore.port import ObjectInfo
from vigie.platform.objectstore.s3 import attributes, naming
from vigie.platform.objectstore.s3.failures import StoreFailure
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.reasons import STORE_BUCKET_MISSING

_FORBIDDEN: Final = 403


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as the store shows it.

    Attributes:
        size_bytes: of the content.
        etag: as the store gives it, without quotes.
        checksum: the store's own SHA-256 in base64; with ``-N`` behind it: of N parts; "": none.
        sha256: what its put said, "" when it did not come through the port.
        headers: of the answer to HEAD; empty for who may not read.
        info: the object, its holds left out.
    """

    size_bytes: int
    etag: str
    checksum: str
    sha256: str
    headers: Mapping[str, str]
    info: ObjectInfo


class Looker:
    """Looks at objects.

    Args:
        requests: to the store.
        write_only: the credentials may not read: ask the listing instead.
    """

    def __init__(self, requests: Requests, *, write_only: bool) -> None:
        self._requests = requests
        self._write_only = write_only
        self.installation_etag = ""

    async def see(self, key: str, version: str | None = None) -> Seen | None:
        """What stands under ``key``; ``None``: nothing, and the bucket is the right one.

        Raises:
            StoreFailure: also STORE_BUCKET_MISSING when the bucket itself is away.
        """
        seen = (
            await self._listed(key)
            if self._write_only and not key.startswith(naming.RESERVED)
            else await self._head(key, version)
        )
        if seen is None:
            await self.require()
        return seen

    async def require(self) -> None:
        """Look that the bucket is the one of this installation before believing "not there".

        A disk that is not mounted, a bucket made anew, a wrong address: everything would seem to
        be gone, and what retention wants destroyed to be destroyed.

        Raises:
            StoreFailure: STORE_BUCKET_MISSING; as requests do.
        """
        seen = await self._head(naming.INSTALLATION, None)
        if seen is None or (self.installation_etag and seen.etag != self.installation_etag):
            raise StoreFailure(
                STORE_BUCKET_MISSING,
                f"{self._requests.place} is not the bucket this installation has used: "
                f"{self._requests.bucket.object_name(naming.INSTALLATION)} is not there",
                code="NoSuchBucket",
                status=None,
                passing=False,
            )

    async def _head(self, key: str, version: str | None) -> Seen | None:
        requests, bucket = self._requests, self._requests.bucket
        name = bucket.object_name(key)

        def head() -> Any:
            return requests.client.stat_object(
                bucket.name,
                name,
                version_id=version,
                extra_headers=dict(attributes.ASK_CHECKSUM),
            )

        try:
            found = await requests.run("head", lambda _: head())
        except StoreFailure as failure:
            if failure.is_missing:
                return None
            if failure.status == _FORBIDDEN:
                await self._explain(failure)
            raise
        headers = dict(found.metadata)
        told = {name.lower(): value for name, value in headers.items()}
        info = attributes.info_of(key, headers, frozenset())
        checksum = told.get(attributes.CHECKSUM, "")
        return Seen(
            info.size_bytes, (found.etag or "").strip('"'), checksum, info.sha256, headers, info
        )

    async def _explain(self, refused: StoreFailure) -> None:
        """Find out why a HEAD was refused: its answer has no body that says it.

        Raises:
            StoreFailure: the reason, where another request tells it.
        """
        requests, bucket = self._requests, self._requests.bucket
        name = bucket.object_name(naming.INSTALLATION)

        def ask() -> None:
            response = requests.client.get(bucket.name, name, {})
            response.close()
            response.release_conn()

        try:
            await requests.run("get", lambda _: ask(), attempts=1)
        except StoreFailure as failure:
            if failure.code != refused.code and not failure.is_missing:
                raise failure from refused

    async def _listed(self, key: str) -> Seen | None:
        """Presence, length and ETag from the listing; the digest from the object's tag."""
        requests, bucket = self._requests, self._requests.bucket
        name = bucket.object_name(key)

        def listed() -> Any:
            found = requests.client.list_objects(bucket.name, name, recursive=True)
            first = next(iter(found), None)
            return first if first is not None and first.object_name == name else None

        found = await requests.run("list", lambda _: listed())
        if found is None:
            return None
        try:
            tags: Mapping[str, str] | None = await requests.run(
                "get tags", lambda _: requests.client.get_object_tags(bucket.name, name)
            )
        except StoreFailure as failure:
            if not failure.is_missing:
                raise
            return None
        sha256 = (tags or {}).get(attributes.DIGEST, "")
        info = ObjectInfo(
            key=key,
            size_bytes=int(found.size or 0),
            sha256=sha256,
            content_type=attributes.UNKNOWN_TYPE,
            metadata={},
            stored_at_us=attributes.us_of(found.last_modified),
            holds=frozenset(),
            retain_until_us=None,
            foreign=not sha256,
        )
        return Seen(info.size_bytes, (found.etag or "").strip('"'), "", sha256, {}, info)
