"""After a restore: the holds of all requests, told to a log that lost them."""

import sqlalchemy as sa

from vigie.evidence.model import RELEASES_HOLD
from vigie.evidence.repository import SOURCE, hold_state, load_request
from vigie.evidence.tables import REQUEST
from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import Event, make_event


async def hold_states(database: Database, wall_clock: WallClock) -> list[Event]:
    """Every hold as it stands, by request, oldest first.

    A hold that was released bears the time of the last change of its request.
    """

    async def work(connection: AsyncConnection) -> list[Event]:
        query = sa.select(REQUEST.c.document).order_by(REQUEST.c.request)
        requests = [load_request(row[0]) for row in (await connection.execute(query)).all()]
        events = []
        for request in requests:
            released = request.state in RELEASES_HOLD
            message = hold_state(request, request.update_us if released else None)
            word = "released" if released else "placed"
            events.append(
                make_event(
                    message,
                    key=request.hold,
                    source=SOURCE,
                    wall_clock=wall_clock,
                    event_id=f"{request.hold}.{word}.retold",
                    time_us=request.update_us if released else request.create_us,
                )
            )
        return events

    return await database.read(work)
