"""The database as contexts see it: transactions and readings on SQLAlchemy Core (async)."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from vigie.platform.database.connection import AsyncConnection

T = TypeVar("T")


class Database(Protocol):
    """One database; every context keeps to tables with its own prefix (``registry_…``).

    Writers are few and short: there is one at a time, of one context on PostgreSQL and in all its
    processes, of all contexts on the embedded database. Whoever reads and then writes in one
    transaction therefore finds nothing changed in between.

    A commit whose answer is lost is DATABASE_UNAVAILABLE like every failure, and may have taken
    effect. Who repeats it must see what it wrote: a position, an identifier, a key.
    """

    @property
    def migrates_itself(self) -> bool:
        """Whether a program brings the schema up to date when it starts.

        So it is with the embedded database, which belongs to one process. A database that several
        programs share is brought up to date by ``vigie migrate``, and a program only looks whether
        it knows the schema.
        """
        ...

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A read-write transaction: commits on leaving, rolls back on an exception.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
        """
        ...

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A consistent read-only view; never waits for writers."""
        ...

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` in a read-write transaction: commits when it returns, else rolls back.

        The same as `transaction`, and several times cheaper on the embedded database, which does
        all of it within one visit to a thread. Therefore ``work`` may await nothing but its
        connection (and `on_commit`, and `EventLog.append` with it), and may touch only what it
        was given: it may not run in the event loop. It takes effect once at most, but may be run
        again: where the database has undone the transaction for a reason that passes at once (a
        deadlock, a serialisation failure, a schema that was just changed). What must happen once
        for every commit, and in memory, belongs into `on_commit`.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
            RuntimeError: ``work`` awaited something else; it is rolled back.
        """
        ...

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` on a consistent read-only view; what `write` asks of it holds here too.

        It may be run again, too, where a connection turned out to be dead.
        """
        ...

    def on_commit(self, connection: AsyncConnection, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, in the event loop, after the open transaction has committed.

        It is not called when the transaction rolls back. It must not raise and must not wait:
        use it to wake readers, never for effects that may not be lost.

        Raises:
            RuntimeError: ``connection`` is not inside `transaction`.
        """
        ...

    async def close(self) -> None:
        """Release all connections."""
        ...
