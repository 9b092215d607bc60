"""Connections of the embedded database as contexts see them, and how threads are visited.

SQLite is a library that blocks, so it is called in worker threads. What costs is not the
statement (tens of microseconds) but every way to a thread and back; there are two kinds here:

- `VisitingConnection`: every statement is one visit. For work that also waits for other things.
- `DirectConnection`: the whole work is one visit. The work is a coroutine that awaits nothing but
  its connection; each of these awaits is answered at once, so the coroutine runs to its end in
  the worker thread (`run_to_end`) and never sees an event loop.

Both are `AsyncConnection`, so that rules are written once, whatever the database is.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.engine.result import ScalarResult
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")


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


class _Wrapped(AsyncConnection):
    """An `AsyncConnection` without a driver that knows of event loops."""

    def __init__(self, connection: Connection) -> None:
        # The base class asks for an asyncio engine, which there is none of here.
        self.sync_connection = connection

    async def _do(self, work: Callable[[], T]) -> T:
        raise NotImplementedError

    async def execute(
        self, statement: Any, parameters: Any = None, *, execution_options: Any = None
    ) -> Any:
        """See `AsyncConnection.execute`."""
        return await self._do(
            lambda: self._proxied.execute(
                statement, parameters, execution_options=execution_options
            )
        )

    async def exec_driver_sql(
        self, statement: str, parameters: Any = None, execution_options: Any = None
    ) -> Any:
        """See `AsyncConnection.exec_driver_sql`."""
        return await self._do(
            lambda: self._proxied.exec_driver_sql(statement, parameters, execution_options)
        )

    async def scalar(
        self, statement: Any, parameters: Any = None, *, execution_options: Any = None
    ) -> Any:
        """See `AsyncConnection.scalar`."""
        return await self._do(
            lambda: self._proxied.scalar(statement, parameters, execution_options=execution_options)
        )

    async def scalars(
        self, statement: Any, parameters: Any = None, *, execution_options: Any = None
    ) -> ScalarResult[Any]:
        """See `AsyncConnection.scalars`."""
        result = await self.execute(statement, parameters, execution_options=execution_options)
        scalars: ScalarResult[Any] = result.scalars()
        return scalars

    async def run_sync(self, fn: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """See `AsyncConnection.run_sync`."""
        return await self._do(lambda: fn(self._proxied, *arguments, **named))


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
    try:
        while next(steps) is None:
            pass
    except StopIteration as done:
        result: T = done.value
        return result
    close = getattr(steps, "close", None)
    if close is not None:
        close()
    raise RuntimeError("the work of one visit may await nothing but its connection")
