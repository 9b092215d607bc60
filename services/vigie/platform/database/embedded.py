"""The embedded database: one SQLite file in WAL mode, one writer at a time.

Settings and why:

- ``journal_mode=WAL``: readers see a snapshot and never wait for the writer.
- ``synchronous=FULL``: a commit that returned survives the loss of power (in WAL mode NORMAL
  would not promise that).
- ``BEGIN IMMEDIATE`` for writers: the write lock is taken at the start, so that a transaction
  never fails half-way because another one wrote in between.
- one asyncio lock in front of the writer, one semaphore in front of the readers: waiting happens
  in order in the event loop, and not in SQLite's busy handler, which is unfair, or in a thread
  that others need.

SQLite blocks, so it runs in worker threads: one for the writer, a few for readers. `write` and
`read` visit a thread once for everything they do; `transaction` and `reading` once a statement.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import QueuePool

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.errors import as_unavailable, failure_code
from vigie.platform.database.lock import DataDirectoryLock
from vigie.platform.database.visits import (
    DirectConnection,
    VisitingConnection,
    WholeConnection,
    finish,
    run_to_end,
)
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.folders import make_durable_folder
from vigie.platform.reasons import DATABASE_UNAVAILABLE

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

FAULT_POINTS: Final = (
    "database.transaction.begun",
    "database.transaction.committing",
    "database.transaction.committed",
)
"""Steps of a transaction at which tests strike. A failure at ``committed`` is a commit whose
result the caller does not learn."""

_BUSY_TIMEOUT_MS: Final = 5000
_CONNECT_ARGUMENTS: Final[dict[str, Any]] = {
    # The driver's own transaction handling is off: it would begin late and not IMMEDIATE.
    "isolation_level": None,
    "timeout": _BUSY_TIMEOUT_MS / 1000,
    # Any reader's thread may take any reader's connection, one at a time.
    "check_same_thread": False,
    "factory": WholeConnection,
}
_READERS: Final = 8
_READER_WAIT_SECONDS: Final = 30.0


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
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="vigie-database")
        self._reading = ThreadPoolExecutor(_READERS, thread_name_prefix="vigie-database-read")
        self._turn = asyncio.Lock()
        self._free_readers = asyncio.Semaphore(_READERS)
        self._owner: asyncio.Task[Any] | None = None
        self._connection: AsyncConnection | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._path

    @property
    def migrates_itself(self) -> bool:
        """See `Database.migrates_itself`."""
        return True

    # --- writing -------------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.transaction`.

        Raises:
            VigieError: DATABASE_UNAVAILABLE (disk full, I/O error, file locked by others).
            RuntimeError: this task is inside a transaction already (it would wait for itself).
        """
        self._refuse_inside()
        async with self._turn:
            self._owner = asyncio.current_task()
            try:
                with self._telling():
                    opening = _visit(self._writing, partial(_begin, self._writer))
                    async with _closing(opening, self._writing) as connection:
                        self._connection = VisitingConnection(
                            connection, partial(_whole_visit, self._writing)
                        )
                        self._reach("database.transaction.begun")
                        yield self._connection
                        self._reach("database.transaction.committing")
                        await finish(self._commit(connection))
                        self._reach("database.transaction.committed")
            finally:
                self._owner = None
                self._connection = None
                self._callbacks = []

    async def write(self, work: Work[T]) -> T:
        """See `Database.write`: one visit to the writer's thread.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
            RuntimeError: this task is inside a transaction already; ``work`` awaited something
                else than its connection (it is rolled back then).
        """

        def coroutine(connection: Connection) -> T:
            self._connection = DirectConnection(connection)
            return run_to_end(work(self._connection))

        return await self.transact(coroutine)

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """`write` for a plain function on a synchronous connection.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
            RuntimeError: this task is inside a transaction already.
        """
        self._refuse_inside()
        async with self._turn:
            try:
                return await finish(self._transact(work))
            finally:
                self._connection = None
                self._callbacks = []

    async def _transact(self, work: Callable[[Connection], T]) -> T:
        result = await _visit(self._writing, partial(self._within, work))
        self._call_back()
        self._reach("database.transaction.committed")
        return result

    def _within(self, work: Callable[[Connection], T]) -> T:
        with self._telling(), self._writer.begin() as connection:
            self._reach("database.transaction.begun")
            result = work(connection)
            self._reach("database.transaction.committing")
        return result

    async def _commit(self, connection: Connection) -> None:
        await _visit(self._writing, connection.commit)
        self._call_back()

    def _call_back(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _refuse_inside(self) -> None:
        if self.in_transaction():
            raise RuntimeError("a task cannot open a transaction inside its own transaction")

    async def check(self) -> None:
        """Write a page, as it was, and make it durable: what reads alone does not show.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
        """

        def write(connection: Connection) -> None:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            connection.exec_driver_sql(f"PRAGMA user_version = {int(version)}")

        await self.transact(write)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What the machine fails with becomes DATABASE_UNAVAILABLE, and is told."""
        try:
            yield
        except Exception as error:
            unavailable = as_unavailable(error)
            if unavailable is None:
                raise
            self._on_failure(failure_code(error))
            raise unavailable from error

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

    # --- reading -------------------------------------------------------------------------------

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.reading`: the snapshot is taken at the first statement.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
        """
        with self._telling():
            async with self._a_reader(), _closing(self._open_reader(), None) as connection:
                yield VisitingConnection(connection, partial(_whole_visit, self._reading))

    def _open_reader(self) -> "asyncio.Future[Connection]":
        pool = self._readers.pool
        if isinstance(pool, QueuePool) and pool.checkedin() > 0:
            # The file is open, and BEGIN only makes a note: no reason to visit a thread.
            opened = asyncio.get_running_loop().create_future()
            opened.set_result(_begin(self._readers))
            return opened
        return _visit(self._reading, partial(_begin, self._readers))

    async def read(self, work: Work[T]) -> T:
        """See `Database.read`: one visit to a reader's thread.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
            RuntimeError: ``work`` awaited something else than its connection.
        """

        def visit() -> T:
            with self._telling(), self._readers.begin() as connection:
                return run_to_end(work(DirectConnection(connection)))

        async with self._a_reader():
            return await _whole_visit(self._reading, visit)

    @asynccontextmanager
    async def _a_reader(self) -> AsyncIterator[None]:
        if self._free_readers.locked():
            try:
                async with asyncio.timeout(_READER_WAIT_SECONDS):
                    await self._free_readers.acquire()
            except TimeoutError as error:
                raise VigieError(
                    DATABASE_UNAVAILABLE, "no connection to the database became free"
                ) from error
        else:
            await self._free_readers.acquire()
        try:
            yield
        finally:
            self._free_readers.release()

    async def close(self) -> None:
        """Wait for the writer's transaction, close every connection, give the lock back."""
        async with self._turn:
            await asyncio.to_thread(self._writing.shutdown)
            await asyncio.to_thread(self._reading.shutdown)
            self._readers.dispose()
            self._writer.dispose()
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


def _engine(path: Path, *, begin: str, query_only: bool, connections: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        connect_args=_CONNECT_ARGUMENTS,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
    )

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

    return engine


def _begin(engine: Engine) -> Connection:
    connection = engine.connect()
    try:
        connection.begin()
    except BaseException:
        connection.close()
        raise
    return connection


def _visit(threads: ThreadPoolExecutor, work: Callable[[], T]) -> "asyncio.Future[T]":
    """Run ``work`` in one of ``threads`` with the context of the caller (identifiers in logs)."""
    context = contextvars.copy_context()
    return asyncio.get_running_loop().run_in_executor(threads, context.run, work)


async def _whole_visit(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """The same, waited for: whoever is cancelled must not leave a connection that is in use."""
    return await finish(_visit(threads, work))


@asynccontextmanager
async def _closing(
    opening: "asyncio.Future[Connection]", threads: ThreadPoolExecutor | None
) -> AsyncIterator[Connection]:
    """The connection of a transaction; what was not committed is rolled back, in ``threads``."""
    try:
        yield await finish(opening)
    finally:
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            connection = opening.result()
            if threads is not None and connection.in_transaction():
                await finish(_visit(threads, connection.close))
            else:
                connection.close()
