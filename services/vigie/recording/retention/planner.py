"""What is due for destruction: read from the index and the history of authorisations."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import pairwise
from typing import Final

from sqlalchemy import Select, func, select

from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.recording.index import reader
from vigie.recording.index.convert import segment_from_row
from vigie.recording.index.tables import HOLD_OBJECTS, SEGMENTS
from vigie.recording.model import CameraState, Segment
from vigie.recording.retention.calendar import due_windows, expiry_us
from vigie.recording.timeline.intervals import Interval, Piece, paint

_BATCH: Final = 500
LEGAL_MAXIMUM: Final = "CSI L252-5: one calendar month"
_FOREVER_US: Final = 1 << 62


def _cameras() -> Select[str]:
    """Cameras with segments: from one to the next in the index, not by reading every row."""
    named = select(func.min(SEGMENTS.c.camera).label("camera")).cte("named", recursive=True)
    after = (
        select(func.min(SEGMENTS.c.camera))
        .where(SEGMENTS.c.camera > named.c.camera)
        .scalar_subquery()
    )
    named = named.union_all(select(after).where(named.c.camera.is_not(None)))
    return select(named.c.camera).where(named.c.camera.is_not(None)).order_by(named.c.camera)


_CAMERAS: Final = _cameras()


@dataclass(frozen=True, slots=True)
class Rule:
    """How long footage recorded at an instant may be kept, and by what.

    Attributes:
        retention_days: days; 0: the legal maximum of one calendar month.
        basis: resource name of the authorisation, or the law.
    """

    retention_days: int
    basis: str


@dataclass(frozen=True, slots=True)
class Due:
    """A segment whose time has come, and the rule that says so."""

    segment: Segment
    basis: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What retention finds at one camera; see `vigie.recording.v1.RetentionForecast`."""

    camera: str
    object_count: int = 0
    size_bytes: int = 0
    oldest_us: int | None = None
    newest_us: int | None = None
    held_count: int = 0
    next_expiry_us: int | None = None


def rule_at(states: Sequence[CameraState], recorded_us: int) -> Rule:
    """The rule for footage of an instant, by the state of the camera at that instant.

    Of several authorisations in force the shortest counts. Where none was (footage of the moment
    in which an authorisation ended), the shortest that the camera has ever had counts.
    """
    before = [state for state in states if state.effective_us <= recorded_us]
    state = before[-1] if before else (states[0] if states else None)
    if state is None:
        return Rule(0, LEGAL_MAXIMUM)
    in_force = [t for t in state.authorisations if t.from_us <= recorded_us < t.until_us]
    bounded = [t for t in in_force or state.authorisations if t.retention_days]
    if not bounded:
        return Rule(0, LEGAL_MAXIMUM)
    shortest = min(bounded, key=lambda term: (term.retention_days, term.authorisation))
    return Rule(shortest.retention_days, shortest.authorisation)


def rule_windows(states: Sequence[CameraState]) -> list[Piece[Rule]]:
    """Which rule holds when: pieces that cover all time, ascending."""
    edges = {0, _FOREVER_US} | {state.effective_us for state in states}
    for state in states:
        for term in state.authorisations:
            edges |= {term.from_us, term.until_us}
    ordered = sorted(edge for edge in edges if 0 <= edge <= _FOREVER_US)
    pieces: list[Piece[Rule]] = []
    for start_us, end_us in pairwise(ordered):
        rule = rule_at(states, start_us)
        if pieces and pieces[-1].item == rule:
            pieces[-1] = Piece(pieces[-1].start_us, end_us, rule)
        else:
            pieces.append(Piece(start_us, end_us, rule))
    return pieces


class RetentionPlanner:
    """Finds what is due.

    Args:
        database: where the index is.
        legal_zone: time zone in which the law counts days.
    """

    def __init__(self, database: Database, legal_zone: tzinfo) -> None:
        self._database = database
        self._legal_zone = legal_zone

    async def cameras(self) -> list[str]:
        """Cameras that have footage, by name."""
        async with self._database.reading() as connection:
            return [camera for (camera,) in await connection.execute(_CAMERAS)]

    async def due(self, camera: str, at_us: int) -> AsyncIterator[Due]:
        """Segments of a camera that have expired at ``at_us`` and that no hold keeps."""
        for rule, window in await self._due_windows(camera, at_us):
            async for segment in self._segments(camera, window, held=False):
                yield Due(segment, rule.basis)

    async def forecast(self, camera: str, at_us: int) -> Forecast:
        """What would be destroyed at ``at_us``; nothing is."""
        count = size = held = 0
        oldest: int | None = None
        newest: int | None = None
        for _, window in await self._due_windows(camera, at_us):
            async for segment in self._segments(camera, window, held=False):
                count, size = count + 1, size + segment.size_bytes
                oldest = segment.start_us if oldest is None else min(oldest, segment.start_us)
                newest = segment.end_us if newest is None else max(newest, segment.end_us)
            async for _ in self._segments(camera, window, held=True):
                held += 1
        next_us = await self._next_expiry(camera, at_us)
        return Forecast(camera, count, size, oldest, newest, held, next_us)

    async def _due_windows(self, camera: str, at_us: int) -> list[tuple[Rule, Interval]]:
        async with self._database.reading() as connection:
            states = await all_states(connection, camera)
        found: list[tuple[Rule, Interval]] = []
        for piece in rule_windows(states):
            due = due_windows(at_us, piece.item.retention_days, self._legal_zone)
            inside, _ = paint(due, [piece])
            found += [(piece.item, Interval(part.start_us, part.end_us)) for part in inside]
        return found

    async def _segments(
        self, camera: str, window: Interval, *, held: bool
    ) -> AsyncIterator[Segment]:
        """Segments that start in a window; each page is its own reading."""
        after: tuple[int, str] = (window.start_us - 1, "")
        kept = (
            select(HOLD_OBJECTS.c.object_key)
            .where(HOLD_OBJECTS.c.object_key == SEGMENTS.c.object_key)
            .exists()
        )
        while True:
            query = (
                select(SEGMENTS)
                .where(
                    SEGMENTS.c.camera == camera,
                    SEGMENTS.c.start_us >= after[0],
                    SEGMENTS.c.start_us < window.end_us,
                    (SEGMENTS.c.start_us > after[0]) | (SEGMENTS.c.object_key > after[1]),
                    SEGMENTS.c.destroying_us.is_(None),
                    kept if held else ~kept,
                )
                .order_by(SEGMENTS.c.start_us, SEGMENTS.c.object_key)
                .limit(_BATCH)
            )
            async with self._database.reading() as connection:
                rows = (await connection.execute(query)).all()
            for row in rows:
                yield segment_from_row(row)
            if len(rows) < _BATCH:
                return
            after = (rows[-1].start_us, rows[-1].object_key)

    async def _next_expiry(self, camera: str, at_us: int) -> int | None:
        """When the oldest segment that is not due yet comes to its end."""
        due = await self._due_windows(camera, at_us)
        due_end_us = max((window.end_us for _, window in due), default=0)
        async with self._database.reading() as connection:
            states = await all_states(connection, camera)
            query = select(func.min(SEGMENTS.c.start_us)).where(
                SEGMENTS.c.camera == camera, SEGMENTS.c.start_us >= due_end_us
            )
            oldest = (await connection.execute(query)).scalar()
        if oldest is None:
            return None
        return expiry_us(oldest, rule_at(states, oldest).retention_days, self._legal_zone)


async def all_states(connection: AsyncConnection, camera: str) -> list[CameraState]:
    """The whole history of a camera, by time."""
    return await reader.camera_states(connection, camera, Interval(0, _FOREVER_US))
