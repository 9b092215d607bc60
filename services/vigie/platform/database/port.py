"""The database as contexts see it: transactions and readings on SQLAlchemy Core (async)."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection


class Database(Protocol):
    """One database; every context keeps to tables with its own prefix (``registry_…``).

    Writers are few and short: the embedded database has one at a time.
    """

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A read-write transaction: commits on leaving, rolls back on an exception.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
        """
        ...

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A consistent read-only view; never waits for writers."""
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
