"""Statements that differ between SQLite and PostgreSQL, written once.

Advice for portable SQL in contexts:

- types: ``String`` (no length needed by either), ``BigInteger`` for instants and sizes,
  ``LargeBinary`` for bytes, ``Boolean``; JSON as ``Text`` written by the program; no ENUM types;
- keys: ``BigInteger().with_variant(Integer, "sqlite")`` for an autoincrement primary key
  (SQLite only increments an ``INTEGER PRIMARY KEY``);
- ``RETURNING`` works on both; ``ON CONFLICT`` only through this module;
- text compares by bytes on SQLite; declare ``String(collation="C")`` variants on PostgreSQL
  where order matters;
- never more than 900 bound values in one ``IN`` (SQLite's old limit is 999): see `in_chunks`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

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
    insert = _insert(connection, table)
    statement = insert.on_conflict_do_update(
        index_elements=[table.c[name] for name in key],
        set_={name: insert.excluded[name] for name in changed},
    )
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
    statement = _insert(connection, table).on_conflict_do_nothing(
        index_elements=[table.c[name] for name in key]
    )
    for row in rows:
        result = await connection.execute(statement, dict(row))
        inserted += max(result.rowcount, 0)
    return inserted


def in_chunks(items: Sequence[T], size: int = MAX_BOUND_VALUES) -> Iterator[Sequence[T]]:
    """Cut ``items`` into pieces that fit the limit of bound values."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _insert(connection: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    name = connection.dialect.name
    if name == "sqlite":
        return sqlite.insert(table)
    if name == "postgresql":
        return postgresql.insert(table)
    raise ValueError(f"no upsert is known for the dialect {name}")
