"""Mending on S3: attributes written anew, foreign objects set aside, leftovers removed."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from minio.commonconfig import REPLACE, CopySource

from vigie.platform.clock import to_us
from vigie.platform.errors import VigieError
from vigie.platform.objectstore.mending import QUARANTINE_US
from vigie.platform.objectstore.s3 import attributes, naming
from vigie.platform.objectstore.s3.failures import StoreFailure
from vigie.platform.objectstore.s3.holds import Holds
from vigie.platform.objectstore.s3.looking import Looker
from vigie.platform.objectstore.s3.reading import read_range
from vigie.platform.objectstore.s3.removal import Remover
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.objectstore.s3.versions import (
    NO_VERSION,
    Version,
    remove_all,
    remove_version,
    versions_of,
)
from vigie.platform.reasons import OBJECT_NOT_FOUND, STORE_CHECKSUM_MISMATCH

_READ_BYTES: Final = 1 << 20
_COPY_LIMIT_BYTES: Final = 5 << 30
_UNFINISHED_US: Final = 7 * 86_400_000_000
_ASIDE_NAME: Final = 400


class Mender:
    """Mends objects.

    Args:
        requests: to the store.
        looker: looks at what is there.
        holds: what is held stays held.
        remover: removes for good, and refuses what is held or retained.
    """

    def __init__(self, requests: Requests, looker: Looker, holds: Holds, remover: Remover) -> None:
        self._requests = requests
        self._looker = looker
        self._holds = holds
        self._remover = remover

    async def redescribe(
        self, key: str, sha256: str, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Give an object new attributes: it becomes a new version, and the old one goes.

        Where the bucket keeps no versions the copy has taken the place of what was there.

        Holds stay: their markers belong to the key, and the new version is locked before the old
        one is released.

        Raises:
            VigieError: OBJECT_NOT_FOUND; STORE_CHECKSUM_MISMATCH: the content is another.
        """
        seen = await self._looker.see(key)
        if seen is None:
            raise VigieError(OBJECT_NOT_FOUND, f"no object {key}", key=key)
        digest = hashlib.sha256()
        async for chunk in read_range(self._requests, key, 0, seen.size_bytes, _READ_BYTES):
            await asyncio.to_thread(digest.update, chunk)
        if digest.hexdigest() != sha256:
            raise VigieError(
                STORE_CHECKSUM_MISMATCH,
                f"{key}: the content has SHA-256 {digest.hexdigest()}, not {sha256}",
                key=key,
            )
        before = await versions_of(self._requests, key)
        told = attributes.to_headers_of_copy(sha256, content_type, metadata)
        version = await self._copy(key, key, told, seen.size_bytes)
        holds = await self._holds.on(key)
        for hold in holds:
            await self._holds.place(key, hold)
        if not holds and seen.info.retain_until_us is None:
            await self._remove_replaced(key, before, version)

    async def _remove_replaced(self, key: str, before: list[Version], version: str | None) -> None:
        """Remove what a copy has replaced, once that is there as the version that readers see.

        Without versions (or while they are suspended) all that is written has the name "null":
        removing that would remove the copy, which is all there is.
        """
        if version is None or version == NO_VERSION:
            return
        now = await versions_of(self._requests, key)
        if not any(one.version == version and one.is_latest for one in now):
            return
        for old in before:
            if old.version != version:
                await remove_version(self._requests, old)

    async def set_aside(self, key: str) -> None:
        """Move an object below ``.vigie/quarantine/``.

        Raises:
            VigieError: OBJECT_NOT_FOUND, OBJECT_HELD, OBJECT_RETAINED.
        """
        seen = await self._looker.see(key)
        if seen is None:
            raise VigieError(OBJECT_NOT_FOUND, f"no object {key}", key=key)
        await self._remover.refuse_kept(key)
        name = quote(key, safe="").replace("%", "=")[-_ASIDE_NAME:]
        aside = f"{naming.QUARANTINE}{name}.{seen.etag[:32]}"
        told = {name: value for name, value in seen.headers.items() if _is_told(name)}
        await self._copy(key, aside, told, seen.size_bytes)
        await self._remover.delete(key)

    async def remove_set_aside(self, now_us: int) -> int:
        """Remove from the quarantine what was set aside four weeks ago; says how many."""
        bucket = self._requests.bucket
        folder = bucket.object_name(naming.QUARANTINE)

        def listed() -> list[Any]:
            return list(self._requests.client.list_objects(bucket.name, folder, recursive=True))

        removed = 0
        for one in await self._requests.run("list", lambda _: listed()):
            if attributes.us_of(one.last_modified) < now_us - QUARANTINE_US:
                removed += await remove_all(self._requests, bucket.key(one.object_name or ""))
        return removed

    async def abort_unfinished(self, now_us: int) -> int:
        """Give up uploads in parts that were begun a week ago and never finished; says how many.

        The bucket's lifecycle rule does it where the store has one and carries it out.
        """
        bucket, client = self._requests.bucket, self._requests.client

        def listed() -> list[Any]:
            # MinIO finds them by an exact name or without any prefix, and by nothing in between.
            found = client.unfinished_uploads(bucket.name)
            return [one for one in found if one.object_name.startswith(bucket.prefix)]

        aborted = 0
        for one in await self._requests.run("list uploads", lambda _: listed()):
            begun = one.initiated_time
            if begun is not None and to_us(begun) < now_us - _UNFINISHED_US:
                await self._abort(one.object_name, one.upload_id)
                aborted += 1
        return aborted

    async def _abort(self, name: str, upload: str) -> None:
        try:
            await self._requests.run(
                "abort upload",
                lambda _: self._requests.client.abort_upload(
                    self._requests.bucket.name, name, upload
                ),
            )
        except StoreFailure as failure:
            if not failure.is_missing:
                raise

    async def _copy(
        self, source: str, target: str, told: Mapping[str, str], size_bytes: int
    ) -> str | None:
        """Copy inside the store; the version that came of it."""
        bucket, client = self._requests.bucket, self._requests.client
        name = bucket.object_name(target)
        origin = CopySource(bucket.name, bucket.object_name(source))

        def copy() -> str | None:
            made = client.copy_object(
                bucket.name, name, origin, metadata=dict(told), metadata_directive=REPLACE
            )
            return made.version_id

        return await self._requests.run(
            "copy", lambda _: copy(), size_bytes=min(size_bytes, _COPY_LIMIT_BYTES), attempts=1
        )


def _is_told(name: str) -> bool:
    lower = name.lower()
    return lower.startswith("x-amz-meta-") or lower == "content-type"
