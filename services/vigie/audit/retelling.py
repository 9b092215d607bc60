"""After a restore: the records of the searchable table, byte for byte, for a log that lost them."""

from collections.abc import AsyncIterator
from typing import Final

import sqlalchemy as sa

from vigie.audit.recorder import SOURCE
from vigie.audit.tables import ACCESSES, OBJECTS, ZONES
from vigie.audit.v1 import events_pb2 as pb
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import Event

_PAGE: Final = 1000
_COLUMNS: Final = (
    ACCESSES.c.log_partition, ACCESSES.c.log_offset, ACCESSES.c.record, ACCESSES.c.subject,
    ACCESSES.c.time_us, ACCESSES.c.content,
)  # fmt: skip


async def records(database: Database) -> AsyncIterator[Event]:
    """Every record as it was told, in the order in which the log had them."""
    after = (-1, -1)
    place = sa.tuple_(ACCESSES.c.log_partition, ACCESSES.c.log_offset)
    while True:
        query = sa.select(*_COLUMNS).where(place > after)
        query = query.order_by(ACCESSES.c.log_partition, ACCESSES.c.log_offset).limit(_PAGE)
        async with database.reading() as connection:
            rows = (await connection.execute(query)).all()
        for row in rows:
            yield Event(
                key=row.subject,
                type=pb.AccessRecord.DESCRIPTOR.full_name,
                value=bytes(row.content),
                id=row.record,
                time_us=row.time_us,
                source=SOURCE,
            )
        if len(rows) < _PAGE:
            return
        after = (rows[-1].log_partition, rows[-1].log_offset)


async def empty(connection: AsyncConnection) -> None:
    """Empty the searchable table: it is made anew from the log, with the positions of that."""
    for table in (OBJECTS, ZONES, ACCESSES):
        await connection.execute(sa.delete(table))
