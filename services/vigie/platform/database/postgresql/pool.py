"""Connections of one kind: made when needed, kept, looked at before they are used again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection as Inner
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from vigie.platform.database.postgresql.text import TextWithoutNul
from vigie.platform.database.visits import finish

log = structlog.get_logger(__name__)


class ConnectionPool:
    """A pool of connections.

    Args:
        connect: opens one.
        size: how many are kept.
        overflow: how many more there may be at once.
        wait_seconds: longest wait for one to become free.
        read_only: for readings, each one snapshot; else for writing.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        *,
        size: int,
        overflow: int,
        wait_seconds: float,
        read_only: bool,
    ) -> None:
        self._engine = _engine(connect, size, overflow, wait_seconds, read_only=read_only)
        self._waiting = 0
        self._is_disposed = False
        self.most = size + overflow
        """How many there may be at once."""

    @property
    def in_use(self) -> int:
        """How many are taken now."""
        pool: Any = self._engine.pool
        taken: int = pool.checkedout()
        return taken

    @property
    def waiting(self) -> int:
        """How many callers wait now, for a connection or for what they do first with it."""
        return self._waiting

    @contextmanager
    def one_more_waits(self) -> Iterator[None]:
        """Somebody waits for as long as this is open."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def take(self) -> Inner:
        """A connection; give it back by `give_back`. Nobody who is cancelled leaves one behind.

        Raises:
            sqlalchemy.exc.TimeoutError: none became free; and whatever opening one fails with.
        """
        taking = asyncio.ensure_future(_taken(self._engine))
        try:
            return await finish(taking)
        except asyncio.CancelledError:
            if taking.done() and not taking.cancelled() and taking.exception() is None:
                await finish(self.give_back(taking.result()))
            raise

    async def give_back(self, inner: Inner) -> None:
        """Give a connection back; what was not committed is rolled back."""
        try:
            if self._is_disposed:  # nobody would close it once it is back
                await inner.invalidate()
            await inner.close()
        except Exception as error:  # noqa: BLE001 - it is gone: so is its transaction
            log.debug("database_connection_dropped", error=str(error))

    async def dispose(self) -> None:
        """Close every connection: those that are taken when they are given back."""
        self._is_disposed = True
        await self._engine.dispose()


async def _taken(engine: AsyncEngine) -> Inner:
    return await engine.connect()


def _engine(
    connect: Callable[[], Awaitable[Any]],
    size: int,
    overflow: int,
    wait_seconds: float,
    *,
    read_only: bool,
) -> AsyncEngine:
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        isolation_level="REPEATABLE READ" if read_only else "READ COMMITTED",
        execution_options={"postgresql_readonly": True} if read_only else {},
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=wait_seconds,
        # The longest idle connection is closed by firewalls first: take the one used last.
        pool_use_lifo=True,
        # Statements carry names, words of searches, sealed credentials.
        hide_parameters=True,
    )
    engine.dialect.colspecs = {**engine.dialect.colspecs, sa.String: TextWithoutNul}

    @event.listens_for(engine.sync_engine, "checkout")
    def _is_alive(driver_connection: Any, _record: Any, _proxy: Any) -> None:
        if driver_connection.driver_connection.is_closed():
            raise DisconnectionError("closed by the server")

    return engine
