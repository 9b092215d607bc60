"""Keeping the embedded log small: compaction and expiry, a piece at a time."""

from dataclasses import dataclass
from itertools import takewhile
from typing import Final

import sqlalchemy as sa

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.port import Database
from vigie.platform.eventlog.tables import EVENT, POSITION, TOPIC

PIECE: Final = 2000
"""Rows removed in one transaction, so that appends never wait long for the writer."""

TOMBSTONE_LIFE_US: Final = 24 * 3600 * 1_000_000
"""How long a tombstone stays after it was appended, so that readers that keep up see it."""

_DAY_US: Final = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """How many events went.

    Attributes:
        superseded: older events of a key in compacted topics.
        tombstones: removals whose time has passed, in compacted topics.
        expired: events past the retention of their topic.
    """

    superseded: int = 0
    tombstones: int = 0
    expired: int = 0


async def maintain(database: Database, now_us: int) -> MaintenanceReport:
    """Compact and expire every topic once.

    A tombstone goes when it is old enough *and* every group on the topic has committed past it.
    Expiry goes by the time of the append, never by what is said in the event, and from the oldest
    on: it ends at the first event that stays, so that its cost is that of what goes, however many
    months of events there are. (Where the clock was set back, an event may stay longer, never
    shorter.)
    """
    async with database.reading() as connection:
        rows = (await connection.execute(sa.select(TOPIC))).all()
    superseded = tombstones = expired = 0
    for row in rows:
        if row.compacted:
            superseded += await _remove(database, _superseded(row.topic))
            tombstones += await _remove(database, _tombstones(row.topic, row.name, now_us))
        else:
            limit_us = now_us - row.retention_days * _DAY_US
            expired += await _expire(database, row.topic, limit_us)
    return MaintenanceReport(superseded, tombstones, expired)


def _superseded(topic: int) -> sa.Select[tuple[int, int]]:
    newer = EVENT.alias("newer")
    return sa.select(EVENT.c.topic, EVENT.c.offset).where(
        EVENT.c.topic == topic,
        sa.exists().where(
            newer.c.topic == EVENT.c.topic,
            newer.c.key == EVENT.c.key,
            newer.c.offset > EVENT.c.offset,
        ),
    )


def _tombstones(topic: int, name: str, now_us: int) -> sa.Select[tuple[int, int]]:
    behind = sa.exists().where(POSITION.c.topic == name, POSITION.c.offset < EVENT.c.offset)
    return sa.select(EVENT.c.topic, EVENT.c.offset).where(
        EVENT.c.topic == topic,
        EVENT.c.value.is_(None),
        EVENT.c.appended_us <= now_us - TOMBSTONE_LIFE_US,
        ~behind,
    )


_OLDEST = (
    sa.select(EVENT.c.offset, EVENT.c.appended_us)
    .where(EVENT.c.topic == sa.bindparam("number"))
    .order_by(EVENT.c.offset)
    .limit(PIECE)
)
_FORGET = sa.delete(EVENT).where(
    EVENT.c.topic == sa.bindparam("number"), EVENT.c.offset <= sa.bindparam("last")
)
_BEGIN_BEHIND = (
    sa.update(TOPIC)
    .where(TOPIC.c.topic == sa.bindparam("number"), TOPIC.c.first_offset <= sa.bindparam("last"))
    .values(first_offset=sa.bindparam("last") + 1)
)


async def _expire(database: Database, topic: int, limit_us: int) -> int:
    """Remove the oldest events, up to the first that is young enough: never one in between.

    So the positions that are left have no holes, also after a wall clock was set back, and a hole
    says that somebody took an event out (`vigie.platform.eventlog.numbering`).
    """

    async def piece(connection: AsyncConnection) -> int:
        oldest = (await connection.execute(_OLDEST, {"number": topic})).all()
        gone = list(takewhile(lambda row: row.appended_us < limit_us, oldest))
        if gone:
            values = {"number": topic, "last": gone[-1].offset}
            await connection.execute(_FORGET, values)
            await connection.execute(_BEGIN_BEHIND, values)
        return len(gone)

    removed = 0
    while (count := await database.write(piece)) == PIECE:
        removed += count
    return removed + count


async def _remove(database: Database, chosen: sa.Select[tuple[int, int]]) -> int:
    removed = 0
    while True:
        piece = chosen.limit(PIECE).subquery()
        async with database.transaction() as connection:
            result = await connection.execute(
                sa.delete(EVENT).where(
                    sa.tuple_(EVENT.c.topic, EVENT.c.offset).in_(
                        sa.select(piece.c.topic, piece.c.offset)
                    )
                )
            )
        removed += result.rowcount
        if result.rowcount < PIECE:
            return removed
