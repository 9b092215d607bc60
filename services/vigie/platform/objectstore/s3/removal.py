"""Removing an object for good: every version and every delete marker of its name."""

from collections.abc import Callable

from vigie.platform.clock import WallClock
from vigie.platform.errors import VigieError
from vigie.platform.objectstore.s3 import attributes
from vigie.platform.objectstore.s3.failures import LOCKED, StoreFailure
from vigie.platform.objectstore.s3.holds import Holds
from vigie.platform.objectstore.s3.looking import Looker
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.objectstore.s3.versions import Version, remove_all, versions_of
from vigie.platform.reasons import OBJECT_HELD, OBJECT_RETAINED


class Remover:
    """Deletes objects. The right to bypass governance is never used, whoever has it.

    Args:
        requests: to the store.
        looker: looks at what is there.
        holds: markers are asked for first: they count even where the store has no lock.
        wall_clock: tells whether a retention date is past, before the store is asked.
        reach: says that a step is about to begin, for tests.
    """

    def __init__(
        self,
        requests: Requests,
        looker: Looker,
        holds: Holds,
        wall_clock: WallClock,
        reach: Callable[[str], None],
    ) -> None:
        self._requests = requests
        self._looker = looker
        self._holds = holds
        self._wall_clock = wall_clock
        self._reach = reach

    async def delete(self, key: str) -> bool:
        """See `ObjectStore.delete`; nothing is left, also not hidden, when it returns."""
        if holds := await self._holds.on(key):
            names = ", ".join(sorted(holds))
            raise VigieError(OBJECT_HELD, f"{key} is held by {names}", key=key)
        versions = await versions_of(self._requests, key)
        if not versions:
            await self._looker.require()
            return False
        content = [one for one in versions if not one.is_marker]
        if len(content) > 1:
            # All or nothing: the first version must not go before the second one is refused.
            for version in content:
                await self._refuse_kept(key, version)
        self._reach("s3.delete.begun")
        try:
            removed = await remove_all(self._requests, key)
        except StoreFailure as failure:
            if failure.code in LOCKED:
                for version in content:
                    await self._refuse_kept(key, version, refused=True)
            raise
        self._reach("s3.delete.removed")
        return removed

    async def refuse_kept(self, key: str) -> None:
        """Say why an object may not go, if it may not.

        Raises:
            VigieError: OBJECT_HELD, OBJECT_RETAINED.
        """
        if holds := await self._holds.on(key):
            names = ", ".join(sorted(holds))
            raise VigieError(OBJECT_HELD, f"{key} is held by {names}", key=key)
        for version in await versions_of(self._requests, key):
            if not version.is_marker:
                await self._refuse_kept(key, version)

    async def _refuse_kept(self, key: str, version: Version, *, refused: bool = False) -> None:
        """Say why a version may not go, if it may not; ``refused``: the store has said no.

        Raises:
            VigieError: OBJECT_HELD, OBJECT_RETAINED.
        """
        seen = await self._looker.see(key, version.version)
        if seen is None:
            return
        if attributes.is_held(seen.headers):
            holds = await self._holds.on(key) or {"the store's legal hold, without an identifier"}
            names = ", ".join(sorted(holds))
            raise VigieError(OBJECT_HELD, f"{key} is held by {names}", key=key)
        until_us = seen.info.retain_until_us
        # Once the store has refused, it is its clock that counts.
        if until_us is not None and (refused or self._wall_clock.now_us() < until_us):
            raise VigieError(OBJECT_RETAINED, f"{key} is retained until {until_us}", key=key)
