"""The database port over PostgreSQL, one schema and one role a context.

How it keeps the promises of the port:

- **Writers of a context take turns**, in all its processes: a lock of asyncio in front of the one
  writing connection of this process, and an advisory lock of the schema, taken as the first
  statement of every writing transaction and given back by its end. So rules that read and then
  write are as right as on the embedded database, without a serialisation failure to repeat for
  users; batches keep it fast. Whoever stands still in a transaction (a stopped process) is ended
  by the server and loses its turn (``idle_in_transaction_session_timeout``).
- **Readings are one snapshot** (REPEATABLE READ, READ ONLY) on connections of their own: they wait
  for no writer.
- **`write` repeats its work** when the server has undone the transaction for a reason that passes
  at once (`errors.RETRIED`), a few times. `transaction` cannot, and says DATABASE_UNAVAILABLE.
- **A commit whose answer is lost** is DATABASE_UNAVAILABLE like every failure, never repeated here:
  whether it took effect is not known. Callers find out by what they wrote: consumers by the
  position that commits with their effects, requests by their identifier.
- **A commit is never abandoned**: whoever is cancelled meanwhile waits for its end.
"""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection as Inner
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from vigie.platform.clock import (
    MonotonicClock,
    SystemMonotonicClock,
    SystemWallClock,
    WallClock,
    from_us,
)
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.postgresql.connect import Login, connect, login_of
from vigie.platform.database.postgresql.connection import (
    PostgresqlConnection,
    only_its_connection,
)
from vigie.platform.database.postgresql.errors import (
    DatabaseFailedError,
    Failure,
    as_data_error,
    failure_of,
)
from vigie.platform.database.postgresql.text import TextWithoutNul
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.database.visits import finish
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.reasons import DATABASE_UNAVAILABLE

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]
log = structlog.get_logger(__name__)

COMMIT_UNKNOWN: Final = "COMMIT_UNKNOWN"
ATTEMPTS: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.01
_TURN: Final = sa.select(sa.func.pg_advisory_xact_lock(sa.bindparam("key", type_=sa.BigInteger)))
# A transaction that is given a number is noted in the server's log: reads alone show neither a
# standby nor a server that was set read-only.
_CHECK: Final = sa.text(
    "SELECT pg_current_xact_id()::text, current_setting('transaction_read_only') AS read_only"
)


def _untold(_code: str) -> None:
    """Nobody counts."""


def turn_key(schema: str) -> int:
    """Number of the advisory lock by which the writers of a schema take turns."""
    digest = hashlib.sha256(f"vigie writer {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class PostgresqlDatabase:
    """See `vigie.platform.database.port.Database`. Make one with `open_postgresql`.

    Args:
        login: who connects, and to which schema.
        migrates_itself: whether `migrate` may change the schema; see the port.
        on_failure: told the code of every failure of the machine.
        faults: where tests strike.
        wall_clock: says since when the database is away.
        monotonic_clock: waits before work is repeated.
    """

    def __init__(
        self,
        login: Login,
        *,
        migrates_itself: bool = False,
        on_failure: Callable[[str], None] = _untold,
        faults: FaultPoints = NO_FAULTS,
        wall_clock: WallClock | None = None,
        monotonic_clock: MonotonicClock | None = None,
    ) -> None:
        self._login = login
        self._migrates_itself = migrates_itself
        self._on_failure = on_failure
        self._faults = faults
        self._wall_clock = wall_clock or SystemWallClock()
        self._monotonic_clock = monotonic_clock or SystemMonotonicClock()
        config = login.config
        self._writer = self._engine("READ COMMITTED", size=1, overflow=0)
        self._readers = self._engine(
            "REPEATABLE READ", size=config.pool_size, overflow=config.pool_overflow
        )
        self._key = {"key": turn_key(login.schema)}
        self._turn = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._connection: PostgresqlConnection | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._away_since_us: int | None = None

    @property
    def migrates_itself(self) -> bool:
        """See `Database.migrates_itself`."""
        return self._migrates_itself

    @property
    def schema(self) -> str:
        """Whose tables it finds."""
        return self._login.schema

    @property
    def where(self) -> str:
        """Database and role, for people."""
        return self._login.where

    # --- writing -------------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.transaction`.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
            RuntimeError: this task is inside a transaction already (it would wait for itself).
        """
        self._refuse_inside()
        async with self._turn:
            self._owner = asyncio.current_task()
            try:
                async with self._open_turn() as connection:
                    yield connection
            finally:
                self._owner = None

    async def write(self, work: Work[T]) -> T:
        """See `Database.write`.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
            RuntimeError: this task is inside a transaction already; ``work`` awaited something
                else than its connection (it is rolled back then).
        """
        self._refuse_inside()
        async with self._turn:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    async with self._open_turn() as connection:
                        result = await only_its_connection(work(connection), connection)
                except DatabaseFailedError as error:
                    if attempt == ATTEMPTS or not error.failure.may_be_repeated:
                        raise
                    log.info("database_work_repeated", code=error.failure.code, attempt=attempt)
                    await self._pause(attempt)
                else:
                    return result
        raise AssertionError("unreachable")

    async def _pause(self, attempt: int) -> None:
        longest = _FIRST_PAUSE_SECONDS * 2**attempt
        await self._monotonic_clock.sleep(random.uniform(longest / 2, longest))  # noqa: S311

    @asynccontextmanager
    async def _open_turn(self) -> AsyncIterator[PostgresqlConnection]:
        """A writing transaction: commits at the end, rolls back on any exception."""
        try:
            inner = await self._begin_turn()
            connection = PostgresqlConnection(inner, self._translated)
            self._connection = connection
            try:
                self._reach("database.transaction.begun")
                yield connection
                self._reach("database.transaction.committing")
                await finish(self._commit(inner))
                self._reach("database.transaction.committed")
            finally:
                await finish(_close(inner))
        finally:
            self._connection = None
            self._callbacks = []

    async def _begin_turn(self) -> Inner:
        """A connection in a transaction that has its turn.

        The connection may have died in the pool: that is found out before any work has begun, and
        a new one is taken.
        """
        for may_be_dead in (True, False):
            inner = await self._checked_out(self._writer)
            try:
                await inner.execute(_TURN, self._key)
            except BaseException as error:
                await finish(_close(inner))
                failure = failure_of(error)
                if may_be_dead and failure is not None and failure.is_lost:
                    continue
                if not isinstance(error, Exception):
                    raise
                raise self._translated(error) from error
            return inner
        raise AssertionError("unreachable")

    async def _commit(self, inner: Inner) -> None:
        try:
            await inner.commit()
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            if failure.is_lost:
                text = f"{failure.message}; whether the last change was saved is not known"
                failure = Failure(COMMIT_UNKNOWN, text, is_lost=True)
            raise self._noted(failure) from error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _reach(self, name: str) -> None:
        try:
            self._faults.reach(name)
        except OSError as error:
            raise VigieError(DATABASE_UNAVAILABLE, f"the database cannot be used: {error}") from (
                error
            )

    def _refuse_inside(self) -> None:
        if self.in_transaction():
            raise RuntimeError("a task cannot open a transaction inside its own transaction")

    def in_transaction(self) -> bool:
        """Whether the current task is inside `transaction`."""
        return self._owner is not None and self._owner is asyncio.current_task()

    def on_commit(self, connection: AsyncConnection, callback: Callable[[], None]) -> None:
        """See `Database.on_commit`."""
        if connection is not self._connection:
            raise RuntimeError("on_commit needs the connection of the open transaction")
        self._callbacks.append(callback)

    async def check(self) -> None:
        """Look whether the database can be written now.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
        """
        async with self.transaction() as connection:
            row = (await connection.execute(_CHECK)).one()
        if row.read_only == "on":
            raise self._noted(Failure("25006", "the server takes no writes", is_lost=False))

    # --- reading -------------------------------------------------------------------------------

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.reading`: the snapshot is taken at the first statement.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
        """
        async with self._open_reader() as connection:
            yield connection

    async def read(self, work: Work[T]) -> T:
        """See `Database.read`.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
            RuntimeError: ``work`` awaited something else than its connection.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._open_reader() as connection:
                    return await only_its_connection(work(connection), connection)
            except DatabaseFailedError as error:
                # A connection that died in the pool is found out by the first statement.
                died = error.failure.is_lost and attempt == 1
                if attempt == ATTEMPTS or not (error.failure.may_be_repeated or died):
                    raise
                await self._pause(attempt)
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _open_reader(self) -> AsyncIterator[PostgresqlConnection]:
        inner = await self._checked_out(self._readers)
        try:
            yield PostgresqlConnection(inner, self._translated)
        finally:
            await finish(_close(inner))

    # --- both ----------------------------------------------------------------------------------

    async def _checked_out(self, engine: AsyncEngine) -> Inner:
        taking = asyncio.ensure_future(_checked_out(engine))
        try:
            return await finish(taking)
        except asyncio.CancelledError:
            if taking.done() and not taking.cancelled() and taking.exception() is None:
                await finish(_close(taking.result()))
            raise
        except Exception as error:
            translated = self._translated(error)
            if translated is error:
                raise
            raise translated from error

    def _translated(self, error: Exception) -> Exception:
        """The error to raise for one from below."""
        if isinstance(error, DatabaseFailedError):
            return self._noted(error.failure)
        if isinstance(error, VigieError):
            return error
        failure = failure_of(error)
        if failure is not None:
            return self._noted(failure)
        return as_data_error(error) or error

    def _noted(self, failure: Failure) -> DatabaseFailedError:
        """The error of a failure, counted; says since when where the database is away."""
        self._on_failure(failure.code)
        where = self._login.where
        if failure.is_lost:
            if self._away_since_us is None:
                self._away_since_us = self._wall_clock.now_us()
            where = f"{where}, away since {_time(self._away_since_us)},"
        return failure.error(where)

    def _engine(self, isolation: str, *, size: int, overflow: int) -> AsyncEngine:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            isolation_level=isolation,
            execution_options={"postgresql_readonly": True}
            if isolation != "READ COMMITTED"
            else {},
            pool_size=size,
            max_overflow=overflow,
            pool_timeout=self._login.config.pool_wait_seconds,
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

    async def _connect(self) -> Any:
        connection = await connect(self._login)
        self._away_since_us = None
        return connection

    async def close(self) -> None:
        """Wait for the writer's transaction, then close every connection."""
        async with self._turn:
            await self._readers.dispose()
            await self._writer.dispose()


async def open_postgresql(
    config: DatabaseConfig,
    context: str,
    *,
    on_failure: Callable[[str], None] = _untold,
    faults: FaultPoints = NO_FAULTS,
    wall_clock: WallClock | None = None,
    monotonic_clock: MonotonicClock | None = None,
) -> PostgresqlDatabase:
    """The database of a context; connections are made when they are needed.

    It need not be reachable yet: every use says DATABASE_UNAVAILABLE until it is.
    ``on_failure`` is told the code of every failure of the machine: SQLSTATE, or a name of
    `vigie.platform.database.postgresql.errors`.
    """
    return PostgresqlDatabase(
        login_of(config, context),
        on_failure=on_failure,
        faults=faults,
        wall_clock=wall_clock,
        monotonic_clock=monotonic_clock,
    )


async def _checked_out(engine: AsyncEngine) -> Inner:
    return await engine.connect()


async def _close(inner: Inner) -> None:
    """Give a connection back; what was not committed is rolled back."""
    try:
        await inner.close()
    except Exception as error:  # noqa: BLE001 - it is gone: so is its transaction
        log.debug("database_connection_dropped", error=str(error))


def _time(instant_us: int) -> str:
    return datetime.astimezone(from_us(instant_us), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
