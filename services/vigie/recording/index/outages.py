"""Keeps outages in rows of bounded length; an update of an outage replaces its rows."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from sqlalchemy import Select, Table, and_, bindparam, delete, func, insert, select

from vigie.ingest.v1 import events_pb2
from vigie.platform.database.connection import AsyncConnection
from vigie.recording.index.convert import EventUnknownError
from vigie.recording.index.tables import DESTROYED_SPANS, OUTAGES, SPANS
from vigie.recording.model import PIECE_US, Cause

_KNOWN: Final = select(
    func.min(OUTAGES.c.piece_us),
    func.max(OUTAGES.c.piece_us),
    func.min(OUTAGES.c.cause),
    func.max(OUTAGES.c.cause),
).where(OUTAGES.c.outage == bindparam("of_outage"))
_FORGET: Final = delete(OUTAGES).where(
    OUTAGES.c.outage == bindparam("of_outage"), OUTAGES.c.piece_us >= bindparam("from_us")
)
_INSERT: Final = insert(OUTAGES)


class OutageInvalidError(ValueError):
    """An outage that says nothing usable; its event is quarantined."""


def pieces(start_us: int, end_us: int) -> list[tuple[int, int]]:
    """Cut an interval into pieces of at most `PIECE_US`, counted from its start."""
    cuts = [*range(start_us, end_us, PIECE_US), end_us]
    return list(pairwise(cuts))


async def put_outage(connection: AsyncConnection, camera: str, outage: events_pb2.Outage) -> None:
    """Write an outage as it is now known; the same event again changes nothing.

    Raises:
        OutageInvalidError: no cause, or an end before the start.
        EventUnknownError: a cause that this version does not know.
    """
    lasting = outage.end_us == 0
    end_us = outage.known_until_us if lasting else outage.end_us
    if outage.start_us <= 0 or (not lasting and end_us < outage.start_us):
        raise OutageInvalidError(f"outage {outage.outage}: from {outage.start_us} to {end_us}")
    try:
        cause = Cause(outage.cause)
    except ValueError as error:
        kind = EventUnknownError if outage.cause else OutageInvalidError
        raise kind(f"outage {outage.outage}: cause {outage.cause}") from error
    if lasting and await _known_better(connection, outage, end_us):
        return
    kept_until_us = await _forget_what_changes(connection, outage, end_us)
    # An outage that has only just begun is vouched for up to its start: an empty row keeps it,
    # so that a heartbeat can stretch it.
    rows = pieces(outage.start_us, end_us) or ([(outage.start_us, outage.start_us)] * lasting)
    for start, end in rows:
        if start < kept_until_us:
            continue
        await connection.execute(
            _INSERT,
            {
                "outage": outage.outage,
                "piece_us": start,
                "camera": camera,
                "start_us": start,
                "end_us": end,
                "cause": int(cause),
                "detail": outage.detail,
                "open": int(lasting and end == rows[-1][1]),
            },
        )


async def _known_better(
    connection: AsyncConnection, outage: events_pb2.Outage, end_us: int
) -> bool:
    """Whether the index has a newer word already: the outage closed, or vouched for further.

    An event that comes out of quarantine comes after those that followed it.
    """
    query = select(func.max(OUTAGES.c.open), func.max(OUTAGES.c.end_us)).where(
        OUTAGES.c.outage == outage.outage, OUTAGES.c.cause == outage.cause
    )
    still_open, known_us = (await connection.execute(query)).one()
    return known_us is not None and (not still_open or known_us > end_us)


async def _forget_what_changes(
    connection: AsyncConnection, outage: events_pb2.Outage, end_us: int
) -> int:
    """Remove the rows that an update changes; the instant up to which rows were kept.

    Heartbeats stretch the last piece only: an outage of weeks is not written anew each time.
    """
    known = (await connection.execute(_KNOWN, {"of_outage": outage.outage})).one()
    first_us, last_us, *causes = known
    stretched = first_us == outage.start_us and set(causes) == {outage.cause} and last_us < end_us
    kept_until_us = int(last_us) if stretched else outage.start_us
    from_us = kept_until_us if stretched else -(1 << 63)
    await connection.execute(_FORGET, {"of_outage": outage.outage, "from_us": from_us})
    return kept_until_us


async def where_clocks_were_back(
    connection: AsyncConnection, camera: str, starts: Sequence[int]
) -> dict[int, int]:
    """From where on rows of outages `CLOCK_JUMP` say nothing any more.

    A clock that is set ahead leaves time out, and its outage covers that. When the clock comes back
    before that time is over, a run begins within it: else the outage would name whatever interrupts
    the camera until then.

    Args:
        connection: a reading.
        camera: its identifier.
        starts: where such rows start.

    Returns:
        Start of a row -> where a run begins within its outage, not before the row; only of those
        in which one does.
    """
    found: dict[int, int] = {}
    for resumed in _RESUMED if starts else ():
        asked = {"of_camera": camera, "starts": list(starts)}
        for row in await connection.execute(resumed, asked):
            back_us = max(row.start_us, row.first_us)
            found[row.start_us] = min(back_us, found.get(row.start_us, back_us))
    return found


def _resumed(spans: Table) -> Select[tuple[int, int]]:
    piece = OUTAGES.alias()
    begins = and_(
        spans.c.camera == OUTAGES.c.camera,
        spans.c.first_number == 0,
        spans.c.start_us > piece.c.start_us,
        spans.c.start_us < OUTAGES.c.end_us,
    )
    return (
        select(OUTAGES.c.start_us, func.min(spans.c.start_us).label("first_us"))
        .join(piece, piece.c.outage == OUTAGES.c.outage)
        .join(spans, begins)
        .where(
            OUTAGES.c.camera == bindparam("of_camera"),
            OUTAGES.c.cause == int(Cause.CLOCK_JUMP),
            OUTAGES.c.start_us.in_(bindparam("starts", expanding=True)),
        )
        .group_by(OUTAGES.c.start_us)
    )


_RESUMED: Final = (_resumed(SPANS), _resumed(DESTROYED_SPANS))
