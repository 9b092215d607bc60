"""Committed positions of consumer groups, kept in the consumer's own database.

A position names the last event that was processed. It never moves back.
"""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.statements import upsert
from vigie.platform.eventlog.port import StoredEvent
from vigie.platform.eventlog.tables import POSITION

_COMMITTED: Final = sa.select(POSITION.c.partition, POSITION.c.offset).where(
    POSITION.c.topic == sa.bindparam("topic"), POSITION.c.group == sa.bindparam("group")
)


async def committed_offsets(connection: AsyncConnection, topic: str, group: str) -> dict[int, int]:
    """Partition -> offset of the last event that ``group`` has processed."""
    rows = await connection.execute(_COMMITTED, {"topic": topic, "group": group})
    return {row.partition: row.offset for row in rows}


async def commit_offsets(
    connection: AsyncConnection, topic: str, group: str, events: Sequence[StoredEvent]
) -> None:
    """Move the group's positions to the newest of ``events`` in each partition."""
    newest: dict[int, int] = {}
    for stored in events:
        partition, offset = stored.position.partition, stored.position.offset
        newest[partition] = max(offset, newest.get(partition, offset))
    before = await committed_offsets(connection, topic, group)
    await upsert(
        connection,
        POSITION,
        [
            {"topic": topic, "group": group, "partition": partition, "offset": offset}
            for partition, offset in newest.items()
            if offset > before.get(partition, -1)
        ],
        key=["topic", "group", "partition"],
    )
