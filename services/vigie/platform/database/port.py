"""The database as contexts see it: transactions and readings on SQLAlchemy Core (async)."""

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

    async def close(self) -> None:
        """Release all connections."""
        ...
