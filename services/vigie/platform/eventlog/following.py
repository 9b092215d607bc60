"""Waiting for the next event of a log that is followed, for a time, without losing it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

from vigie.platform.eventlog.port import StoredEvent


class Follower:
    """The events of a read that follows, one after the other; for ``async with``.

    Leaving ends the read at once and releases what it holds, not when the collector finds it.

    Args:
        events: what `EventLog.read` returned; it does not end by itself.
    """

    def __init__(self, events: AsyncIterator[StoredEvent]) -> None:
        self._events = events
        self._coming: asyncio.Task[StoredEvent] | None = None

    async def next(self, timeout_seconds: float | None) -> StoredEvent | None:
        """The next event; ``None``: it has not come in time, and is still awaited.

        To cancel the read with the wait would lose an event that comes between two waits.

        Raises:
            VigieError: as the read says.
        """
        if self._coming is None:
            self._coming = asyncio.ensure_future(anext(self._events))
        done, _ = await asyncio.wait({self._coming}, timeout=timeout_seconds)
        if not done:
            return None
        coming, self._coming = self._coming, None
        return coming.result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
        await self._events.aclose()  # type: ignore[attr-defined]  # `read` is a generator
