"""Events that a consumer could not process: kept whole, looked at, replayed or discarded.

They stand in the consumer's own database, so that an event enters quarantine in the transaction
that moves the consumer's position past it: it is never lost and never in both places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy import RowMapping

from vigie.platform.clock import WallClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.port import Database
from vigie.platform.database.statements import insert_if_absent
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable
from vigie.platform.eventlog.port import StoredEvent
from vigie.platform.eventlog.rows import event_columns, stored_event
from vigie.platform.eventlog.tables import QUARANTINE
from vigie.platform.reasons import QUARANTINED_EVENT_NOT_FOUND

_POSITION_KEY: Final = ("topic", "group", "partition", "offset")
MAX_DETAIL: Final = 1000


@dataclass(frozen=True, slots=True)
class QuarantinedEvent:
    """One event in quarantine.

    Attributes:
        number: names it; increases.
        group: the consumer that could not process it.
        stored: the event as it stood in the log, bytes unchanged.
        reason: why, UPPER_SNAKE_CASE.
        detail: why, for people.
        quarantined_us: when, microseconds since the Unix epoch.
        replay_requested: the consumer will try it again.
    """

    number: int
    group: str
    stored: StoredEvent
    reason: str
    detail: str
    quarantined_us: int
    replay_requested: bool


class Quarantine:
    """The quarantine of one database."""

    def __init__(self, database: Database, wall_clock: WallClock) -> None:
        self._database = database
        self._wall_clock = wall_clock

    async def add(
        self,
        connection: AsyncConnection,
        group: str,
        stored: StoredEvent,
        why: Unprocessable,
    ) -> None:
        """Put an event away in the caller's transaction (idempotent by its position)."""
        await insert_if_absent(
            connection,
            QUARANTINE,
            event_columns(stored.event)
            | {
                "topic": stored.topic,
                "group": group,
                "partition": stored.position.partition,
                "offset": stored.position.offset,
                "reason": why.reason,
                "detail": why.detail[:MAX_DETAIL],
                "quarantined_us": self._wall_clock.now_us(),
                "replay_requested": False,
            },
            key=_POSITION_KEY,
        )

    async def list(
        self,
        *,
        topic: str | None = None,
        group: str | None = None,
        replay_requested: bool | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[QuarantinedEvent]:
        """Events in quarantine, oldest first, those numbered above ``after``."""
        chosen = sa.select(QUARANTINE).where(QUARANTINE.c.number > after)
        for column, value in (
            (QUARANTINE.c.topic, topic),
            (QUARANTINE.c.group, group),
            (QUARANTINE.c.replay_requested, replay_requested),
        ):
            if value is not None:
                chosen = chosen.where(column == value)
        async with self._database.reading() as connection:
            rows = await connection.execute(chosen.order_by(QUARANTINE.c.number).limit(limit))
            return [_from_row(row) for row in rows.mappings()]

    async def count(self, *, topic: str | None = None, group: str | None = None) -> int:
        """How many events are in quarantine."""
        chosen = sa.select(sa.func.count()).select_from(QUARANTINE)
        if topic is not None:
            chosen = chosen.where(QUARANTINE.c.topic == topic)
        if group is not None:
            chosen = chosen.where(QUARANTINE.c.group == group)
        async with self._database.reading() as connection:
            return await connection.scalar(chosen) or 0

    async def get(self, number: int) -> QuarantinedEvent:
        """One event.

        Raises:
            VigieError: QUARANTINED_EVENT_NOT_FOUND.
        """
        async with self._database.reading() as connection:
            chosen = sa.select(QUARANTINE).where(QUARANTINE.c.number == number)
            row = (await connection.execute(chosen)).mappings().one_or_none()
        if row is None:
            raise _not_found(number)
        return _from_row(row)

    async def request_replay(self, number: int) -> None:
        """Ask the event's consumer to try it again.

        The consumer does so when it is idle next; an event that fails again stays, with its new
        reason. The order relative to later events of its key is lost: say so to the operator.

        Raises:
            VigieError: QUARANTINED_EVENT_NOT_FOUND.
        """
        async with self._database.transaction() as connection:
            changed = await connection.execute(
                sa.update(QUARANTINE)
                .where(QUARANTINE.c.number == number)
                .values(replay_requested=True)
            )
            if changed.rowcount == 0:
                raise _not_found(number)

    async def discard(self, number: int) -> QuarantinedEvent:
        """Drop an event for good; returns it, so that the caller can record what was dropped.

        Raises:
            VigieError: QUARANTINED_EVENT_NOT_FOUND.
        """
        dropped = await self.get(number)
        async with self._database.transaction() as connection:
            await self.remove(connection, number)
        return dropped

    async def remove(self, connection: AsyncConnection, number: int) -> None:
        """Take an event out in the caller's transaction (after it has been processed)."""
        removed = await connection.execute(
            sa.delete(QUARANTINE).where(QUARANTINE.c.number == number)
        )
        if removed.rowcount == 0:
            raise _not_found(number)

    async def refuse_replay(self, number: int, why: Unprocessable) -> None:
        """Note that a replay failed, and why; the event stays."""
        async with self._database.transaction() as connection:
            await connection.execute(
                sa.update(QUARANTINE)
                .where(QUARANTINE.c.number == number)
                .values(replay_requested=False, reason=why.reason, detail=why.detail[:MAX_DETAIL])
            )


def _from_row(row: RowMapping) -> QuarantinedEvent:
    return QuarantinedEvent(
        number=row["number"],
        group=row["group"],
        stored=stored_event(row["topic"], row, row["partition"]),
        reason=row["reason"],
        detail=row["detail"],
        quarantined_us=row["quarantined_us"],
        replay_requested=row["replay_requested"],
    )


def _not_found(number: int) -> VigieError:
    return VigieError(QUARANTINED_EVENT_NOT_FOUND, f"no event {number} is in quarantine")
