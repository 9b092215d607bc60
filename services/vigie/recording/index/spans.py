"""Keeps rows of spans: contiguous segments of one run, extended, joined, split in place.

The same code keeps the spans of what is stored and of what was destroyed.
"""

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Delete,
    Insert,
    Row,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from vigie.platform.database.connection import AsyncConnection
from vigie.recording.model import PIECE_US, Segment

_SpanRow = Row[Any]


class _Statements:
    """The statements of one table, built once."""

    def __init__(self, table: Table) -> None:
        run, first = table.c.run == bindparam("of_run"), table.c.first_number
        self.near: Final[Select[Any]] = (
            select(table)
            .where(run, first <= bindparam("below"), table.c.last_number >= bindparam("above"))
            .order_by(first)
        )
        row = (run, first == bindparam("of_first"))
        self.lengthen: Final[Update] = (
            update(table)
            .where(*row)
            .values(last_number=bindparam("new_last"), end_us=bindparam("new_end_us"))
        )
        self.remove: Final[Delete] = delete(table).where(*row)
        self.insert: Final[Insert] = insert(table)


_statements = cache(_Statements)


async def add_segment(connection: AsyncConnection, table: Table, segment: Segment) -> None:
    """Let the spans of ``table`` cover one more segment; covered already: nothing changes.

    Segments may come in any order. Rows are joined within one quarter of a day (`PIECE_US`); a
    neighbour whose time does not meet this segment's exactly is left apart
    (the checker reports it, the timeline tells the truth).
    """
    near = (
        await connection.execute(
            _statements(table).near,
            {"of_run": segment.run, "below": segment.number + 1, "above": segment.number - 1},
        )
    ).all()
    if any(row.first_number <= segment.number <= row.last_number for row in near):
        return
    first, last, start, end = segment.number, segment.number, segment.start_us, segment.end_us
    joined: list[_SpanRow] = []
    for row in near:
        if row.start_us // PIECE_US != segment.start_us // PIECE_US:
            continue
        before = row.last_number == first - 1 and row.end_us == start
        after = row.first_number == last + 1 and row.start_us == end
        if before or after:
            joined.append(row)
            first, last = min(first, row.first_number), max(last, row.last_number)
            start, end = min(start, row.start_us), max(end, row.end_us)
    if len(joined) == 1 and joined[0].first_number == first:
        # The common case: the next segment of a run lengthens its last row, in one statement.
        await connection.execute(
            _statements(table).lengthen,
            {"of_run": segment.run, "of_first": first, "new_last": last, "new_end_us": end},
        )
        return
    for row in joined:
        await _remove(connection, table, row)
    await _insert(connection, table, (segment.camera, segment.run), (first, last), (start, end))


async def remove_segment(connection: AsyncConnection, table: Table, segment: Segment) -> None:
    """Let the spans of ``table`` no longer cover a segment; a row is trimmed or split."""
    row = (
        await connection.execute(
            _statements(table).near,
            {"of_run": segment.run, "below": segment.number, "above": segment.number},
        )
    ).first()
    if row is None:
        return
    await _remove(connection, table, row)
    if row.first_number < segment.number:
        numbers = (row.first_number, segment.number - 1)
        times = (row.start_us, segment.start_us)
        await _insert(connection, table, (row.camera, row.run), numbers, times)
    if row.last_number > segment.number:
        numbers = (segment.number + 1, row.last_number)
        times = (segment.end_us, row.end_us)
        await _insert(connection, table, (row.camera, row.run), numbers, times)


async def _insert(
    connection: AsyncConnection,
    table: Table,
    owner: tuple[str, str],
    numbers: tuple[int, int],
    times: tuple[int, int],
) -> None:
    """Insert a row: (camera, run), (first, last number), (start, end)."""
    await connection.execute(
        _statements(table).insert,
        {
            "run": owner[1],
            "first_number": numbers[0],
            "last_number": numbers[1],
            "camera": owner[0],
            "start_us": times[0],
            "end_us": times[1],
        },
    )


async def _remove(connection: AsyncConnection, table: Table, row: _SpanRow) -> None:
    await connection.execute(
        _statements(table).remove, {"of_run": row.run, "of_first": row.first_number}
    )
