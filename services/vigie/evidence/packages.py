"""What is in the store against what was released: for the checker, changes nothing."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from vigie.evidence.leftovers import OWED, PACKAGE_PREFIX, package_key, request_of
from vigie.evidence.model import EvidenceRequest, State
from vigie.evidence.repository import EvidenceRepository
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ListedObject, ObjectInfo, ObjectStore
from vigie.platform.reasons import OBJECT_NOT_FOUND

_PASS_US: Final = 86_400_000_000
"""Within a day of the end of a request, or of its package, the worker has come by, however long it
was at a package of many cameras and hours."""
_READ_BYTES: Final = 1 << 20


class PackageFault(Enum):
    """What can be wrong with a package, and what is to be done about it."""

    GONE = (
        "a package that was released is not in the store",
        "restore the object from a copy, or have the footage requested again: it is still held",
    )
    ALTERED = (
        "a package is not the one that was released",
        "keep both digests as evidence; restore the object from a copy, or have it requested again",
    )
    OVERDUE = (
        "a package stands in the store beyond its time",
        "look at the log of evidence; if the store keeps the object, end its hold or retention",
    )
    LEFT_OVER = (
        "the package of a request that is over stands in the store",
        "look at the log of evidence; if the store keeps the object, end its hold or retention",
    )
    OF_NO_REQUEST = (
        "an object among the packages belongs to no request",
        "after a restore of the database it may be all that is left of a release: ask who has it",
    )

    @property
    def what(self) -> str:
        """One sentence."""
        return str(self.value[0])

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return str(self.value[1])


@dataclass(frozen=True, slots=True)
class FaultyPackage:
    """One package that is not as it should be.

    Attributes:
        fault: what is wrong.
        object_key: where it stands, or should stand.
        request: identifier; empty when there is none.
        detail: digests that differ; else empty.
    """

    fault: PackageFault
    object_key: str
    request: str = ""
    detail: str = ""


class PackageCheck:
    """Compares packages with requests, both ways.

    Args:
        repository: the requests.
        store: where packages are.
        bound_us: what is younger is left out, microseconds since the Unix epoch.
        deep: read and hash each package.
    """

    def __init__(
        self, repository: EvidenceRepository, store: ObjectStore, *, bound_us: int, deep: bool
    ) -> None:
        self._repository = repository
        self._store = store
        self._bound_us = bound_us
        self._deep = deep

    async def run(self) -> AsyncIterator[FaultyPackage]:
        """Everything that is wrong.

        Raises:
            VigieError: STORE_UNAVAILABLE, DATABASE_UNAVAILABLE.
        """
        # The store first: a package that is released in between is then looked at below.
        async for listed in self._store.list_keys(f"{PACKAGE_PREFIX}/"):
            found = await self._unowed(listed)
            if found is not None:
                yield found
        for request in await self._repository.every((State.READY,)):
            found = await self._released(request)
            if found is not None and await self._still_released(request.request):
                yield found

    async def _unowed(self, listed: ListedObject) -> FaultyPackage | None:
        if listed.stored_at_us > self._bound_us - _PASS_US:
            return None
        name = request_of(listed.key)
        request = await self._repository.get(name)
        if request is None or listed.key != package_key(name):
            return FaultyPackage(PackageFault.OF_NO_REQUEST, listed.key)
        if request.state in OWED or request.update_us > self._bound_us - _PASS_US:
            return None
        return FaultyPackage(PackageFault.LEFT_OVER, listed.key, name)

    async def _released(self, request: EvidenceRequest) -> FaultyPackage | None:
        package = request.package
        if package is None or package.ready_us > self._bound_us:
            return None
        key, name = package.object_key, request.request
        if package.expire_us < self._bound_us - _PASS_US:
            return FaultyPackage(PackageFault.OVERDUE, key, name)
        try:
            info = await self._store.stat(key)
            if info is None:
                return FaultyPackage(PackageFault.GONE, key, name)
            sha256 = await self._digest(info, package.sha256)
        except VigieError as error:
            if error.reason is not OBJECT_NOT_FOUND:
                raise
            return FaultyPackage(PackageFault.GONE, key, name)
        if (info.size_bytes, sha256) == (package.size_bytes, package.sha256):
            return None
        detail = f"SHA-256 {sha256 or 'unknown'}, released as {package.sha256}"
        return FaultyPackage(PackageFault.ALTERED, key, name, detail)

    async def _digest(self, info: ObjectInfo, released_as: str) -> str:
        if info.sha256 != released_as or not self._deep:
            return info.sha256
        digest = hashlib.sha256()
        async for chunk in self._store.read(info.key, chunk_size=_READ_BYTES):
            await asyncio.to_thread(digest.update, chunk)
        return digest.hexdigest()

    async def _still_released(self, name: str) -> bool:
        """It may have come to its end, and its package been destroyed, while it was looked at."""
        request = await self._repository.get(name)
        return request is not None and request.state is State.READY
