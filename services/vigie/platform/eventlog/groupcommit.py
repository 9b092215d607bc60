"""Group commit: many appends, one transaction, one fsync.

The first append starts a flusher; whatever arrives while a transaction is being made durable
gathers and shares the next one. Nobody waits for a timer: a lone append is flushed at once, and
under load a batch is as large as what came during one fsync.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from vigie.platform.errors import VigieError
from vigie.platform.eventlog.port import Event, Position
from vigie.platform.reasons import EVENT_LOG_UNAVAILABLE

Batch = Sequence[tuple[str, Sequence[Event]]]
Flush = Callable[[Batch], Awaitable[Sequence[Sequence[Position]]]]

_Waiting = tuple[str, Sequence[Event], asyncio.Future[Sequence[Position]]]

MAX_EVENTS_A_BATCH: Final = 2000


class GroupCommit:
    """Collects appends and flushes them together.

    Args:
        flush: makes a batch durable and returns the positions in the same order; raises
            VigieError when nothing (or nothing known) of it was stored.
    """

    def __init__(self, flush: Flush) -> None:
        self._flush = flush
        self._waiting: deque[tuple[str, Sequence[Event], asyncio.Future[Sequence[Position]]]] = (
            deque()
        )
        self._flusher: asyncio.Task[None] | None = None

    async def append(self, topic: str, events: Sequence[Event]) -> Sequence[Position]:
        """Return when ``events`` are durable.

        Cancelling the caller does not take events back that were handed in.
        """
        done: asyncio.Future[Sequence[Position]] = asyncio.get_running_loop().create_future()
        self._waiting.append((topic, events, done))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._run(), name="eventlog-group-commit")
        return await done

    async def close(self) -> None:
        """Return when everything handed in is durable or refused."""
        if self._flusher is not None:
            await asyncio.wait([self._flusher])

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._flush_one_batch()
        finally:
            self._flusher = None
            while self._waiting:
                _refuse(self._waiting.popleft()[2], "the process is stopping")

    async def _flush_one_batch(self) -> None:
        taken = [self._waiting.popleft()]
        size = len(taken[0][1])
        while self._waiting and size + len(self._waiting[0][1]) <= MAX_EVENTS_A_BATCH:
            taken.append(self._waiting.popleft())
            size += len(taken[-1][1])
        try:
            await self._flush_together(taken)
        except BaseException:
            for _, _, done in taken:
                _refuse(done, "the process is stopping")
            raise

    async def _flush_together(self, taken: Sequence[_Waiting]) -> None:
        try:
            positions = await self._flush([(topic, events) for topic, events, _ in taken])
        except VigieError as error:
            # Each waiter gets an exception object of its own: tracebacks grow when raised.
            for _, _, done in taken:
                _refuse(done, error.message)
        except Exception as error:  # noqa: BLE001 - handed on to whoever appended it
            # Somebody handed in what cannot be stored; the others must not suffer for it.
            if len(taken) > 1:
                for one in taken:
                    await self._flush_together([one])
            elif not taken[0][2].done():
                taken[0][2].set_exception(error)
        else:
            for (_, _, done), placed in zip(taken, positions, strict=True):
                if not done.done():
                    done.set_result(placed)


def _refuse(done: asyncio.Future[Sequence[Position]], why: str) -> None:
    if not done.done():
        done.set_exception(VigieError(EVENT_LOG_UNAVAILABLE, f"cannot append: {why}"))
