"""Holds with identifiers on a store that has one legal hold a version; retention dates.

Each hold is a small object (its marker) below ``.vigie/holds/``, written first and removed first.
The legal hold is on while any marker stands:

- place: marker; legal hold on.
- release: remove the marker; if none is left: legal hold off, then look again: whoever placed a
  hold meanwhile wrote its marker before, so it is seen now, and the legal hold goes on again.

Whatever order the steps of several take, the last step of one of them leaves the legal hold on when
a marker stands. A process killed between "off" and "look again" leaves a marker without a legal
hold for a while: deletion asks for markers first, and `Holds.reconcile` (the store's `sweep`) puts
the legal hold on again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from minio.commonconfig import GOVERNANCE
from minio.retention import Retention

from vigie.platform.clock import from_us
from vigie.platform.errors import VigieError
from vigie.platform.objectstore.s3 import attributes, naming
from vigie.platform.objectstore.s3.client import base64_of
from vigie.platform.objectstore.s3.failures import StoreFailure
from vigie.platform.objectstore.s3.looking import Looker
from vigie.platform.objectstore.s3.pages import PAGE
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.objectstore.s3.versions import Version, remove_all, versions_of
from vigie.platform.reasons import (
    OBJECT_NOT_FOUND,
    RETENTION_SHORTENED,
    STORE_UNAVAILABLE,
    STORE_UNSUITABLE,
)

log = structlog.get_logger(__name__)
_SECOND_US: Final = 1_000_000


class Holds:
    """Places, releases and tells holds; sets retention dates.

    Args:
        requests: to the store.
        looker: looks at what is there.
        reach: says that a step is about to begin, for tests.

    Attributes:
        locking: the store has Object Lock; without it the markers are all there is.
    """

    def __init__(self, requests: Requests, looker: Looker, reach: Callable[[str], None]) -> None:
        self._requests = requests
        self._looker = looker
        self._reach = reach
        self.locking = True

    async def on(self, key: str) -> frozenset[str]:
        """Identifiers of the holds on ``key``, from their markers."""
        bucket = self._requests.bucket
        folder = bucket.object_name(naming.holds_folder(key))

        def listed() -> list[str]:
            found = self._requests.client.list_objects(bucket.name, folder, recursive=True)
            return [one.object_name or "" for one in found]

        names = await self._requests.run("list holds", lambda _: listed())
        return frozenset(h for name in names if (h := naming.hold_of_marker(name)) is not None)

    async def place(self, key: str, hold_id: str) -> None:
        """See the port."""
        held = await self._content_versions(key)
        if not held:
            await self._looker.require()
            raise _not_found(key)
        await self._mark(key, hold_id)
        self._reach("s3.hold.marked")
        if not await self._lock(held):
            # Deleted between our look and our lock: nothing is left to hold.
            await remove_all(self._requests, naming.hold_marker(key, hold_id))
            raise _not_found(key)
        self._reach("s3.hold.placed")
        await self._confirm(key, hold_id, held)

    async def release(self, key: str, hold_id: str) -> None:
        """See the port."""
        await remove_all(self._requests, naming.hold_marker(key, hold_id))
        self._reach("s3.release.unmarked")
        left = await self.on(key)
        if hold_id in left:
            raise _unkept(key, f"the store said that hold {hold_id} is off, and it is on")
        if not self.locking or left:
            return
        versions = await self._content_versions(key)
        for version in versions:
            await self._set_legal_hold(version, on=False)
        self._reach("s3.release.off")
        if await self.on(key):
            await self._lock(versions)

    async def retain(self, key: str, retain_until_us: int) -> None:
        """See the port; the date is rounded up to whole seconds, which every store keeps."""
        if not self.locking:
            raise VigieError(STORE_UNSUITABLE, "without Object Lock there are no retention dates")
        seconds = -(-retain_until_us // _SECOND_US)
        seen = await self._looker.see(key)
        if seen is None:
            raise _not_found(key)
        known_us = seen.info.retain_until_us
        if known_us is not None and seconds * _SECOND_US < known_us:
            raise VigieError(RETENTION_SHORTENED, f"{key} is retained until {known_us}", key=key)
        bucket, name = self._requests.bucket.name, self._requests.bucket.object_name(key)
        retention = Retention(GOVERNANCE, from_us(seconds * _SECOND_US))
        try:
            await self._requests.run(
                "set retention",
                lambda _: self._requests.client.set_object_retention(bucket, name, retention),
            )
        except StoreFailure as failure:
            if failure.is_missing:
                raise _not_found(key) from failure
            raise

    async def reconcile(self) -> int:
        """Put the legal hold on wherever a marker stands; drop markers without an object.

        Returns:
            How many legal holds were missing.
        """
        mended = 0
        for name in await self._markers():
            key = await self._key_of(name)
            if key is None:
                continue
            versions = await self._content_versions(key)
            if not versions:
                await self._looker.require()
                await remove_all(self._requests, self._requests.bucket.key(name))
                continue
            if not self.locking:
                continue
            seen = await self._looker.see(key, versions[0].version)
            if seen is not None and not attributes.is_held(seen.headers):
                log.warning("legal_hold_was_missing", object_key=key)
                await self._lock(versions)
                mended += 1
        return mended

    async def _markers(self) -> list[str]:
        bucket = self._requests.bucket
        folder = bucket.object_name(naming.HOLDS)

        def listed() -> list[str]:
            found = self._requests.client.list_objects(bucket.name, folder, recursive=True)
            return [one.object_name or "" for one in found]

        return await self._requests.run("list holds", lambda _: listed(), size_bytes=PAGE << 14)

    async def _key_of(self, marker: str) -> str | None:
        bucket = self._requests.bucket.name

        def read() -> bytes:
            response = self._requests.client.get(bucket, marker, {})
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

        try:
            told = json.loads(await self._requests.run("get", lambda _: read()))
            return str(told["key"])
        except StoreFailure as failure:
            if failure.is_missing:
                return None
            raise
        except (ValueError, KeyError, TypeError):
            log.warning("hold_marker_unreadable", marker=marker)
            return None

    async def _confirm(self, key: str, hold_id: str, held: list[Version]) -> None:
        """Look at the hold that was just placed: a store that said yes is not believed."""
        if hold_id not in await self.on(key):
            raise _unkept(key, f"the store said that it has the marker of {hold_id}, and does not")
        for version in held if self.locking else ():
            seen = await self._looker.see(key, version.version)
            if seen is not None and not attributes.is_held(seen.headers):
                raise _unkept(key, "the store said that the legal hold is on, and it is not")

    async def _mark(self, key: str, hold_id: str) -> None:
        """Write the marker; it may stand already."""
        content = json.dumps({"version": 1, "key": key, "hold": hold_id}).encode()
        await put_small(self._requests, naming.hold_marker(key, hold_id), content)

    async def _content_versions(self, key: str) -> list[Version]:
        return [one for one in await versions_of(self._requests, key) if not one.is_marker]

    async def _lock(self, versions: list[Version]) -> bool:
        """Legal hold on; whether anything was there to hold."""
        if not self.locking:
            return True
        locked = [await self._set_legal_hold(version, on=True) for version in versions]
        return any(locked)

    async def _set_legal_hold(self, version: Version, *, on: bool) -> bool:
        """Whether the version is there."""
        client, bucket = self._requests.client, self._requests.bucket.name
        work = client.enable_object_legal_hold if on else client.disable_object_legal_hold
        try:
            await self._requests.run(
                "set hold", lambda _: work(bucket, version.name, version.version)
            )
        except StoreFailure as failure:
            # A store may answer with a failure of its own instead of "no such version".
            if (
                failure.is_missing
                or await self._looker.see(self._requests.bucket.key(version.name), version.version)
                is None
            ):
                return False
            raise
        return True


async def put_small(requests: Requests, key: str, content: bytes) -> bool:
    """Write an object of the store's own unless it is there; whether it was not.

    Raises:
        StoreFailure: as requests do.
    """
    bucket, name = requests.bucket.name, requests.bucket.object_name(key)
    sha256 = hashlib.sha256(content).hexdigest()
    headers = attributes.to_headers(sha256, "application/json", {})
    headers[attributes.CHECKSUM] = base64_of(sha256)

    async def put(condition: Mapping[str, str]) -> None:
        told = {**headers, **condition}
        await requests.run("put", lambda _: requests.client.put(bucket, name, content, told))

    try:
        await put({"If-None-Match": "*"})
    except StoreFailure as failure:
        if failure.exists:
            return False
        if failure.code != "NotImplemented":
            raise
        await put({})
    return True


def _not_found(key: str) -> VigieError:
    return VigieError(OBJECT_NOT_FOUND, f"no object {key}", key=key)


def _unkept(key: str, what: str) -> VigieError:
    return VigieError(STORE_UNAVAILABLE, f"{key}: {what}", key=key)
