"""Reading the table: criteria, visibility, order, pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vigie.audit.recorder import ACCESSES_TOPIC
from vigie.audit.tables import ACCESSES, OBJECTS, ZONES
from vigie.audit.v1 import audit_service_pb2 as pb
from vigie.common.v1 import types_pb2
from vigie.platform.database import Database
from vigie.platform.eventlog.positions import committed_offsets
from vigie.platform.grpc.call import ZoneSet

GROUP: Final = "audit-index"
"""Who takes accesses into the table."""
_ROW: Final = (
    ACCESSES.c.record,
    ACCESSES.c.content,
    ACCESSES.c.sha256,
    ACCESSES.c.log_partition,
    ACCESSES.c.log_offset,
    ACCESSES.c.time_us,
)


@dataclass(frozen=True, slots=True)
class StoredAccess:
    """One row as it is given out."""

    record: str
    content: bytes
    sha256: str
    log_partition: int
    log_offset: int
    time_us: int


class AccessReader:
    """Reads accesses. Every method takes the zones in which the caller may read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        criteria: pb.AccessFilter,
        zones: ZoneSet,
        *,
        ascending: bool,
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[StoredAccess]:
        """Up to ``limit`` rows in the order of time, behind ``after`` (time_us, record)."""
        statement, time_us, record = _base(criteria)
        statement = statement.where(*_conditions(criteria), *_visible(zones))
        place = sa.tuple_(time_us, record)
        if after is not None:
            bound = sa.tuple_(sa.literal(after[0]), sa.literal(after[1]))
            statement = statement.where(place > bound if ascending else place < bound)
        order = (time_us.asc(), record.asc()) if ascending else (time_us.desc(), record.desc())
        return await self._rows(statement.order_by(*order).limit(limit))

    async def in_log_order(
        self,
        criteria: pb.AccessFilter,
        zones: ZoneSet,
        *,
        after: tuple[int, int] | None,
        ends: Sequence[tuple[int, int]],
        limit: int,
    ) -> list[StoredAccess]:
        """Up to ``limit`` rows in the order of the log, behind ``after`` (partition, offset).

        Args:
            criteria: which rows.
            zones: where the caller may read.
            after: position of the last row given out.
            ends: last offset of each partition that belongs to the export.
            limit: most rows.
        """
        partition, offset = ACCESSES.c.log_partition, ACCESSES.c.log_offset
        statement, _, _ = _base(criteria)
        statement = statement.where(*_conditions(criteria), *_visible(zones))
        within = [sa.and_(partition == number, offset <= last) for number, last in ends]
        statement = statement.where(sa.or_(sa.false(), *within))
        if after is not None:
            bound = sa.tuple_(sa.literal(after[0]), sa.literal(after[1]))
            statement = statement.where(sa.tuple_(partition, offset) > bound)
        return await self._rows(statement.order_by(partition, offset).limit(limit))

    async def get(self, record: str) -> StoredAccess | None:
        """One row."""
        rows = await self._rows(sa.select(*_ROW).where(ACCESSES.c.record == record))
        return rows[0] if rows else None

    async def ends(self) -> list[tuple[int, int]]:
        """Last offset in the table of each partition."""
        statement = sa.select(
            ACCESSES.c.log_partition, sa.func.max(ACCESSES.c.log_offset)
        ).group_by(ACCESSES.c.log_partition)
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement)).all()
        return sorted((int(row[0]), int(row[1])) for row in rows)

    async def reached(self, partition: int) -> int:
        """Last offset of a partition that has been taken in; -1: none.

        That is in the table; or the consumer is behind it without a row: what is told twice has one
        already, what cannot be read stands in quarantine, what is too old has gone.
        """
        statement = sa.select(sa.func.max(ACCESSES.c.log_offset)).where(
            ACCESSES.c.log_partition == partition
        )
        async with self._database.reading() as connection:
            last = (await connection.execute(statement)).scalar()
            passed = await committed_offsets(connection, ACCESSES_TOPIC, GROUP)
        return max(-1 if last is None else int(last), passed.get(partition, -1))

    async def newest_us(self, partition: int) -> int:
        """Time of the newest row of a partition, microseconds since the Unix epoch; 0: none."""
        statement = (
            sa.select(ACCESSES.c.time_us)
            .where(ACCESSES.c.log_partition == partition)
            .order_by(ACCESSES.c.log_offset.desc())
            .limit(1)
        )
        async with self._database.reading() as connection:
            return int((await connection.execute(statement)).scalar() or 0)

    async def _rows(self, statement: sa.Select[Any]) -> list[StoredAccess]:
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return [StoredAccess(**row) for row in rows]


def _base(
    criteria: pb.AccessFilter,
) -> tuple[sa.Select[Any], sa.ColumnElement[int], sa.ColumnElement[str]]:
    """The statement that reads from the table whose index fits, and its columns of order."""
    if criteria.object:
        joined = OBJECTS.join(ACCESSES, ACCESSES.c.record == OBJECTS.c.record)
        statement = sa.select(*_ROW).select_from(joined)
        return (
            statement.where(OBJECTS.c.object == criteria.object),
            OBJECTS.c.time_us,
            OBJECTS.c.record,
        )
    if criteria.zone:
        joined = ZONES.join(ACCESSES, ACCESSES.c.record == ZONES.c.record)
        statement = sa.select(*_ROW).select_from(joined)
        zone = criteria.zone.removeprefix("zones/")
        return statement.where(ZONES.c.zone == zone), ZONES.c.time_us, ZONES.c.record
    return sa.select(*_ROW), ACCESSES.c.time_us, ACCESSES.c.record


def _conditions(criteria: pb.AccessFilter) -> list[sa.ColumnElement[bool]]:
    columns = ACCESSES.c
    conditions: list[sa.ColumnElement[bool]] = []
    exact = (
        (columns.subject, criteria.subject),
        (columns.agency, criteria.agency.removeprefix("agencies/")),
        (columns.decision, criteria.decision),
        (columns.decision_reason, criteria.decision_reason),
        (columns.case_reference, criteria.case_reference),
        (columns.request_id, criteria.request_id),
        (columns.phase, criteria.phase),
    )
    conditions += [column == value for column, value in exact if value]
    if criteria.method:
        full = criteria.method.startswith("/")
        conditions.append((columns.method if full else columns.method_name) == criteria.method)
    if criteria.object and criteria.zone:
        # The order comes from the object's table (see `_base`); the zone is only asked about.
        zone = criteria.zone.removeprefix("zones/")
        inside = sa.select(ZONES.c.record).where(
            ZONES.c.record == columns.record, ZONES.c.zone == zone
        )
        conditions.append(inside.exists())
    if criteria.kinds:
        conditions.append(columns.kind.in_(list(criteria.kinds)))
    if criteria.HasField("access_window"):
        start_us, end_us = bounds_us(criteria.access_window)
        conditions += [columns.time_us >= start_us, columns.time_us < end_us]
    if criteria.HasField("footage_window"):
        start_us, end_us = bounds_us(criteria.footage_window)
        conditions += [columns.window_start_us < end_us, columns.window_end_us > start_us]
    if criteria.purpose_text:
        words = criteria.purpose_text.casefold()
        conditions.append(columns.purpose_folded.contains(words, autoescape=True))
    return conditions


def _visible(zones: ZoneSet) -> list[sa.ColumnElement[bool]]:
    """Every zone of the record is one of ``zones``, and it has at least one."""
    if zones.everywhere:
        return []
    own = sa.select(ZONES.c.record).where(ZONES.c.record == ACCESSES.c.record)
    foreign = own.where(ZONES.c.zone.not_in(sorted(zones.names)))
    return [own.exists(), ~foreign.exists()]


def bounds_us(window: types_pb2.TimeWindow) -> tuple[int, int]:
    """Start and end of a window, microseconds since the Unix epoch."""
    return window.start_time.ToMicroseconds(), window.end_time.ToMicroseconds()
