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
from typing import Any, Final, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection as Inner

from vigie.platform.clock import (
    MonotonicClock,
    SystemMonotonicClock,
    SystemWallClock,
    WallClock,
)
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.metrics import DatabaseMetrics
from vigie.platform.database.postgresql.connect import Login, connect, login_of
from vigie.platform.database.postgresql.connection import (
    PostgresqlConnection,
    only_its_connection,
)
from vigie.platform.database.postgresql.errors import DatabaseFailedError, Failure, failure_of
from vigie.platform.database.postgresql.failures import Failures, untold
from vigie.platform.database.postgresql.pool import ConnectionPool
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.database.visits import finish
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.metrics import MetricsRegistry
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
        metrics: of the context; what else is counted.
        faults: where tests strike.
        wall_clock: says since when the database is away.
        monotonic_clock: waits before work is repeated.
    """

    def __init__(
        self,
        login: Login,
        *,
        migrates_itself: bool = False,
        on_failure: Callable[[str], None] = untold,
        metrics: DatabaseMetrics | None = None,
        faults: FaultPoints = NO_FAULTS,
        wall_clock: WallClock | None = None,
        monotonic_clock: MonotonicClock | None = None,
    ) -> None:
        self._login = login
        self._migrates_itself = migrates_itself
        self._faults = faults
        self._monotonic_clock = monotonic_clock or SystemMonotonicClock()
        config = login.config
        self._writer = ConnectionPool(
            self._connect,
            size=1,
            overflow=0,
            wait_seconds=config.pool_wait_seconds,
            read_only=False,
        )
        self._readers = ConnectionPool(
            self._connect,
            size=config.pool_size,
            overflow=config.pool_overflow,
            wait_seconds=config.pool_wait_seconds,
            read_only=True,
        )
        self._metrics = metrics or DatabaseMetrics(MetricsRegistry(), login.schema)
        self._failures = Failures(
            login.where, on_failure, self._metrics, wall_clock or SystemWallClock()
        )
        self._metrics.watch("reading", self._readers)
        self._metrics.watch("writing", self._writer)
        self._key = {"key": turn_key(login.schema)}
        self._turn = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._connection: PostgresqlConnection | None = None
        self._callbacks: list[Callable[[], None]] = []

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
        async with self._in_turn():
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
        async with self._in_turn():
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    async with self._open_turn() as connection:
                        result = await only_its_connection(work(connection), connection)
                except DatabaseFailedError as error:
                    if attempt == ATTEMPTS or not error.failure.may_be_repeated:
                        raise
                    log.info("database_work_repeated", code=error.failure.code, attempt=attempt)
                    self._metrics.repeated(error.failure.code)
                    await self._pause(attempt)
                else:
                    return result
        raise AssertionError("unreachable")

    async def _pause(self, attempt: int) -> None:
        longest = _FIRST_PAUSE_SECONDS * 2**attempt
        await self._monotonic_clock.sleep(random.uniform(longest / 2, longest))  # noqa: S311

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """The turn among the writers of this process."""
        with self._writer.one_more_waits():
            await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    @asynccontextmanager
    async def _open_turn(self) -> AsyncIterator[PostgresqlConnection]:
        """A writing transaction: commits at the end, rolls back on any exception."""
        try:
            with self._writer.one_more_waits():
                inner = await self._begin_turn()
            connection = PostgresqlConnection(inner, self._failures.of_statement)
            self._connection = connection
            try:
                self._reach("database.transaction.begun")
                yield connection
                self._reach("database.transaction.committing")
                await finish(self._commit(inner))
                self._reach("database.transaction.committed")
            finally:
                await finish(self._writer.give_back(inner))
        finally:
            self._connection = None
            self._callbacks = []

    async def _begin_turn(self) -> Inner:
        """A connection in a transaction that has its turn.

        The connection may have died in the pool: that is found out before any work has begun, and
        a new one is taken.
        """
        for may_be_dead in (True, False):
            inner = await self._taken_from(self._writer)
            try:
                await inner.execute(_TURN, self._key)
            except BaseException as error:
                await finish(self._writer.give_back(inner))
                failure = failure_of(error)
                if may_be_dead and failure is not None and failure.is_lost:
                    self._failures.note_time_out(failure)
                    continue
                if not isinstance(error, Exception):
                    raise
                raise self._failures.of_statement(error) from error
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
            raise self._failures.noted(failure) from error
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
            raise self._failures.noted(
                Failure("25006", "the server takes no writes", is_lost=False)
            )

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
                if not died:
                    self._metrics.repeated(error.failure.code)
                await self._pause(attempt)
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _open_reader(self) -> AsyncIterator[PostgresqlConnection]:
        with self._readers.one_more_waits():
            inner = await self._taken_from(self._readers)
        try:
            yield PostgresqlConnection(inner, self._failures.of_statement)
        finally:
            await finish(self._readers.give_back(inner))

    # --- both ----------------------------------------------------------------------------------

    async def _taken_from(self, pool: ConnectionPool) -> Inner:
        try:
            return await pool.take()
        except Exception as error:
            translated = self._failures.translated(error)
            if translated is error:
                raise
            raise translated from error

    async def _connect(self) -> Any:
        connection = await connect(self._login)
        self._failures.connected()
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
    on_failure: Callable[[str], None] = untold,
    metrics: DatabaseMetrics | None = None,
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
        metrics=metrics,
        faults=faults,
        wall_clock=wall_clock,
        monotonic_clock=monotonic_clock,
    )
