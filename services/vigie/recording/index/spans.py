"""Keeps rows of spans: contiguous segments of one run, extended, joined, split in place.

The same code keeps the spans of what is stored, of what was destroyed, and of what was destroyed
so long ago that the register has no entries of it any more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Delete,
    Integer,
    Row,
    Select,
    String,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    func,
    select,
    update,
)

from vigie.platform.database import insert_rows
from vigie.platform.database.connection import AsyncConnection
from vigie.recording.model import PIECE_US, Segment

SpanRow = Row[Any]
"""A row of `SPANS`, `DESTROYED_SPANS` or `FOLDED_DESTRUCTIONS`."""
_Values = dict[str, Any]


NOTHING: Final = Segment(
    object_key="",
    camera="",
    run="",
    number=0,
    start_us=0,
    end_us=0,
    media_start_ticks=0,
    media_duration_ticks=0,
    timescale=0,
    sample_count=0,
    size_bytes=0,
    sha256="",
    codec="",
    width=0,
    height=0,
    camera_clock_offset_us=None,
    header_sha256="",
)
"""A segment of which nothing is known: spans need its run, number, camera and times only."""


def destroyed_segment(row: Row[Any]) -> Segment:
    """What the register of destructions knows of a segment, as far as spans need it."""
    names = ("object_key", "camera", "run", "number", "start_us", "end_us", "sha256")
    return replace(NOTHING, **{name: getattr(row, name) for name in names})


class _Statements:
    """The statements of one table, built once."""

    def __init__(self, table: Table) -> None:
        run, first = table.c.run == bindparam("of_run"), table.c.first_number
        self.near: Final[Select[Any]] = (
            select(table)
            .where(run, first <= bindparam("below"), table.c.last_number >= bindparam("above"))
            .order_by(first)
        )
        wanted = (
            func.unnest(
                bindparam("runs", type_=ARRAY(String)),
                bindparam("aboves", type_=ARRAY(Integer)),
                bindparam("belows", type_=ARRAY(Integer)),
            )
            .table_valued("run", "above", "below")
            .render_derived()
        )
        self.near_many: Final[Select[Any]] = (
            select(table)
            .join(
                wanted,
                and_(
                    table.c.run == wanted.c.run,
                    first <= wanted.c.below,
                    table.c.last_number >= wanted.c.above,
                ),
            )
            .order_by(table.c.run, first)
        )
        row = (run, first == bindparam("of_first"))
        self.lengthen: Final[Update] = (
            update(table)
            .where(*row)
            .values(last_number=bindparam("new_last"), end_us=bindparam("new_end_us"))
        )
        longer = (
            func.unnest(
                bindparam("of_run", type_=ARRAY(String)),
                bindparam("of_first", type_=ARRAY(Integer)),
                bindparam("new_last", type_=ARRAY(Integer)),
                bindparam("new_end_us", type_=ARRAY(BigInteger)),
            )
            .table_valued("run", "first", "last", "end_us")
            .render_derived()
        )
        self.lengthen_many: Final[Update] = (
            update(table)
            .where(table.c.run == longer.c.run, first == longer.c.first)
            .values(last_number=longer.c.last, end_us=longer.c.end_us)
        )
        self.remove: Final[Delete] = delete(table).where(*row)


_statements = cache(_Statements)


@dataclass(slots=True)
class _Span:
    """A row as it is to be; ``stands`` is the row as it is, or ``None``."""

    first: int
    last: int
    start_us: int
    end_us: int
    stands: SpanRow | None


async def add_segment(connection: AsyncConnection, table: Table, segment: Segment) -> None:
    """Let the spans of ``table`` cover one more segment; see `add_segments`."""
    await add_segments(connection, table, [segment])


async def add_segments(
    connection: AsyncConnection,
    table: Table,
    segments: Sequence[Segment],
    *,
    near: Mapping[str, Sequence[SpanRow]] | None = None,
) -> None:
    """Let the spans of ``table`` cover more segments; covered already: nothing changes.

    Segments may come in any order. Rows are joined within one quarter of a day (`PIECE_US`); a
    neighbour whose time does not meet this segment's exactly is left apart
    (the checker reports it, the timeline tells the truth). ``near`` is what `near_spans` says of
    them, where that is known already.
    """
    if near is None:
        near = await near_spans(connection, table, segments)
    by_run: dict[str, list[Segment]] = {}
    for segment in segments:
        by_run.setdefault(segment.run, []).append(segment)
    change = _Change([], [], [])
    for run, ones in by_run.items():
        stands = near.get(run, ())
        spans = [_Span(r.first_number, r.last_number, r.start_us, r.end_us, r) for r in stands]
        for segment in ones:
            _join(spans, change.gone, segment)
        change.note((ones[0].camera, run), spans)
    await change.write(connection, table)


@dataclass(slots=True)
class _Change:
    """Rows to remove, to lengthen (the common case: the next segment of a run), to insert."""

    gone: list[SpanRow]
    longer: list[_Values]
    rows: list[_Values]

    def note(self, owner: tuple[str, str], spans: Sequence[_Span]) -> None:
        """Note what makes the rows of (camera, run) what ``spans`` are."""
        for span in spans:
            if span.stands is None:
                times = (span.start_us, span.end_us)
                self.rows.append(_row(owner, (span.first, span.last), times))
            elif span.stands.last_number != span.last:
                self.longer.append(_longer(owner[1], span))

    async def write(self, connection: AsyncConnection, table: Table) -> None:
        """A few statements, however many rows."""
        statements = _statements(table)
        if self.gone:
            await connection.execute(statements.remove, [_place(row) for row in self.gone])
        if len(self.longer) > 1 and connection.dialect.name == "postgresql":
            names = self.longer[0]
            arrays = {name: [values[name] for values in self.longer] for name in names}
            await connection.execute(statements.lengthen_many, arrays)
        elif self.longer:
            await connection.execute(statements.lengthen, self.longer)
        await insert_rows(connection, table, self.rows)


async def near_spans(
    connection: AsyncConnection, table: Table, segments: Iterable[Segment]
) -> dict[str, list[SpanRow]]:
    """Run -> rows that cover numbers of these segments, or lie beside them; by number."""
    bounds: dict[str, tuple[int, int]] = {}
    for segment in segments:
        low, high = bounds.get(segment.run, (segment.number, segment.number))
        bounds[segment.run] = min(low, segment.number), max(high, segment.number)
    found: dict[str, list[SpanRow]] = {}
    if connection.dialect.name == "postgresql" and len(bounds) > 1:
        wanted = {
            "runs": list(bounds),
            "aboves": [low - 1 for low, _ in bounds.values()],
            "belows": [high + 1 for _, high in bounds.values()],
        }
        for row in await connection.execute(_statements(table).near_many, wanted):
            found.setdefault(row.run, []).append(row)
        return found
    for run, (low, high) in bounds.items():
        place = {"of_run": run, "below": high + 1, "above": low - 1}
        rows = (await connection.execute(_statements(table).near, place)).all()
        if rows:
            found[run] = list(rows)
    return found


def _join(spans: list[_Span], gone: list[SpanRow], segment: Segment) -> None:
    """Let ``spans`` of the segment's run cover it too; rows that are no more go to ``gone``."""
    number = segment.number
    if any(span.first <= number <= span.last for span in spans):
        return
    new = _Span(number, number, segment.start_us, segment.end_us, None)
    for span in list(spans):
        if span.start_us // PIECE_US != segment.start_us // PIECE_US:
            continue
        before = span.last == new.first - 1 and span.end_us == new.start_us
        after = span.first == new.last + 1 and span.start_us == new.end_us
        if not (before or after):
            continue
        spans.remove(span)
        if before:
            new.first, new.start_us, new.stands = span.first, span.start_us, span.stands
        else:
            new.last, new.end_us = span.last, span.end_us
            if span.stands is not None:
                gone.append(span.stands)
    spans.append(new)
    spans.sort(key=lambda span: span.first)


def _longer(run: str, span: _Span) -> _Values:
    """The common case, the next segment of a run, lengthens its last row."""
    return {
        "of_run": run,
        "of_first": span.first,
        "new_last": span.last,
        "new_end_us": span.end_us,
    }


async def remove_segment(connection: AsyncConnection, table: Table, segment: Segment) -> None:
    """Let the spans of ``table`` no longer cover a segment; a row is trimmed or split."""
    statements = _statements(table)
    place = {"of_run": segment.run, "below": segment.number, "above": segment.number}
    row = (await connection.execute(statements.near, place)).first()
    if row is None:
        return
    await connection.execute(statements.remove, _place(row))
    rest: list[_Values] = []
    if row.first_number < segment.number:
        numbers = (row.first_number, segment.number - 1)
        rest.append(_row((row.camera, row.run), numbers, (row.start_us, segment.start_us)))
    if row.last_number > segment.number:
        numbers = (segment.number + 1, row.last_number)
        rest.append(_row((row.camera, row.run), numbers, (segment.end_us, row.end_us)))
    await insert_rows(connection, table, rest)


def _row(owner: tuple[str, str], numbers: tuple[int, int], times: tuple[int, int]) -> _Values:
    """A row: (camera, run), (first, last number), (start, end)."""
    return {
        "run": owner[1],
        "first_number": numbers[0],
        "last_number": numbers[1],
        "camera": owner[0],
        "start_us": times[0],
        "end_us": times[1],
    }


def _place(row: SpanRow) -> _Values:
    return {"of_run": row.run, "of_first": row.first_number}
