"""A distributed log may hold an event twice, at any distance: the second time changes nothing.

The handlers are handed every event of an estate again, as a consumer would be, and again as one
old event among new ones. (`tests/unit/audit/test_records.py` does the same for access records.)
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from recording_footage import record_run
from recording_rig import Rig, recording_rig
from recording_support import DAY, RUN_A, RUN_B, SECOND, T0
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import Position, StoredEvent
from vigie.recording.index import tables
from vigie.recording.index.handlers import IndexHandlers
from vigie.recording.model import Cause

CAMERA = "cam-a"
HELD = "hold-kept"
TOPICS = ("cameras", "segments", "holds")


async def estate(rig: Rig) -> None:
    """A camera with two states, two runs, an outage that grew and closed, holds kept and let go."""
    await rig.camera(CAMERA, T0 - DAY)
    await rig.run(record_run(CAMERA, RUN_A, T0))
    await rig.camera(CAMERA, T0 + 5 * SECOND, revision=2, retention_days=20)
    cause = int(Cause.CAMERA_UNREACHABLE)
    await rig.outage(CAMERA, T0 + 60 * SECOND, 0, cause, known_us=T0 + 70 * SECOND)
    await rig.outage(CAMERA, T0 + 60 * SECOND, 0, cause, known_us=T0 + 80 * SECOND)
    await rig.outage(CAMERA, T0 + 60 * SECOND, T0 + 90 * SECOND, cause)
    await rig.hold(HELD, CAMERA, T0, T0 + 100 * SECOND)
    await rig.hold("hold-released", CAMERA, T0, T0 + 10 * SECOND)
    await rig.hold("hold-released", CAMERA, T0, T0 + 10 * SECOND, released=True)
    await rig.run(record_run(CAMERA, RUN_B, T0 + 90 * SECOND))
    await rig.settle()
    await rig.module.keeper.work()


async def index(rig: Rig) -> dict[str, list[str]]:
    """Every row of the index."""
    found = {}
    async with rig.database.reading() as connection:
        for table in tables.METADATA.sorted_tables:
            rows = await connection.execute(select(table))
            found[table.name] = sorted(repr(tuple(row)) for row in rows)
    return found


def handlers(rig: Rig) -> dict[str, Callable[..., Awaitable[None]]]:
    made = IndexHandlers(rig.database, rig.wall, rig.module._metrics, lambda: None)
    return {"cameras": made.cameras, "segments": made.segments, "holds": made.holds}


async def hand(rig: Rig, topic: str, events: Sequence[StoredEvent]) -> None:
    handler = handlers(rig)[topic]

    async def work(connection: AsyncConnection) -> None:
        await handler(connection, events)

    await rig.database.write(work)


@pytest.mark.parametrize("topic", TOPICS)
async def test_all_events_handed_a_second_time_change_nothing(topic: str, tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 200 * SECOND) as rig:
        await estate(rig)
        before = await index(rig)
        events = [stored async for stored in rig.log.read(topic)]
        assert len(events) >= 2
        # As a log that stored them again would: behind what there is, under the same ids.
        again = [
            replace(stored, position=Position(0, 1000 + number))
            for number, stored in enumerate(events)
        ]
        await hand(rig, topic, again)
        await rig.module.keeper.work()
        assert await index(rig) == before


@pytest.mark.parametrize("topic", TOPICS)
async def test_each_old_event_on_its_own_changes_nothing(topic: str, tmp_path: Path) -> None:
    async with recording_rig(tmp_path, T0 + 200 * SECOND) as rig:
        await estate(rig)
        before = await index(rig)
        for stored in [stored async for stored in rig.log.read(topic)]:
            await hand(rig, topic, [stored])
            await rig.module.keeper.work()
            assert await index(rig) == before, stored.event.id
