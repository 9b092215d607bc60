"""How the index is read. Every query is bounded by what it answers, not by what is stored."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from vigie.recording.index.convert import camera_state_from_row, segment_from_row
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
    Outage,
    Segment,
    Span,
)
from vigie.recording.timeline.algebra import Facts
from vigie.recording.timeline.intervals import Interval

ROW_LIMIT = 4000
"""Rows of one kind that are read at a time; a window with more is read in several steps."""


async def read_facts(
    connection: AsyncConnection, camera: str, window: Interval, *, row_limit: int = ROW_LIMIT
) -> tuple[Facts, int]:
    """All facts about the beginning of a window, in a bounded number of rows.

    Returns:
        The facts (without `Facts.live`), and up to which instant they are complete: the end of
        the window, or earlier when there are more than ``row_limit`` rows of one kind.
    """
    spans, spans_until = await _spans(connection, SPANS, camera, window, row_limit)
    gone, gone_until = await _spans(connection, DESTROYED_SPANS, camera, window, row_limit)
    outages, outages_until = await _outages(connection, camera, window, row_limit)
    until_us = min(spans_until, gone_until, outages_until)
    facts = Facts(
        spans=spans,
        destroyed=gone,
        states=await camera_states(connection, camera, Interval(window.start_us, until_us)),
        outages=outages,
        last_stored_us=await last_stored_us(connection, camera),
    )
    return facts, until_us


async def _spans(
    connection: AsyncConnection, table: Table, camera: str, window: Interval, limit: int
) -> tuple[list[Span], int]:
    columns = (table.c.run, table.c.start_us, table.c.end_us)
    rows, until_us = await _overlapping(connection, columns, camera, window, limit)
    return [Span(row.run, row.start_us, row.end_us) for row in rows], until_us


async def _outages(
    connection: AsyncConnection, camera: str, window: Interval, limit: int
) -> tuple[list[Outage], int]:
    columns = (
        OUTAGES.c.start_us,
        OUTAGES.c.end_us,
        OUTAGES.c.cause,
        OUTAGES.c.detail,
        OUTAGES.c.open,
    )
    rows, until_us = await _overlapping(connection, columns, camera, window, limit)
    outages = [
        Outage(row.start_us, row.end_us, Cause(row.cause), row.detail, open=bool(row.open))
        for row in rows
    ]
    return outages, until_us


async def _overlapping(
    connection: AsyncConnection,
    columns: Sequence[Any],
    camera: str,
    window: Interval,
    limit: int,
) -> tuple[Sequence[Any], int]:
    """Rows that overlap a window by start, at most ``limit``; and until where they are all."""
    table: Table = columns[0].table
    after = window.start_us
    if table is OUTAGES:
        # An open outage may be stretched to now by a heartbeat: it overlaps whatever follows.
        overlaps = or_(table.c.end_us > after, table.c.open == 1)
    else:
        overlaps = table.c.end_us > after
    query = (
        select(*columns)
        .where(
            table.c.camera == camera,
            table.c.start_us > after - PIECE_LIMIT_US,
            table.c.start_us < window.end_us,
            overlaps,
        )
        .order_by(table.c.start_us)
        .limit(limit + 1)
    )
    rows = (await connection.execute(query)).all()
    if len(rows) <= limit:
        return rows, window.end_us
    until_us = rows[-1].start_us
    if until_us > after:
        return rows[:-1], until_us
    return await _overlapping(connection, columns, camera, window, limit * 4)


async def camera_states(
    connection: AsyncConnection, camera: str, window: Interval
) -> list[CameraState]:
    """States in force in a window, by time; the first one may have begun before it."""
    table = CAMERA_STATES
    in_force = (
        select(func.max(table.c.revision))
        .where(table.c.camera == camera, table.c.effective_us <= window.start_us)
        .scalar_subquery()
    )
    query = (
        select(table)
        .where(
            table.c.camera == camera,
            table.c.revision >= func.coalesce(in_force, 0),
            table.c.effective_us < window.end_us,
        )
        .order_by(table.c.revision)
    )
    states = [camera_state_from_row(row) for row in await connection.execute(query)]
    return in_order(states)


def in_order(states: Sequence[CameraState]) -> list[CameraState]:
    """States by revision with times that never go back.

    The revision is the order of decisions. A wall clock that was set back gives a later decision
    an earlier time: the earlier decision then never was in force as far as time can tell.
    """
    kept: list[CameraState] = []
    for state in states:
        while kept and kept[-1].effective_us >= state.effective_us:
            kept.pop()
        kept.append(state)
    return kept


async def last_stored_us(connection: AsyncConnection, camera: str) -> int | None:
    """End of the newest stored footage of a camera, destroyed footage not counted."""
    newest = (
        select(SPANS.c.start_us)
        .where(SPANS.c.camera == camera)
        .order_by(SPANS.c.start_us.desc())
        .limit(1)
        .scalar_subquery()
    )
    # A row is never longer than the limit: the greatest end is among these few.
    query = select(func.max(SPANS.c.end_us)).where(
        SPANS.c.camera == camera, SPANS.c.start_us > newest - PIECE_LIMIT_US
    )
    value: int | None = (await connection.execute(query)).scalar()
    return value


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
    table = SEGMENTS
    query = (
        select(table)
        .where(
            table.c.run == run,
            table.c.start_us < window.end_us,
            table.c.end_us > window.start_us,
            table.c.destroying_us.is_(None),
        )
        .order_by(table.c.number)
        .limit(limit)
    )
    return [segment_from_row(row) for row in await connection.execute(query)]


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
