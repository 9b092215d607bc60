"""What the tests of recording share: an index in a temporary database and makers of facts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from databases import open_any_database
from vigie.platform.database import EmbeddedDatabase, migrate
from vigie.recording.index.tables import MIGRATIONS
from vigie.recording.model import Segment

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
T0 = 1_772_323_200 * SECOND  # 2026-03-01T00:00:00Z
RUN_A = "0195" + "a" * 28
RUN_B = "0195" + "b" * 28


@asynccontextmanager
async def opened_index(folder: Path) -> AsyncIterator[EmbeddedDatabase]:
    database = await open_any_database(folder / "vigie.sqlite")
    try:
        await migrate(database, MIGRATIONS)
        yield database
    finally:
        await database.close()


def segment(
    number: int,
    *,
    run: str = RUN_A,
    camera: str = "cam-a",
    start_us: int | None = None,
    duration_us: int = 30 * SECOND,
    size_bytes: int = 1000,
    sha256: str = "",
) -> Segment:
    """Segment ``number`` of a run of equal segments that begins at T0."""
    start = T0 + number * duration_us if start_us is None else start_us
    return Segment(
        object_key=f"footage/{camera}/{start}.{number}.{run[-4:]}.m4v",
        camera=camera,
        run=run,
        number=number,
        start_us=start,
        end_us=start + duration_us,
        media_start_ticks=number * duration_us * 9 // 100,
        media_duration_ticks=duration_us * 9 // 100,
        timescale=90000,
        sample_count=duration_us * 25 // SECOND,
        size_bytes=size_bytes,
        sha256=sha256 or f"{number:064x}",
        codec="avc1.640028",
        width=1920,
        height=1080,
        camera_clock_offset_us=None,
        header_sha256="f" * 64,
    )
