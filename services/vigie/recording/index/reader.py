"""How the index is read. Every query is bounded by what it answers, not by what is stored."""

from collections.abc import Callable, Sequence
from enum import IntEnum
from operator import attrgetter
from typing import Any, Final, TypeVar

from sqlalchemy import (
    BigInteger,
    CompoundSelect,
    Integer,
    Select,
    String,
    Table,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)

from vigie.platform.database.connection import AsyncConnection
from vigie.recording.index import outages
from vigie.recording.index.convert import camera_state_from_row, segment_from_row, terms
from vigie.recording.index.days import LAST_INSTANT_US
from vigie.recording.index.tables import (
    CAMERA_STATES,
    DESTROYED_SPANS,
    OUTAGES,
    SEGMENTS,
    SPANS,
)
from vigie.recording.model import (
    PIECE_LIMIT_US,
    SEGMENT_LIMIT_US,
    CameraState,
    Cause,
    Demand,
    Lifecycle,
    Outage,
    Segment,
    Span,
)
from vigie.recording.timeline.algebra import Facts
from vigie.recording.timeline.intervals import Interval

ROW_LIMIT = 4000
"""Rows of one kind that are read at a time; a window with more is read in several steps."""


class _Kind(IntEnum):
    """What a row of the one statement is."""

    SPAN = 1
    DESTROYED = 2
    OUTAGE = 3
    STATE = 4


def _facts_statement() -> CompoundSelect[Any]:
    """Spans, destroyed spans, outages and states of a camera and a window in one statement.

    Every statement is a way to the database and back, and building one costs more than running
    it: this one is built once, and takes the window as parameters.
    """
    limit = bindparam("row_limit", type_=Integer)
    states = CAMERA_STATES
    since_us = case(
        (states.c.told_us > states.c.effective_us, states.c.told_us), else_=states.c.effective_us
    )
    acted_upon = (
        select(func.max(states.c.revision))
        .where(states.c.camera == bindparam("camera"), since_us <= bindparam("start"))
        .scalar_subquery()
    )
    parts: list[Select[Any]] = [
        _overlapping(SPANS, _Kind.SPAN)
        .add_columns(literal(0).label("number"), SPANS.c.run, literal(""))
        .limit(limit),
        _overlapping(DESTROYED_SPANS, _Kind.DESTROYED)
        .add_columns(literal(0), DESTROYED_SPANS.c.run, literal(""))
        .limit(limit),
        _overlapping(OUTAGES, _Kind.OUTAGE)
        .add_columns(OUTAGES.c.cause, OUTAGES.c.detail, cast(OUTAGES.c.open, String))
        .limit(limit),
        select(
            literal(int(_Kind.STATE)),
            since_us.label("since_us"),
            states.c.revision,
            states.c.lifecycle,
            literal(""),
            states.c.authorisations,
        ).where(
            states.c.camera == bindparam("camera"),
            states.c.revision >= func.coalesce(acted_upon, 0),
            since_us < bindparam("end"),
        ),
    ]
    names = ("kind", "start_us", "end_us", "number", "text", "more")
    selected = []
    for part in parts:
        table = part.subquery()
        columns = zip(table.columns, names, strict=True)
        selected.append(select(*(column.label(name) for column, name in columns)))
    return union_all(*selected)


def _overlapping(table: Table, kind: _Kind) -> Select[Any]:
    """Rows that overlap a window, by start."""
    after = bindparam("start", type_=BigInteger)
    overlaps = table.c.end_us > after
    if table is OUTAGES:
        # An open outage may be stretched to now by a heartbeat: it overlaps whatever follows.
        overlaps = or_(overlaps, table.c.open == 1)
    return (
        select(literal(int(kind)).label("kind"), table.c.start_us, table.c.end_us)
        .where(
            table.c.camera == bindparam("camera"),
            table.c.start_us > after - PIECE_LIMIT_US,
            table.c.start_us < bindparam("end"),
            overlaps,
        )
        .order_by(table.c.start_us)
    )


_FACTS: Final = _facts_statement()


async def _rows(
    connection: AsyncConnection, camera: str, window: Interval, row_limit: int
) -> dict[_Kind, list[Any]]:
    """Rows of each kind, one more than ``row_limit`` where there are more."""
    parameters = {
        "camera": camera,
        "start": window.start_us,
        "end": window.end_us,
        "row_limit": row_limit + 1,
    }
    rows: dict[_Kind, list[Any]] = {kind: [] for kind in _Kind}
    for row in await connection.execute(_FACTS, parameters):
        rows[_Kind(row.kind)].append(row)
    return rows


async def read_facts(
    connection: AsyncConnection,
    camera: str,
    window: Interval,
    *,
    row_limit: int = ROW_LIMIT,
    tail_us: int | None,
) -> tuple[Facts, int]:
    """All facts about the beginning of a window, in a bounded number of rows and one statement.

    Args:
        connection: a reading.
        camera: its identifier.
        window: what is asked about.
        row_limit: rows of one kind that are read at most.
        tail_us: now, where `Facts.last_stored_us` is wanted (for the live tail); else ``None``.

    Returns:
        The facts (without `Facts.live`), and up to which instant they are complete: the end of
        the window, or earlier when there are more than ``row_limit`` rows of one kind.
    """
    rows = await _rows(connection, camera, window, row_limit)
    until_us = window.end_us
    for kind in (_Kind.SPAN, _Kind.DESTROYED, _Kind.OUTAGE):
        rows[kind].sort(key=lambda row: row.start_us)
        if len(rows[kind]) > row_limit:
            # Everything that starts before the row too many is known.
            until_us = min(until_us, rows[kind][-1].start_us)
    if until_us <= window.start_us:
        more = row_limit * 4
        return await read_facts(connection, camera, window, row_limit=more, tail_us=tail_us)
    rows = {kind: [r for r in rows[kind] if r.start_us < until_us] for kind in rows}
    demands = [
        Demand(row.start_us, Lifecycle(row.number), terms(row.more))
        for row in sorted(rows[_Kind.STATE], key=lambda row: row.end_us)
    ]
    facts = Facts(
        spans=[Span(r.text, r.start_us, r.end_us) for r in rows[_Kind.SPAN]],
        destroyed=[Span(r.text, r.start_us, r.end_us) for r in rows[_Kind.DESTROYED]],
        demands=in_order(demands, attrgetter("since_us")),
        outages=await _outages(connection, camera, rows[_Kind.OUTAGE]),
        last_stored_us=(
            None if tail_us is None else await last_stored_us(connection, camera, before_us=tail_us)
        ),
    )
    return facts, until_us


async def _outages(connection: AsyncConnection, camera: str, rows: Sequence[Any]) -> list[Outage]:
    jumps = [row.start_us for row in rows if row.number == Cause.CLOCK_JUMP]
    back = await outages.where_clocks_were_back(connection, camera, jumps)
    ends = [min(row.end_us, back.get(row.start_us, row.end_us)) for row in rows]
    return [
        Outage(row.start_us, end_us, Cause(row.number), row.text, open=row.more == "1")
        for row, end_us in zip(rows, ends, strict=True)
    ]


async def camera_states(
    connection: AsyncConnection, camera: str, window: Interval
) -> list[CameraState]:
    """States in force in a window, by time; the first one may have begun before it."""
    found = await connection.execute(_STATES, _bounds(camera, window))
    return in_order([camera_state_from_row(row) for row in found], _EFFECTIVE_US)


def _states() -> Select[Any]:
    table = CAMERA_STATES
    in_force = (
        select(func.max(table.c.revision))
        .where(table.c.camera == bindparam("camera"), table.c.effective_us <= bindparam("start"))
        .scalar_subquery()
    )
    return (
        select(table)
        .where(
            table.c.camera == bindparam("camera"),
            table.c.revision >= func.coalesce(in_force, 0),
            table.c.effective_us < bindparam("end"),
        )
        .order_by(table.c.revision)
    )


_STATES: Final = _states()


def _bounds(camera: str, window: Interval) -> dict[str, Any]:
    return {"camera": camera, "start": window.start_us, "end": window.end_us}


_EFFECTIVE_US: Final = attrgetter("effective_us")
_T = TypeVar("_T")


def in_order(states: Sequence[_T], instant_us: Callable[[_T], int]) -> list[_T]:
    """States by revision with times (``instant_us`` of each) that never go back.

    The revision is the order of decisions. A wall clock that was set back gives a later decision
    an earlier time: the earlier decision then never was in force as far as time can tell.
    """
    kept: list[_T] = []
    for state in states:
        while kept and instant_us(kept[-1]) >= instant_us(state):
            kept.pop()
        kept.append(state)
    return kept


async def last_stored_us(
    connection: AsyncConnection, camera: str, *, before_us: int = LAST_INSTANT_US
) -> int | None:
    """End of the newest stored footage of a camera, destroyed footage not counted.

    Args:
        connection: a reading.
        camera: its identifier.
        before_us: footage that begins later does not count. A clock that was ahead leaves some
            ahead of now; what is on its way now is older than that, and still on its way.
    """
    parameters = {"camera": camera, "before": before_us}
    value: int | None = await connection.scalar(_LAST_STORED, parameters)
    return value


def _last_stored() -> Select[tuple[int]]:
    of_camera = (SPANS.c.camera == bindparam("camera"), SPANS.c.start_us <= bindparam("before"))
    newest = (
        select(SPANS.c.start_us)
        .where(*of_camera)
        .order_by(SPANS.c.start_us.desc())
        .limit(1)
        .scalar_subquery()
    )
    # A row is never longer than the limit: the greatest end is among these few.
    return select(func.max(SPANS.c.end_us)).where(
        *of_camera, SPANS.c.start_us > newest - PIECE_LIMIT_US
    )


_LAST_STORED: Final = _last_stored()


async def segments_in(
    connection: AsyncConnection,
    camera: str,
    window: Interval,
    *,
    limit: int,
    after: tuple[int, str] | None = None,
) -> list[Segment]:
    """Segments overlapping a window by start and key, those being destroyed left out.

    Args:
        connection: a reading.
        camera: camera identifier.
        window: at least one microsecond.
        limit: greatest number of segments.
        after: start and key of the last segment already known.
    """
    table = SEGMENTS
    query = select(table).where(
        table.c.camera == camera,
        table.c.start_us > window.start_us - SEGMENT_LIMIT_US,
        table.c.start_us < window.end_us,
        table.c.end_us > window.start_us,
        table.c.destroying_us.is_(None),
    )
    if after is not None:
        start_us, key = after
        query = query.where(
            or_(
                table.c.start_us > start_us,
                and_(table.c.start_us == start_us, table.c.object_key > key),
            )
        )
    query = query.order_by(table.c.start_us, table.c.object_key).limit(limit)
    return [segment_from_row(row) for row in await connection.execute(query)]


async def run_segments(
    connection: AsyncConnection, run: str, window: Interval, *, limit: int
) -> list[Segment]:
    """Segments of one run overlapping a window, by number."""
    bounds = {"run": run, "start": window.start_us, "end": window.end_us, "most": limit}
    return [segment_from_row(row) for row in await connection.execute(_RUN_SEGMENTS, bounds)]


def _run_segments() -> Select[Any]:
    # A run may last for weeks; its rows of spans are short, and say where to begin.
    first = (
        select(func.max(SPANS.c.first_number))
        .where(SPANS.c.run == bindparam("run"), SPANS.c.start_us <= bindparam("start"))
        .scalar_subquery()
    )
    return (
        select(SEGMENTS)
        .where(
            SEGMENTS.c.run == bindparam("run"),
            SEGMENTS.c.number >= func.coalesce(first, 0),
            # No segment is longer: the days of the index outside of the window are not looked at.
            SEGMENTS.c.start_us > bindparam("start", type_=BigInteger) - SEGMENT_LIMIT_US,
            SEGMENTS.c.start_us < bindparam("end"),
            SEGMENTS.c.end_us > bindparam("start"),
            SEGMENTS.c.destroying_us.is_(None),
        )
        .order_by(SEGMENTS.c.number)
        .limit(bindparam("most", type_=Integer))
    )


_RUN_SEGMENTS: Final = _run_segments()


async def camera_known(connection: AsyncConnection, camera: str) -> bool:
    """Whether the registry has ever told of a camera, or footage of it was indexed."""
    for table in (CAMERA_STATES, SPANS, DESTROYED_SPANS):
        query = select(table.c.camera).where(table.c.camera == camera).limit(1)
        if (await connection.execute(query)).first() is not None:
            return True
    return False


async def current_zones(connection: AsyncConnection) -> dict[str, str]:
    """Camera -> zone it stands in now, for every camera the registry has told of."""
    table = CAMERA_STATES
    newest = (
        select(table.c.camera, func.max(table.c.revision).label("revision"))
        .group_by(table.c.camera)
        .subquery()
    )
    query = select(table.c.camera, table.c.zone).join(
        newest,
        and_(table.c.camera == newest.c.camera, table.c.revision == newest.c.revision),
    )
    return {row.camera: row.zone for row in await connection.execute(query)}


async def first_state(connection: AsyncConnection, camera: str) -> list[CameraState]:
    """The first state the registry told of a camera; empty when it never did."""
    query = (
        select(CAMERA_STATES)
        .where(CAMERA_STATES.c.camera == camera)
        .order_by(CAMERA_STATES.c.revision)
        .limit(1)
    )
    return [camera_state_from_row(row) for row in await connection.execute(query)]
