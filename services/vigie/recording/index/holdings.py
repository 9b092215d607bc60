"""How holds stand in the index."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from vigie.platform.database import in_chunks
from vigie.recording.index.tables import HOLD_OBJECTS, HOLD_TO_TAKE_OFF


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
