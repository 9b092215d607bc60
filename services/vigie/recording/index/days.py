"""The days of the segment index on PostgreSQL: one partition a UTC day of the segments' start.

A month of 251 cameras is 21.7 million rows. What asks for a window reads the partitions of its
days and no other, however many there are; what retention has emptied is dropped whole, with its
dead rows and indexes, instead of being swept up row by row.

Days are made ahead (`make_days_ahead`), and on demand in the transaction that needs one, so that
footage of any time is indexed. There is no partition for "the rest": it would have to be searched
whenever a day is made. Rows of a day whose footage is destroyed are removed one by one as before,
each after its destruction was recorded (I3); a day without rows is dropped (`drop_empty_days`).

The embedded database has one table; there these functions do nothing.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import ARRAY, Integer, bindparam, delete, func, select, text

from vigie.platform.database.connection import AsyncConnection
from vigie.recording.index.tables import SEGMENTS

DAY_US: Final = 86_400_000_000
LAST_INSTANT_US: Final = 84_006 * DAY_US
"""The index ends with the year 2199: whoever says otherwise has no clock."""
_AHEAD: Final = 7
_MAKE: Final = select(func.recording_make_days(bindparam("days", type_=ARRAY(Integer))))
_DROP: Final = select(func.recording_drop_empty_days(bindparam("before", type_=Integer)))

_DAYS: Final = text(
    "SELECT to_date(right(c.relname, 8), 'YYYYMMDD') - DATE '1970-01-01'"
    " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = to_regclass('recording_segments') ORDER BY c.relname"
)


def day_of(instant_us: int) -> int:
    """The number of the UTC day of an instant, counted from the Unix epoch."""
    return instant_us // DAY_US


async def make_days(connection: AsyncConnection, starts_us: Iterable[int]) -> int:
    """Make the days of segments that begin at these instants; how many were missing."""
    if connection.dialect.name != "postgresql":
        return 0
    days = sorted({day_of(start_us) for start_us in starts_us})
    return int(await connection.scalar(_MAKE, {"days": days})) if days else 0


async def make_days_ahead(connection: AsyncConnection, now_us: int) -> int:
    """Make today and the days of the coming week; how many were missing."""
    return await make_days(connection, (now_us + day * DAY_US for day in range(_AHEAD + 1)))


async def drop_empty_days(connection: AsyncConnection, now_us: int) -> int:
    """Drop the days before yesterday that have no row left; how many.

    A day that somebody reads for long stays until the next time.
    """
    if connection.dialect.name != "postgresql":
        return 0
    return int(await connection.scalar(_DROP, {"before": day_of(now_us) - 1}))


async def clear(connection: AsyncConnection) -> None:
    """Remove every row, a day in a statement: a month takes longer than one statement may."""
    if connection.dialect.name != "postgresql":
        await connection.execute(delete(SEGMENTS))
        return
    for day in (await connection.scalars(_DAYS)).all():
        await connection.execute(
            delete(SEGMENTS).where(
                SEGMENTS.c.start_us >= day * DAY_US, SEGMENTS.c.start_us < (day + 1) * DAY_US
            )
        )
