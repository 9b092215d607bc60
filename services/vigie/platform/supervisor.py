"""Background tasks that may not die unseen."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from vigie.platform.errors import VigieError


def heed_cancellation() -> None:
    """End this task if it was told to end and something it called has lost that.

    `asyncio.wait_for` of Python 3.11 does, when what it waits for fails at the same moment; a loop
    that tries again after a failure would then go on for ever. To be called before each new try.

    Raises:
        asyncio.CancelledError: it was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class TaskCrashedError(Exception):
    """A background task of a module ended by an exception; the process must stop."""

    def __init__(self, name: str, cause: BaseException) -> None:
        super().__init__(f"the background task {name!r} failed: {cause!r}")
        self.name = name
        self.__cause__ = cause


class Supervisor:
    """Starts background tasks; the first one that fails ends the process.

    A task that merely returns or is cancelled is fine.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._crashed = asyncio.Event()
        self._error: TaskCrashedError | None = None
        self._log = structlog.get_logger("vigie.supervisor")

    @property
    def error(self) -> TaskCrashedError | None:
        """The first failure, if there was one."""
        return self._error

    def spawn(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run ``work`` in the background; the caller cancels it when it stops."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def crashed(self) -> TaskCrashedError:
        """Wait until a task has failed."""
        await self._crashed.wait()
        assert self._error is not None
        return self._error

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if isinstance(error, VigieError):
            self._log.error("background_task_failed", task=task.get_name(), error=str(error))
        else:
            self._log.error("background_task_failed", task=task.get_name(), exc_info=error)
        if self._error is None:
            self._error = TaskCrashedError(task.get_name(), error)
            self._crashed.set()
