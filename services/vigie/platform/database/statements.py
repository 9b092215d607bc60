"""Statements that differ between SQLite and PostgreSQL, written once.

Advice for portable SQL in contexts:

- types: ``String`` (no length needed by either), ``BigInteger`` for instants and sizes,
  ``LargeBinary`` for bytes, ``Boolean``; JSON as ``Text`` written by the program; no ENUM types;
- keys: ``BigInteger().with_variant(Integer, "sqlite")`` for an autoincrement primary key
  (SQLite only increments an ``INTEGER PRIMARY KEY``);
- ``RETURNING`` works on both; ``ON CONFLICT`` only through this module;
- text compares by bytes on SQLite; declare ``String(collation="C")`` variants on PostgreSQL
  where order matters;
- a statement that runs often is built once, at module level, with ``bindparam``: building one and
  finding it in the cache of compiled statements costs several times what running it costs;
- never more than 900 bound values in one ``IN`` (SQLite's old limit is 999): see `in_chunks`;
- a list of values that is looked up often: `one_of`, so that PostgreSQL has one statement for
  lists of all lengths;
- sums of integers are NUMERIC on PostgreSQL: cast them to ``BigInteger``.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import ARRAY, ColumnElement, Insert, Table, any_, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from vigie.platform.database.connection import AsyncConnection

T = TypeVar("T")
MAX_BOUND_VALUES = 900


async def upsert(
    connection: AsyncConnection,
    table: Table,
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    update: Sequence[str] | None = None,
) -> None:
    """Insert rows; where a row with the same ``key`` stands, change its other columns instead.

    Args:
        connection: an open transaction.
        table: the table; ``key`` must be its primary key or have a unique constraint.
        values: one row or several with the same columns.
        key: columns that identify a row.
        update: columns to change on conflict; ``None``: all given columns but the key.
    """
    rows = [values] if isinstance(values, Mapping) else list(values)
    if not rows:
        return
    changed = list(update) if update is not None else [name for name in rows[0] if name not in key]
    if not changed:
        await insert_if_absent(connection, table, rows, key=key)
        return
    statement = _upsert(connection.dialect.name, table, tuple(key), tuple(changed))
    await connection.execute(statement, [dict(row) for row in rows])


async def insert_if_absent(
    connection: AsyncConnection,
    table: Table,
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
) -> int:
    """Insert rows whose ``key`` is not there yet; the others stay untouched.

    Returns:
        How many rows were inserted.
    """
    rows = [values] if isinstance(values, Mapping) else list(values)
    inserted = 0
    statement = _insert_if_absent(connection.dialect.name, table, tuple(key))
    for row in rows:
        result = await connection.execute(statement, dict(row))
        inserted += max(result.rowcount, 0)
    return inserted


async def insert_rows(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert many rows with the same columns: on PostgreSQL in one statement of arrays.

    One execution for each row costs the server and this program about half as much again.
    """
    if not rows:
        return
    if connection.dialect.name != "postgresql" or len(rows) == 1:
        await connection.execute(_plain_insert(table), list(rows))
        return
    columns = tuple(rows[0])
    arrays = {name: [row[name] for row in rows] for name in columns}
    await connection.execute(_insert_arrays(table, columns), arrays)


@lru_cache(maxsize=64)
def _plain_insert(table: Table) -> Insert:
    return table.insert()


@lru_cache(maxsize=64)
def _insert_arrays(table: Table, columns: tuple[str, ...]) -> Insert:
    arrays = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in columns]
    given = func.unnest(*arrays).table_valued(*columns).render_derived()
    chosen = select(*(given.c[name] for name in columns))
    return table.insert().from_select(list(columns), chosen)


def one_of(
    dialect: str, column: ColumnElement[T], name: str, *, is_one: bool = False
) -> ColumnElement[bool]:
    """Whether ``column`` is among the list that is bound as ``name``.

    ``is_one``: a single value is bound, no list; on SQLite, where a list is written out anew each
    time, that is several times cheaper.
    """
    if is_one:
        return column == bindparam(name)
    if dialect == "postgresql":
        return column == any_(bindparam(name, type_=ARRAY(column.type)))
    return column.in_(bindparam(name, expanding=True))


def in_chunks(items: Sequence[T], size: int = MAX_BOUND_VALUES) -> Iterator[Sequence[T]]:
    """Cut ``items`` into pieces that fit the limit of bound values."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


@lru_cache(maxsize=256)
def _upsert(
    dialect: str, table: Table, key: tuple[str, ...], changed: tuple[str, ...]
) -> sqlite.Insert | postgresql.Insert:
    insert = _insert(dialect, table)
    return insert.on_conflict_do_update(
        index_elements=[table.c[name] for name in key],
        set_={name: insert.excluded[name] for name in changed},
    )


@lru_cache(maxsize=256)
def _insert_if_absent(
    dialect: str, table: Table, key: tuple[str, ...]
) -> sqlite.Insert | postgresql.Insert:
    columns = [table.c[name] for name in key]
    return _insert(dialect, table).on_conflict_do_nothing(index_elements=columns)


def _insert(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    if dialect == "sqlite":
        return sqlite.insert(table)
    if dialect == "postgresql":
        return postgresql.insert(table)
    raise ValueError(f"no upsert is known for the dialect {dialect}")
