from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vigie.platform.clock import ManualWallClock
from vigie.platform.database import EmbeddedDatabase, open_database
from vigie.platform.eventlog import EmbeddedEventLog, TopicSpec, open_event_log

SEGMENTS = TopicSpec(name="segments", compacted=False, partitions=1, why="a test")
CAMERAS = TopicSpec(name="cameras", compacted=True, partitions=1, why="a test")


@pytest.fixture
def wall_clock() -> ManualWallClock:
    return ManualWallClock(1_700_000_000_000_000)


@pytest.fixture
async def log_database(tmp_path: Path) -> AsyncIterator[EmbeddedDatabase]:
    database = await open_database(tmp_path / "data" / "vigie.sqlite3")
    yield database
    await database.close()


@pytest.fixture
async def event_log(
    log_database: EmbeddedDatabase, wall_clock: ManualWallClock
) -> AsyncIterator[EmbeddedEventLog]:
    log = await open_event_log(log_database, wall_clock)
    await log.declare([SEGMENTS, CAMERAS])
    yield log
    await log.close()
