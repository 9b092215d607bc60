"""A connection as contexts see it: the few methods that rules need.

SQLAlchemy's own `AsyncConnection` has them too, so a database behind an asyncio driver can hand
that out. It is not imported here: with it come SQLAlchemy's ORM and six megabytes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, TypeVarTuple, overload

from sqlalchemy.engine import Connection, CursorResult, Dialect
from sqlalchemy.engine.result import ScalarResult
from sqlalchemy.sql import Executable
from sqlalchemy.sql.selectable import TypedReturnsRows

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
P = ParamSpec("P")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class AsyncConnection(Protocol):
    """An open transaction, or a reading."""

    @property
    def dialect(self) -> Dialect:
        """Which SQL is spoken."""
        ...

    # SQLAlchemy's own overloads overlap in the same way.
    @overload
    async def execute(  # type: ignore[overload-overlap]
        self, statement: TypedReturnsRows[*Ts], parameters: Parameters | None = None
    ) -> CursorResult[*Ts]: ...
    @overload
    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]: ...
    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """Run a statement, for each of several parameters when they are a sequence."""
        ...

    async def exec_driver_sql(self, statement: str) -> CursorResult[Any]:
        """Run SQL as it is."""
        ...

    async def scalar(self, statement: Executable, parameters: Parameters | None = None) -> Any:
        """The first column of the first row, or ``None``."""
        ...

    async def scalars(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> ScalarResult[Any]:
        """The first column of every row."""
        ...

    async def run_sync(
        self,
        fn: Callable[Concatenate[Connection, P], T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """Call ``fn`` with the synchronous connection."""
        ...
