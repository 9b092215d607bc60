"""Lets clients follow requests: state first, a checkpoint, then every change.

A resume token is the latest ``update_us`` told. Changes are not heard of in the order of these:
those of another process come by the log, and clocks differ. So following from a token sends every
request that changed since a while before it, and nothing is missed; a change may be told twice,
which does no harm, as messages carry whole requests.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from vigie.evidence.model import EvidenceRequest
from vigie.evidence.repository import EvidenceRepository
from vigie.platform.errors import VigieError
from vigie.platform.reasons import RESUME_TOKEN_INVALID

MOST_WAITING: Final = 1000
OVERLAP_US: Final = 15 * 60_000_000
"""How much later than others a change may be heard of: log and brokers may be away meanwhile."""


@dataclass(frozen=True, slots=True)
class Change:
    """A request as it is now, or (``None``) the checkpoint."""

    request: EvidenceRequest | None
    resume_token: str


class _Follower:
    """The names of requests that somebody who follows has still to look at."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}  # whole states are told, no history: each name once
        self._lost = False
        self._some = asyncio.Event()

    def add(self, request: str) -> None:
        """A request has changed."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost = True
            self._waiting.clear()
        self._waiting[request] = None
        self._some.set()

    async def next(self) -> str | None:
        """A request that has changed; ``None``: so many that all have to be looked at."""
        await self._some.wait()
        if self._lost:
            self._lost = False
            self._waiting.clear()
            self._some.clear()
            return None
        request = next(iter(self._waiting))
        del self._waiting[request]
        if not self._waiting:
            self._some.clear()
        return request


class RequestWatch:
    """Wakes followers when a request has changed."""

    def __init__(self, repository: EvidenceRepository) -> None:
        self._repository = repository
        self._followers: set[_Follower] = set()
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever a request has changed; it must not wait."""
        self._listeners.append(listener)

    def changed(self, request: str) -> None:
        """Tell followers; to be called after the change is committed."""
        for follower in self._followers:
            follower.add(request)
        for listener in self._listeners:
            listener()

    async def follow(self, *, only: str, resume_token: str) -> AsyncGenerator[Change, None]:
        """Changes of all requests, or of ``only`` one.

        Raises:
            VigieError: RESUME_TOKEN_INVALID.
        """
        latest_us, told = _since(resume_token), dict[str, int]()
        since_us = latest_us - OVERLAP_US
        follower = _Follower()
        self._followers.add(follower)  # before reading, so that no change falls in between
        try:
            for request in _news(await self._changed_since(only, since_us), told):
                latest_us = max(latest_us, request.update_us)
                yield Change(request, str(latest_us))
            yield Change(None, str(latest_us))
            while True:
                name = await follower.next()
                if name is None:
                    found = await self._changed_since(only, since_us)
                else:
                    one = await self._repository.get(name) if only in ("", name) else None
                    found = [] if one is None else [one]
                # A change of this process is heard of twice: at once, and from the log.
                for request in _news(found, told):
                    latest_us = max(latest_us, request.update_us)
                    yield Change(request, str(latest_us))
        finally:
            self._followers.discard(follower)

    async def _changed_since(self, only: str, since_us: int) -> list[EvidenceRequest]:
        return [each for each in await self._present(only) if each.update_us >= since_us]

    async def _present(self, only: str) -> list[EvidenceRequest]:
        """What there is now, oldest change first."""
        if only:
            found = await self._repository.get(only)
            return [found] if found is not None else []
        return sorted(await self._repository.every(), key=lambda request: request.update_us)


def _news(found: Iterable[EvidenceRequest], told: dict[str, int]) -> Iterator[EvidenceRequest]:
    """Those that were not told as they are now; they are told with that."""
    for request in found:
        if told.get(request.request, 0) < request.revision:
            told[request.request] = request.revision
            yield request


def _since(resume_token: str) -> int:
    if not resume_token:
        return 0
    if not (resume_token.isascii() and resume_token.isdigit()):
        raise VigieError(RESUME_TOKEN_INVALID, "not a token of this watch", field="resume_token")
    return int(resume_token)
