"""After a restore: what the index alone knows of footage that is not there, told to a new log.

Stored footage needs no telling: index and bucket have it.
"""

from collections.abc import AsyncIterator
from itertools import groupby
from typing import Final

from sqlalchemy import select

from vigie.evidence.v1.events_pb2 import HoldState
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.platform.eventlog import Event, make_event
from vigie.recording.index.tables import DESTRUCTIONS, HOLD_CAMERAS, HOLDS, OUTAGES
from vigie.recording.requests import timestamp
from vigie.recording.v1 import events_pb2

_PAGE: Final = 1000
_SOURCE: Final = "vigie/recording"


async def destructions(database: Database, wall_clock: WallClock) -> AsyncIterator[Event]:
    """Every entry of the register of destructions, as it was told when it was made."""
    after = ""
    while True:
        query = select(DESTRUCTIONS).where(DESTRUCTIONS.c.object_key > after)
        async with database.reading() as connection:
            rows = (
                await connection.execute(query.order_by(DESTRUCTIONS.c.object_key).limit(_PAGE))
            ).all()
        for row in rows:
            message = events_pb2.DestructionEvent(
                camera=row.camera,
                object_key=row.object_key,
                run=row.run,
                number=row.number,
                start_us=row.start_us,
                duration_us=row.end_us - row.start_us,
                sha256=row.sha256,
                reason=events_pb2.DestructionReason.ValueType(row.reason),
                decision_time=timestamp(row.decided_us),
                basis=row.basis,
            )
            yield make_event(
                message,
                key=row.camera,
                source=_SOURCE,
                wall_clock=wall_clock,
                event_id=f"destruction:{row.object_key}",
                time_us=row.decided_us,
            )
        if len(rows) < _PAGE:
            return
        after = rows[-1].object_key


async def holds(database: Database, wall_clock: WallClock) -> list[Event]:
    """Every hold of the index: also those whose request nobody knows any more."""
    cameras: dict[str, list[str]] = {}
    async with database.reading() as connection:
        rows = (await connection.execute(select(HOLDS).order_by(HOLDS.c.hold))).all()
        for row in await connection.execute(select(HOLD_CAMERAS)):
            cameras.setdefault(row.hold, []).append(row.camera)
    events = []
    for row in rows:
        message = HoldState(
            hold=row.hold,
            cameras=sorted(cameras.get(row.hold, [])),
            start_us=row.start_us,
            end_us=row.end_us,
            legal_reference=row.legal_reference,
            evidence_request=row.evidence_request,
            place_time=timestamp(row.placed_us),
            placed_by=row.placed_by,
        )
        if row.released_us is not None:
            message.release_time.CopyFrom(timestamp(row.released_us))
        word = "placed" if row.released_us is None else "released"
        events.append(
            make_event(
                message,
                key=row.hold,
                source=_SOURCE,
                wall_clock=wall_clock,
                event_id=f"{row.hold}.{word}.retold",
                time_us=row.placed_us if row.released_us is None else row.released_us,
            )
        )
    return events


async def outages(database: Database, wall_clock: WallClock) -> list[Event]:
    """Every outage of the index, its rows joined, by identifier."""
    query = select(OUTAGES).order_by(OUTAGES.c.outage, OUTAGES.c.piece_us)
    async with database.reading() as connection:
        rows = (await connection.execute(query)).all()
    events = []
    for outage, group in groupby(rows, key=lambda row: row.outage):
        pieces = list(group)
        first, last = pieces[0], pieces[-1]
        told = ingest_pb2.Outage(
            outage=outage, start_us=first.start_us, cause=first.cause, detail=first.detail
        )
        if last.open:
            told.known_until_us = last.end_us
        else:
            told.end_us = last.end_us
        events.append(
            make_event(
                ingest_pb2.SegmentEvent(camera=first.camera, outage=told),
                key=first.camera,
                source=_SOURCE,
                wall_clock=wall_clock,
                event_id=f"{outage}.{last.end_us}.retold",
                time_us=last.end_us,
            )
        )
    return events
