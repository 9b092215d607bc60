"""Connections of the embedded database as contexts see them, and how threads are visited.

SQLite is a library that blocks, so it is called in worker threads. What costs is not the
statement (tens of microseconds) but every way to a thread and back; there are two kinds here:

- `VisitingConnection`: every statement is one visit. For work that also waits for other things.
- `DirectConnection`: the whole work is one visit. The work is a coroutine that awaits nothing but
  its connection; each of these awaits is answered at once, so the coroutine runs to its end in
  the worker thread (`run_to_end`) and never sees an event loop.

Both are `AsyncConnection` to their users, so that rules are written once.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy.engine import Connection, CursorResult, Dialect
from sqlalchemy.engine.result import ScalarResult
from sqlalchemy.sql import Executable

from vigie.platform.database.connection import Parameters

T = TypeVar("T")
P = ParamSpec("P")


class Visit(Protocol):
    """Runs a function in the connection's thread."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """The result of ``work``."""
        ...


class WholeCursor(sqlite3.Cursor):
    """A cursor that has fetched everything when it returns.

    SQLite computes rows as they are asked for: without this, reading a result in the event loop
    would read the disk there.
    """

    _rows: Sequence[Any] = ()
    _next = 0

    def execute(self, *arguments: Any) -> "WholeCursor":
        """See `sqlite3.Cursor.execute`."""
        super().execute(*arguments)
        self._rows = super().fetchall() if self.description else []
        self._next = 0
        return self

    def fetchone(self) -> Any:
        """See `sqlite3.Cursor.fetchone`."""
        if self._next >= len(self._rows):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def fetchmany(self, size: int | None = 1) -> Any:
        """See `sqlite3.Cursor.fetchmany`."""
        rows = self._rows[self._next : self._next + (size or 1)]
        self._next += len(rows)
        return rows

    def fetchall(self) -> Any:
        """See `sqlite3.Cursor.fetchall`."""
        rows = self._rows[self._next :] if self._next else self._rows
        self._rows, self._next = [], 0
        return rows


class WholeConnection(sqlite3.Connection):
    """A connection with cursors of that kind."""

    def cursor(self, factory: Any = WholeCursor) -> Any:
        """See `sqlite3.Connection.cursor`."""
        return super().cursor(factory)


class _Wrapped:
    """See `vigie.platform.database.connection.AsyncConnection`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def _do(self, work: Callable[[], T]) -> T:
        raise NotImplementedError

    @property
    def dialect(self) -> Dialect:
        """See `AsyncConnection.dialect`."""
        return self._connection.dialect

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """See `AsyncConnection.execute`."""
        return await self._do(lambda: self._connection.execute(statement, parameters))

    async def exec_driver_sql(self, statement: str) -> CursorResult[Any]:
        """See `AsyncConnection.exec_driver_sql`."""
        return await self._do(lambda: self._connection.exec_driver_sql(statement))

    async def scalar(self, statement: Executable, parameters: Parameters | None = None) -> Any:
        """See `AsyncConnection.scalar`."""
        return (await self.execute(statement, parameters)).scalar()

    async def scalars(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> ScalarResult[Any]:
        """See `AsyncConnection.scalars`."""
        return (await self.execute(statement, parameters)).scalars()

    async def run_sync(
        self, fn: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """See `AsyncConnection.run_sync`."""
        return await self._do(lambda: fn(self._connection, *arguments, **named))


class VisitingConnection(_Wrapped):
    """Every statement is one visit to the thread.

    Args:
        connection: used by one task at a time.
        visit: runs a function in its thread.
    """

    def __init__(self, connection: Connection, visit: Visit) -> None:
        super().__init__(connection)
        self._visit = visit

    async def _do(self, work: Callable[[], T]) -> T:
        return await self._visit(work)


class DirectConnection(_Wrapped):
    """For work that is in the thread already: nothing it awaits ever waits."""

    async def _do(self, work: Callable[[], T]) -> T:
        return work()


def run_to_end(work: Awaitable[T]) -> T:
    """Run a coroutine that awaits nothing but a `DirectConnection`.

    It may let others run (``asyncio.sleep(0)``): in a thread of its own they run anyway.

    Raises:
        RuntimeError: it waited for something else.
    """
    steps = work.__await__()
    waits_for: Any = None
    try:
        while waits_for is None:
            waits_for = next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    raise refuse_to_wait(steps, waits_for)


def refuse_to_wait(steps: Generator[Any, Any, Any], waits_for: Any) -> RuntimeError:
    """End a coroutine that waits for something else than its connection; the error to raise."""
    if asyncio.isfuture(waits_for):
        # Nobody waits for it after all; else the next who does would be told of a mistake.
        waits_for._asyncio_future_blocking = False  # noqa: SLF001 - how a task takes a future
    steps.close()
    return RuntimeError("the work of one visit may await nothing but its connection")


async def finish(step: Awaitable[T]) -> T:
    """Await ``step`` to its end even when this task is cancelled meanwhile.

    A commit must not be abandoned half-way: its callbacks would be lost though it took effect,
    and the next writer would begin while this one still writes.
    """
    task = asyncio.ensure_future(step)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                break
            # Also when the step has just ended: a cancellation that is not passed on is lost, and
            # whoever waits for this task to end waits for ever.
            cancelled = error
        except Exception:  # noqa: BLE001 - raised again just below, by `result`
            break
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result
