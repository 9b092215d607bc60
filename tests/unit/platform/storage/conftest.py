from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from databases import EMBEDDED, open_any_database
from servers_postgres import postgres_database, postgres_server
from vigie.platform.clock import ManualWallClock
from vigie.platform.database import EmbeddedDatabase
from vigie.platform.eventlog import (
    QUARANTINE_TOPIC,
    EmbeddedEventLog,
    TopicSpec,
    open_event_log,
)
from vigie.platform.objectstore import DirectoryObjectStore, open_directory_store

__all__ = ["postgres_database", "postgres_server"]

SEGMENTS = TopicSpec(name="segments", compacted=False, partitions=1, why="a test")
CAMERAS = TopicSpec(name="cameras", compacted=True, partitions=1, why="a test")


@pytest.fixture
def wall_clock() -> ManualWallClock:
    return ManualWallClock(1_700_000_000_000_000)


@pytest.fixture
def database_kind() -> str:
    """Tests of consumers override this: they run on every database."""
    return EMBEDDED


@pytest.fixture
async def log_database(tmp_path: Path, database_kind: str) -> AsyncIterator[EmbeddedDatabase]:
    database = await open_any_database(tmp_path / "data" / "vigie.sqlite3")
    yield database
    await database.close()


@pytest.fixture
async def event_log(
    log_database: EmbeddedDatabase, wall_clock: ManualWallClock
) -> AsyncIterator[EmbeddedEventLog]:
    log = await open_event_log(log_database, wall_clock)
    await log.declare([SEGMENTS, CAMERAS, QUARANTINE_TOPIC])
    yield log
    await log.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
async def store(root: Path, wall_clock: ManualWallClock) -> AsyncIterator[DirectoryObjectStore]:
    opened = await open_directory_store(root, wall_clock)
    yield opened
    await opened.close()
