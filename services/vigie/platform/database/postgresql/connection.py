"""A connection to PostgreSQL as contexts see it.

It is SQLAlchemy's, with two additions: failures are told apart where they happen (an `OSError` of
the network is the database's, one of the caller's own is not), and `only_its_connection` knows
whether a piece of work waits for its connection or for something else.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.engine import Connection, CursorResult, Dialect
from sqlalchemy.engine.result import ScalarResult
from sqlalchemy.ext.asyncio import AsyncConnection as Inner
from sqlalchemy.sql import Executable

from vigie.platform.database.connection import Parameters
from vigie.platform.database.visits import refuse_to_wait

T = TypeVar("T")
P = ParamSpec("P")


class _OwnError:
    """An error of the caller's function that would look like one of the network."""

    def __init__(self, error: OSError) -> None:
        self.error = error


class PostgresqlConnection:
    """See `vigie.platform.database.connection.AsyncConnection`.

    Args:
        inner: used by one task at a time.
        translate: the error to raise for one that came from below.
    """

    def __init__(self, inner: Inner, translate: Callable[[Exception], Exception]) -> None:
        self.inner = inner
        self._translate = translate
        self.waiting = 0
        """How many calls of its methods are under way."""

    async def _do(self, step: Awaitable[T]) -> T:
        self.waiting += 1
        try:
            return await step
        except Exception as error:
            translated = self._translate(error)
            if translated is error:
                raise
            raise translated from error
        finally:
            self.waiting -= 1

    @property
    def dialect(self) -> Dialect:
        """See `AsyncConnection.dialect`."""
        return self.inner.dialect

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """See `AsyncConnection.execute`."""
        return await self._do(self.inner.execute(statement, parameters))

    async def exec_driver_sql(self, statement: str) -> CursorResult[Any]:
        """See `AsyncConnection.exec_driver_sql`."""
        return await self._do(self.inner.exec_driver_sql(statement))

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

        def guarded(connection: Connection) -> T | _OwnError:
            try:
                return fn(connection, *arguments, **named)
            except OSError as error:
                return _OwnError(error)

        result = await self._do(self.inner.run_sync(guarded))
        if isinstance(result, _OwnError):
            raise result.error
        return result


class only_its_connection(Awaitable[T]):  # noqa: N801 - awaited like a function's result
    """Await ``work``, which may wait for nothing but ``connection``.

    The same is refused in the same way as by the embedded database, where such work has no event
    loop: what is written and tested on one runs on the other.

    Raises:
        RuntimeError: it waited for something else.
    """

    def __init__(self, work: Awaitable[T], connection: PostgresqlConnection) -> None:
        self._work = work
        self._connection = connection

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._work.__await__()
        answer: Any = None
        failure: BaseException | None = None
        while True:
            try:
                waits_for = steps.send(answer) if failure is None else steps.throw(failure)
            except StopIteration as done:
                result: T = done.value
                return result
            if waits_for is not None and not self._connection.waiting:
                raise refuse_to_wait(steps, waits_for)
            answer, failure = None, None
            try:
                answer = yield waits_for
            except BaseException as error:  # noqa: BLE001 - handed on to where it was waited
                failure = error
