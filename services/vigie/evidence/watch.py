"""Lets clients follow requests: state first, a checkpoint, then every change.

A resume token is the revision clock of the process that gave it: the latest ``update_us`` told.
Following from a token sends every request that changed since, so nothing is missed; a change may
be told twice, which does no harm, as messages carry whole requests.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from vigie.evidence.model import EvidenceRequest
from vigie.evidence.repository import EvidenceRepository
from vigie.platform.errors import VigieError
from vigie.platform.reasons import RESUME_TOKEN_INVALID

PAGE = 200
MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """A request as it is now, or (``None``) the checkpoint."""

    request: EvidenceRequest | None
    resume_token: str


class RequestWatch:
    """Wakes followers when a request has changed."""

    def __init__(self, repository: EvidenceRepository) -> None:
        self._repository = repository
        self._followers: set[asyncio.Queue[str]] = set()
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever a request has changed; it must not wait."""
        self._listeners.append(listener)

    def changed(self, request: str) -> None:
        """Tell followers; to be called after the change is committed."""
        for queue in self._followers:
            # A follower that far behind reads the same requests again: whole states, no history.
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(request)
        for listener in self._listeners:
            listener()

    async def follow(self, *, only: str, resume_token: str) -> AsyncIterator[Change]:
        """Changes of all requests, or of ``only`` one.

        Raises:
            VigieError: RESUME_TOKEN_INVALID.
        """
        since_us, told = _since(resume_token), dict[str, int]()
        queue: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)
        self._followers.add(queue)  # before reading, so that no change falls in between
        try:
            latest_us = since_us
            for request in await self._present(only):
                if request.update_us >= since_us:
                    latest_us = max(latest_us, request.update_us)
                    told[request.request] = request.revision
                    yield Change(request, str(request.update_us))
            yield Change(None, str(latest_us))
            while True:
                changed = await queue.get()
                found = await self._repository.get(changed) if only in ("", changed) else None
                # A change of this process is heard of twice: at once, and from the log.
                if found is not None and told.get(changed, 0) < found.revision:
                    told[changed] = found.revision
                    latest_us = max(latest_us, found.update_us)
                    yield Change(found, str(latest_us))
        finally:
            self._followers.discard(queue)

    async def _present(self, only: str) -> list[EvidenceRequest]:
        """What there is now, oldest change first."""
        if only:
            found = await self._repository.get(only)
            return [found] if found is not None else []
        requests: list[EvidenceRequest] = []
        before = ""
        while page := await self._repository.list(before=before, limit=PAGE):
            requests += page
            before = page[-1].request
        return sorted(requests, key=lambda request: request.update_us)


def _since(resume_token: str) -> int:
    if not resume_token:
        return 0
    if not (resume_token.isascii() and resume_token.isdigit()):
        raise VigieError(RESUME_TOKEN_INVALID, "not a token of this watch", field="resume_token")
    return int(resume_token)
