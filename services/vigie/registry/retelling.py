"""After a restore: cameras told to a log that lost them, or numbered on behind a newer log."""

from collections.abc import Mapping

from sqlalchemy import select, update

from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import Event, make_event
from vigie.registry import camerastore, convert, coverage
from vigie.registry.journal import SOURCE
from vigie.registry.tables import cameras


async def camera_states(database: Database, wall_clock: WallClock) -> list[Event]:
    """The state of every camera as it would be told now, by camera."""
    now_us = wall_clock.now_us()

    async def work(connection: AsyncConnection) -> list[Event]:
        rows = await connection.execute(select(cameras).order_by(cameras.c.camera))
        records = [camerastore.record_of(row) for row in rows.mappings()]
        terms = await coverage.terms(connection, [record.camera for record in records], now_us)
        return [
            make_event(
                convert.camera_state_event(record, terms[record.camera]),
                key=record.camera,
                source=SOURCE,
                wall_clock=wall_clock,
                event_id=f"{record.camera}.{record.revision}.retold",
                time_us=record.updated_us,
            )
            for record in records
        ]

    return await database.read(work)


async def revisions(database: Database) -> dict[str, int]:
    """Camera -> its revision."""

    async def work(connection: AsyncConnection) -> dict[str, int]:
        rows = await connection.execute(select(cameras.c.camera, cameras.c.revision))
        return {row.camera: row.revision for row in rows}

    return await database.read(work)


async def raise_revisions(connection: AsyncConnection, floors: Mapping[str, int]) -> None:
    """Let the next change of each camera be newer than the revision given.

    Readers of the log take no older revision for the newest; what the log says stays in force
    until that change.
    """
    for camera, floor in floors.items():
        await connection.execute(
            update(cameras)
            .where(cameras.c.camera == camera, cameras.c.revision < floor)
            .values(revision=floor)
        )
