"""Work that is done now and then, as a module with a life of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from vigie.platform.clock import MonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.module import ServiceBinding

log = structlog.get_logger(__name__)


class Periodic:
    """Awaits ``work`` every so often (a `vigie.platform.module.Module`).

    The interval is counted from the end of one piece of work to the beginning of the next, so
    that slow work never overlaps itself. Work that fails is logged, said by `not_ready`, and
    tried again at the next turn.

    Args:
        name: unique in the target, e.g. ``eventlog-maintenance``.
        work: what to do; must be safe to cancel.
        clock: measures the interval.
        interval_seconds: pause between two turns.
        at_start: do it once before `start` returns.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[object]],
        clock: MonotonicClock,
        *,
        interval_seconds: float,
        at_start: bool = False,
    ) -> None:
        self._name = name
        self._work = work
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._at_start = at_start
        self._task: asyncio.Task[None] | None = None
        self._trouble: str | None = None

    @property
    def name(self) -> str:
        """See `Module.name`."""
        return self._name

    def services(self) -> Sequence[ServiceBinding]:
        """See `Module.services`: none."""
        return ()

    async def start(self) -> None:
        """See `Module.start`."""
        if self._at_start:
            await self._once()
        self._task = asyncio.create_task(self._run(), name=self._name)

    def not_ready(self) -> str | None:
        """See `Module.not_ready`: what the last turn failed with."""
        return self._trouble

    async def stop(self, *, timeout_seconds: float) -> None:
        """See `Module.stop`: the work is cancelled; ``timeout_seconds`` is not needed."""
        del timeout_seconds
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._interval_seconds)
            await self._once()

    async def _once(self) -> None:
        try:
            await self._work()
        except VigieError as error:
            # What is away now: said in one line, and by `not_ready`.
            self._trouble = f"{self._name}: {error}"
            log.warning("periodic_work_failed", name=self._name, error=str(error))
        except Exception as error:
            self._trouble = f"{self._name}: {error}"
            log.exception("periodic_work_failed", name=self._name)
        else:
            self._trouble = None
