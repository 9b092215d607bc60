"""Packages in the store that nobody was given and nobody will be: withdrawn or failed meanwhile.

A package is stored before it is released. Who withdraws the request in between, or a process that
dies there, leaves all the footage of the window in the store: under no hold, without an expiry,
beyond the retention of what it was made of. So the store is looked at, not a list of what should be
in it.
"""

from typing import Final

import structlog

from vigie.evidence.model import IN_PROGRESS, State
from vigie.evidence.repository import PRODUCT, EvidenceRepository
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ObjectStore
from vigie.platform.reasons import OBJECT_HELD, OBJECT_RETAINED

log = structlog.get_logger(__name__)

PACKAGE_PREFIX: Final = "evidence"
_SUFFIX: Final = ".zip"
OWED: Final = (State.READY, *IN_PROGRESS)
"""States in which a package stands in the store, or is on its way there."""
_OVER: Final = frozenset({State.REFUSED, State.CANCELLED, State.FAILED, State.EXPIRED})
"""From none of these a request ever comes to have a package."""


def request_of(key: str) -> str:
    """The request whose package stands under ``key``, if it is one at all; see `package_key`."""
    return key.removeprefix(f"{PACKAGE_PREFIX}/").removesuffix(_SUFFIX)


def package_key(request: str) -> str:
    """Where the package of a request stands in the store."""
    return f"{PACKAGE_PREFIX}/{request}{_SUFFIX}"


class Leftovers:
    """Destroys what was stored for requests that are over.

    An object of a request that nobody knows stays and is told of: after a restore of the database
    it may be the only trace of a release.
    """

    def __init__(self, repository: EvidenceRepository, store: ObjectStore) -> None:
        self._repository = repository
        self._store = store
        self._told: set[str] = set()

    async def destroy(self) -> None:
        """Look at every package in the store once.

        Raises:
            VigieError: STORE_UNAVAILABLE, DATABASE_UNAVAILABLE.
        """
        owed = {package_key(each.request) for each in await self._repository.every(OWED)}
        async for listed in self._store.list_keys(f"{PACKAGE_PREFIX}/"):
            if listed.key not in owed:
                await self._look_at(listed.key)

    async def _look_at(self, key: str) -> None:
        name = request_of(key)
        request = await self._repository.get(name)
        if request is None or key != package_key(name):
            self._tell_once(key, "evidence_package_of_no_request")
        elif request.state in _OVER:
            try:
                gone = await self._store.delete(key)
            except VigieError as error:
                if error.reason not in {OBJECT_HELD, OBJECT_RETAINED}:
                    raise
                self._tell_once(key, "evidence_leftover_kept")
                return
            if gone:
                log.info("evidence_leftover_destroyed", request=name)
                await self._repository.note(name, PRODUCT, "LEFTOVER_DESTROYED", key)

    def _tell_once(self, key: str, event: str) -> None:
        if key not in self._told:
            self._told.add(key)
            log.warning(event, key=key)
