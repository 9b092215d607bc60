"""Where cameras stood, as the registry told."""

from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import select

from vigie.platform.database.connection import AsyncConnection
from vigie.recording.index.reader import in_order
from vigie.recording.index.tables import CAMERA_STATES


class Stand(NamedTuple):
    """Where a camera stood from an instant on."""

    effective_us: int
    zone: str


async def zone_histories(connection: AsyncConnection) -> dict[str, list[Stand]]:
    """Camera -> where it stood, by time, for every camera the registry has told of."""
    table = CAMERA_STATES
    query = select(table.c.camera, table.c.effective_us, table.c.zone)
    told: dict[str, list[Stand]] = {}
    for row in await connection.execute(query.order_by(table.c.camera, table.c.revision)):
        told.setdefault(row.camera, []).append(Stand(row.effective_us, row.zone))
    return {camera: in_order(stands, attrgetter("effective_us")) for camera, stands in told.items()}
