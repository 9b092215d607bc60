"""The embedded database: one SQLite file in WAL mode, one writer at a time.

Settings and why:

- ``journal_mode=WAL``: readers see a snapshot and never wait for the writer.
- ``synchronous=FULL``: a commit that returned survives the loss of power (in WAL mode NORMAL
  would not promise that).
- ``BEGIN IMMEDIATE`` for writers: the write lock is taken at the start, so that a transaction
  never fails half-way because another one wrote in between.
- one asyncio lock in front of the writer: waiting happens in order in the event loop, and not in
  SQLite's busy handler, which is unfair.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from vigie.platform.database.errors import as_unavailable, failure_code
from vigie.platform.database.lock import DataDirectoryLock
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.folders import make_durable_folder
from vigie.platform.reasons import DATABASE_UNAVAILABLE

T = TypeVar("T")

FAULT_POINTS: Final = (
    "database.transaction.begun",
    "database.transaction.committing",
    "database.transaction.committed",
)
"""Steps of a transaction at which tests strike. A failure at ``committed`` is a commit whose
result the caller does not learn."""

_BUSY_TIMEOUT_MS: Final = 5000
# The driver's own transaction handling is off: it would begin late and not IMMEDIATE.
_CONNECT_ARGUMENTS: Final[dict[str, Any]] = {
    "isolation_level": None,
    "timeout": _BUSY_TIMEOUT_MS / 1000,
}
_READERS: Final = 8


def _untold(_code: str) -> None:
    """Nobody counts."""


class EmbeddedDatabase:
    """See `vigie.platform.database.port.Database`. Make one with `open_database`."""

    def __init__(
        self,
        path: Path,
        *,
        lock: DataDirectoryLock | None = None,
        faults: FaultPoints = NO_FAULTS,
        on_failure: Callable[[str], None] = _untold,
    ) -> None:
        self._path = path
        self._on_failure = on_failure
        self._lock = lock
        self._faults = faults
        self._writer = _engine(path, begin="BEGIN IMMEDIATE", query_only=False, connections=1)
        self._readers = _engine(path, begin="BEGIN", query_only=True, connections=_READERS)
        self._direct = _direct_engine(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vigie-database")
        self._turn = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._connection: AsyncConnection | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._path

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.transaction`.

        Raises:
            VigieError: DATABASE_UNAVAILABLE (disk full, I/O error, file locked by others).
            RuntimeError: this task is inside a transaction already (it would wait for itself).
        """
        if self.in_transaction():
            raise RuntimeError("a task cannot open a transaction inside its own transaction")
        async with self._turn:
            self._owner = asyncio.current_task()
            self._callbacks = []
            try:
                async with self._writer.connect() as connection:
                    await connection.begin()
                    self._connection = connection
                    self._reach("database.transaction.begun")
                    yield connection
                    self._reach("database.transaction.committing")
                    await _finish(self._commit(connection))
                    self._reach("database.transaction.committed")
            except Exception as error:
                if (unavailable := self._unavailable(error)) is not None:
                    raise unavailable from error
                raise
            finally:
                self._owner = None
                self._connection = None
                self._callbacks = []

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.reading`: the snapshot is taken at the first statement.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
        """
        try:
            async with self._readers.connect() as connection:
                await connection.begin()
                yield connection
        except Exception as error:
            if (unavailable := self._unavailable(error)) is not None:
                raise unavailable from error
            raise

    async def _commit(self, connection: AsyncConnection) -> None:
        await connection.commit()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction of its own, within one visit to a worker thread.

        The same as `transaction`, an order of magnitude cheaper: there every statement visits
        the driver's thread four times, which is most of the cost of a small transaction.
        ``work`` gets a synchronous connection, runs in another thread and must only use that.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
            RuntimeError: this task is inside a transaction already.
        """
        if self.in_transaction():
            raise RuntimeError("a task cannot open a transaction inside its own transaction")
        async with self._turn:
            loop = asyncio.get_running_loop()
            return await _finish(loop.run_in_executor(self._thread, self._transact, work))

    def _transact(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._direct.begin() as connection:
                self._reach("database.transaction.begun")
                result = work(connection)
                self._reach("database.transaction.committing")
        except Exception as error:
            if (unavailable := self._unavailable(error)) is not None:
                raise unavailable from error
            raise
        self._reach("database.transaction.committed")
        return result

    async def check(self) -> None:
        """Write a page, as it was, and make it durable: what reads alone does not show.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
        """

        def write(connection: Connection) -> None:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            connection.exec_driver_sql(f"PRAGMA user_version = {int(version)}")

        await self.transact(write)

    def _unavailable(self, error: Exception) -> VigieError | None:
        """See `as_unavailable`; what the machine failed with is told."""
        unavailable = as_unavailable(error)
        if unavailable is not None:
            self._on_failure(failure_code(error))
        return unavailable

    def _reach(self, name: str) -> None:
        try:
            self._faults.reach(name)
        except OSError as error:
            raise VigieError(DATABASE_UNAVAILABLE, f"the database cannot be used: {error}") from (
                error
            )

    def in_transaction(self) -> bool:
        """Whether the current task is inside `transaction`."""
        return self._owner is not None and self._owner is asyncio.current_task()

    def on_commit(self, connection: AsyncConnection, callback: Callable[[], None]) -> None:
        """See `Database.on_commit`."""
        if connection is not self._connection:
            raise RuntimeError("on_commit needs the connection of the open transaction")
        self._callbacks.append(callback)

    async def close(self) -> None:
        """Wait for the writer's transaction, close every connection, give the lock back."""
        async with self._turn:
            await self._readers.dispose()
            await self._writer.dispose()
            await asyncio.to_thread(self._thread.shutdown)
            self._direct.dispose()
            if self._lock is not None:
                self._lock.release()


async def open_database(
    path: Path,
    *,
    faults: FaultPoints = NO_FAULTS,
    on_failure: Callable[[str], None] = _untold,
) -> EmbeddedDatabase:
    """Open (or create) the SQLite file at ``path``; its directory is locked for this process.

    ``on_failure`` is told the code of every failure of the machine (see `failure_code`), from any
    thread.

    Raises:
        VigieError: DATA_DIRECTORY_IN_USE; DATABASE_UNAVAILABLE when the file cannot be used.
    """
    try:
        # Sealed credentials and access records are nobody else's business.
        await asyncio.to_thread(make_durable_folder, path.parent, 0o750)
    except OSError as error:
        raise VigieError(
            DATABASE_UNAVAILABLE, f"cannot make {path.parent}: {error.strerror}"
        ) from error
    lock = DataDirectoryLock(path.parent)
    lock.acquire()
    database = EmbeddedDatabase(path, lock=lock, faults=faults, on_failure=on_failure)
    try:
        async with database.transaction() as connection:
            await connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except BaseException:
        await database.close()
        raise
    return database


def _engine(path: Path, *, begin: str, query_only: bool, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args=_CONNECT_ARGUMENTS,
        pool_size=connections,
        max_overflow=0,
    )
    _configure(engine.sync_engine, begin=begin, query_only=query_only)
    return engine


def _direct_engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        # One thread works with it, another one closes it at the end.
        connect_args=_CONNECT_ARGUMENTS | {"check_same_thread": False},
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
    )
    _configure(engine, begin="BEGIN IMMEDIATE", query_only=False)
    return engine


def _configure(engine: Engine, *, begin: str, query_only: bool) -> None:
    @event.listens_for(engine, "connect")
    def _connected(driver_connection: Any, _record: Any) -> None:
        cursor = driver_connection.cursor()
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
            cursor.execute("PRAGMA cache_size=-16384")
            if query_only:
                cursor.execute("PRAGMA query_only=ON")
        finally:
            cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


async def _finish(step: Awaitable[T]) -> T:
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
