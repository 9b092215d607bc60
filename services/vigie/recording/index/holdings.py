"""How holds stand in the index: which objects they take in, and how far the store knows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, cast, delete, func, select, update

from vigie.evidence.v1.events_pb2 import HoldState
from vigie.platform.database import in_chunks, insert_if_absent, upsert
from vigie.platform.database.connection import AsyncConnection
from vigie.recording.index.convert import EventInvalidError, timestamp_us
from vigie.recording.index.tables import (
    HOLD_CAMERAS,
    HOLD_OBJECTS,
    HOLD_PLACED,
    HOLD_TO_PLACE,
    HOLD_TO_TAKE_OFF,
    HOLDS,
    SEGMENTS,
    UNDESCRIBED,
)
from vigie.recording.model import SEGMENT_LIMIT_US

_HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class HoldFacts:
    """A hold as the index knows it; instants in microseconds since the Unix epoch."""

    hold: str
    cameras: tuple[str, ...]
    start_us: int
    end_us: int
    legal_reference: str
    evidence_request: str
    placed_us: int
    applied_us: int | None
    released_us: int | None
    problem: str
    object_count: int = 0
    placed_count: int = 0
    placed_bytes: int = 0

    @property
    def pending(self) -> bool:
        """Whether it is not yet on every object of its window."""
        return self.released_us is None and (
            self.applied_us is None or self.placed_count < self.object_count
        )


async def holds_on(connection: AsyncConnection, keys: Sequence[str]) -> dict[str, list[str]]:
    """Object key -> holds on it or about to be placed on it."""
    found: dict[str, list[str]] = {}
    for chunk in in_chunks(keys):
        query = (
            select(HOLD_OBJECTS.c.object_key, HOLD_OBJECTS.c.hold)
            .where(HOLD_OBJECTS.c.object_key.in_(chunk), HOLD_OBJECTS.c.state != HOLD_TO_TAKE_OFF)
            .order_by(HOLD_OBJECTS.c.object_key, HOLD_OBJECTS.c.hold)
        )
        for row in await connection.execute(query):
            found.setdefault(row.object_key, []).append(row.hold)
    return found


async def put_hold(connection: AsyncConnection, state: HoldState) -> None:
    """Apply what evidence says of a hold; the same again changes nothing.

    Raises:
        EventInvalidError: no name, no camera, or an empty window.
    """
    if not state.hold or not state.cameras or state.start_us >= state.end_us:
        raise EventInvalidError(f"hold {state.hold!r} without name, cameras or window")
    released = timestamp_us(state.release_time) if state.HasField("release_time") else None
    if released is None and await _released_since(connection, state):
        return
    values = {
        "hold": state.hold,
        "start_us": state.start_us,
        "end_us": state.end_us,
        "legal_reference": state.legal_reference,
        "evidence_request": state.evidence_request,
        "placed_by": state.placed_by,
        "placed_us": timestamp_us(state.place_time),
        "applied_us": None,
        "released_us": released,
        "problem": "",
    }
    kept = [name for name in values if name not in {"hold", "applied_us", "problem"}]
    await upsert(connection, HOLDS, values, key=("hold",), update=kept)
    await connection.execute(delete(HOLD_CAMERAS).where(HOLD_CAMERAS.c.hold == state.hold))
    cameras = [{"camera": camera, "hold": state.hold} for camera in sorted(set(state.cameras))]
    await insert_if_absent(connection, HOLD_CAMERAS, cameras, key=("camera", "hold"))
    if released is None:
        await _take_in(connection, state)
    else:
        await _let_go(connection, state.hold)


async def _released_since(connection: AsyncConnection, state: HoldState) -> bool:
    """Whether the index knows that this very hold was released: its placing comes too late.

    An event that comes out of quarantine comes after those that followed it.
    """
    query = select(HOLDS.c.hold).where(
        HOLDS.c.hold == state.hold,
        HOLDS.c.placed_us == timestamp_us(state.place_time),
        HOLDS.c.released_us.is_not(None),
    )
    return (await connection.execute(query)).first() is not None


async def release_hold(connection: AsyncConnection, hold: str, released_us: int) -> None:
    """A hold was removed from the topic: what it held is let go."""
    await connection.execute(
        update(HOLDS)
        .where(HOLDS.c.hold == hold, HOLDS.c.released_us.is_(None))
        .values(released_us=released_us)
    )
    await _let_go(connection, hold)


async def _let_go(connection: AsyncConnection, hold: str) -> None:
    """Take a hold off everything that it holds."""
    mine = HOLD_OBJECTS.c.hold == hold
    await connection.execute(update(HOLD_OBJECTS).where(mine).values(state=HOLD_TO_TAKE_OFF))


async def _take_in(connection: AsyncConnection, state: HoldState) -> None:
    """Bring the objects of a hold in line with its window."""
    inside = [
        SEGMENTS.c.camera.in_(sorted(set(state.cameras))),
        # No segment is longer: this says in which days of the index the window lies.
        SEGMENTS.c.start_us > state.start_us - SEGMENT_LIMIT_US,
        SEGMENTS.c.start_us < state.end_us,
        SEGMENTS.c.end_us > state.start_us,
        # What is being destroyed was decided before this hold was known: the register has it.
        SEGMENTS.c.destroying_us.is_(None),
    ]
    mine = HOLD_OBJECTS.c.hold == state.hold
    held = select(HOLD_OBJECTS.c.object_key, HOLD_OBJECTS.c.state).where(mine)
    known = {row.object_key: row.state for row in await connection.execute(held)}
    found = select(SEGMENTS.c.object_key, SEGMENTS.c.size_bytes).where(*inside)
    wanted = {row.object_key: row.size_bytes for row in await connection.execute(found)}
    # Only what the index knows to lie outside: an object whose row is missing (the index is being
    # rebuilt, or was damaged) keeps its hold.
    outside = await _indexed(connection, [key for key in known if key not in wanted])
    again = [key for key in wanted if known.get(key) == HOLD_TO_TAKE_OFF]
    for keys, becomes in ((outside, HOLD_TO_TAKE_OFF), (again, HOLD_TO_PLACE)):
        for chunk in in_chunks(keys):
            chosen = update(HOLD_OBJECTS).where(mine, HOLD_OBJECTS.c.object_key.in_(chunk))
            await connection.execute(chosen.values(state=becomes))
    rows = [
        {"object_key": key, "hold": state.hold, "size_bytes": size, "state": HOLD_TO_PLACE}
        for key, size in wanted.items()
        if key not in known
    ]
    if rows:
        await connection.execute(HOLD_OBJECTS.insert(), rows)


async def _indexed(connection: AsyncConnection, keys: Sequence[str]) -> list[str]:
    """Those of ``keys`` that have a row in the index."""
    found: list[str] = []
    for chunk in in_chunks(keys):
        query = select(SEGMENTS.c.object_key).where(SEGMENTS.c.object_key.in_(chunk))
        found += (await connection.execute(query)).scalars()
    return found


async def read_hold(connection: AsyncConnection, hold: str) -> HoldFacts | None:
    """One hold with its counts, or ``None``."""
    row = (await connection.execute(select(HOLDS).where(HOLDS.c.hold == hold))).first()
    if row is None:
        return None
    cameras = await connection.execute(
        select(HOLD_CAMERAS.c.camera).where(HOLD_CAMERAS.c.hold == hold).order_by("camera")
    )
    counts = (
        await connection.execute(
            select(
                func.count().label("objects"),
                func.count().filter(HOLD_OBJECTS.c.state == HOLD_PLACED).label("placed"),
                cast(
                    func.coalesce(
                        func.sum(HOLD_OBJECTS.c.size_bytes).filter(
                            HOLD_OBJECTS.c.state == HOLD_PLACED
                        ),
                        0,
                    ),
                    BigInteger,
                ).label("size_bytes"),
            ).where(HOLD_OBJECTS.c.hold == hold)
        )
    ).one()
    return HoldFacts(
        hold=row.hold,
        cameras=tuple(camera for (camera,) in cameras),
        start_us=row.start_us,
        end_us=row.end_us,
        legal_reference=row.legal_reference,
        evidence_request=row.evidence_request,
        placed_us=row.placed_us,
        applied_us=row.applied_us,
        released_us=row.released_us,
        problem=row.problem,
        object_count=counts.objects,
        placed_count=counts.placed,
        placed_bytes=counts.size_bytes,
    )


async def list_holds(
    connection: AsyncConnection, *, limit: int, before: tuple[int, str] | None
) -> list[str]:
    """Names of holds, newest first, after the one already known."""
    query = select(HOLDS.c.hold).order_by(HOLDS.c.placed_us.desc(), HOLDS.c.hold.desc())
    if before is not None:
        placed_us, hold = before
        query = query.where(
            (HOLDS.c.placed_us < placed_us)
            | ((HOLDS.c.placed_us == placed_us) & (HOLDS.c.hold < hold))
        )
    return [hold for (hold,) in await connection.execute(query.limit(limit))]


async def work_to_do(
    connection: AsyncConnection, state: int, *, limit: int, after: tuple[str, str]
) -> list[tuple[str, str]]:
    """(hold, object key) of rows that wait to be placed or taken off, in that order."""
    table = HOLD_OBJECTS
    hold, key = after
    query = (
        select(table.c.hold, table.c.object_key)
        .where(
            table.c.state == state,
            (table.c.hold > hold) | ((table.c.hold == hold) & (table.c.object_key > key)),
        )
        .order_by(table.c.hold, table.c.object_key)
        .limit(limit)
    )
    return [(row.hold, row.object_key) for row in await connection.execute(query)]


async def is_waiting(connection: AsyncConnection) -> bool:
    """Whether a hold waits to be placed or taken off somewhere, or to be called applied."""
    states = HOLD_OBJECTS.c.state.in_((HOLD_TO_PLACE, HOLD_TO_TAKE_OFF))
    objects = select(HOLD_OBJECTS.c.hold).where(states).exists()
    holds = (
        select(HOLDS.c.hold).where(HOLDS.c.applied_us.is_(None), HOLDS.c.released_us.is_(None))
    ).exists()
    return bool((await connection.execute(select(objects | holds))).scalar_one())


async def mark_applied(connection: AsyncConnection, now_us: int) -> list[str]:
    """Note every hold that is on all of its objects for the first time; their names."""
    waiting = (
        select(HOLD_OBJECTS.c.hold)
        .where(HOLD_OBJECTS.c.hold == HOLDS.c.hold, HOLD_OBJECTS.c.state == HOLD_TO_PLACE)
        .exists()
    )
    # After a reindex: objects that have no rows yet are not held yet.
    undescribed = (
        select(UNDESCRIBED.c.folder)
        .join(HOLD_CAMERAS, HOLD_CAMERAS.c.camera == UNDESCRIBED.c.camera)
        .where(
            HOLD_CAMERAS.c.hold == HOLDS.c.hold,
            UNDESCRIBED.c.start_us > HOLDS.c.start_us - _HOUR_US - SEGMENT_LIMIT_US,
            UNDESCRIBED.c.start_us < HOLDS.c.end_us,
        )
        .exists()
    )
    result = await connection.execute(
        update(HOLDS)
        .where(HOLDS.c.applied_us.is_(None), HOLDS.c.released_us.is_(None), ~waiting, ~undescribed)
        .values(applied_us=now_us, problem="")
        .returning(HOLDS.c.hold)
    )
    return [hold for (hold,) in result]


async def take_off_unknown(connection: AsyncConnection, placed: Sequence[tuple[str, str]]) -> int:
    """Have holds taken off again that the store has placed and the index does not know any more.

    Who stood still between reading what is to be done and doing it places a hold that others have
    placed, released and taken off meanwhile. Returns how many (hold, object key) there were.
    """
    known: set[tuple[str, str]] = set()
    for chunk in in_chunks([key for _, key in placed]):
        query = select(HOLD_OBJECTS.c.hold, HOLD_OBJECTS.c.object_key).where(
            HOLD_OBJECTS.c.object_key.in_(chunk)
        )
        known |= {(row.hold, row.object_key) for row in await connection.execute(query)}
    unknown = [one for one in placed if one not in known]
    for hold, key in unknown:
        row = {"object_key": key, "hold": hold, "size_bytes": 0, "state": HOLD_TO_TAKE_OFF}
        await insert_if_absent(connection, HOLD_OBJECTS, row, key=("object_key", "hold"))
    return len(unknown)
