"""The numbering of a log: without holes but by hand, and never given out twice."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from vigie.platform.clock import ManualWallClock
from vigie.platform.database import EmbeddedDatabase
from vigie.platform.eventlog import EmbeddedEventLog, Event, Hole, NumberingMark, TopicSpec
from vigie.platform.eventlog.numbering import MARGIN
from vigie.platform.eventlog.tables import EVENT, TOPIC

DAY_SECONDS = 86_400
ACCESSES = TopicSpec("accesses", compacted=False, partitions=1, retention_days=2, why="a test")


async def append(log: EmbeddedEventLog, *numbers: int) -> list[int]:
    events = [Event("key", "type", b"value", f"id-{n}", n, "test") for n in numbers]
    return [position.offset for position in await log.place("accesses", events)]


async def test_age_makes_no_hole_also_when_the_clock_was_set_back(
    event_log: EmbeddedEventLog, wall_clock: ManualWallClock
) -> None:
    await event_log.declare([ACCESSES])
    await append(event_log, 1)
    wall_clock.advance(3600)
    await append(event_log, 2)
    wall_clock.advance(-7200)
    await append(event_log, 3)
    wall_clock.advance(2 * DAY_SECONDS + 3000)
    # The first and the third are old by their append, the second between them is not.
    assert (await event_log.maintain()).expired == 0
    wall_clock.advance(1200)
    assert (await event_log.maintain()).expired == 1
    assert await event_log.holes("accesses") == []
    wall_clock.advance(10 * DAY_SECONDS)
    assert (await event_log.maintain()).expired == 2
    assert await event_log.holes("accesses") == []
    assert await append(event_log, 4) == [3]


@pytest.mark.parametrize(
    ("gone", "hole"),
    [(0, Hole(0, 0)), (1, Hole(1, 1)), (2, Hole(2, 2))],
    ids=["head", "mid", "end"],
)
async def test_what_is_taken_out_by_hand_leaves_a_hole(
    gone: int, hole: Hole, event_log: EmbeddedEventLog, log_database: EmbeddedDatabase
) -> None:
    await event_log.declare([ACCESSES])
    await append(event_log, 1, 2, 3)
    topic = sa.select(TOPIC.c.topic).where(TOPIC.c.name == "accesses").scalar_subquery()
    async with log_database.transaction() as connection:
        mine = (EVENT.c.topic == topic) & (EVENT.c.offset == gone)
        await connection.execute(sa.delete(EVENT).where(mine))
    assert await event_log.holes("accesses") == [hole]
    assert await event_log.holes("cameras") == [], "compacted: holes are its nature"
    assert await event_log.holes("nowhere") == []


async def test_an_older_database_skips_ahead_of_its_mark(
    event_log: EmbeddedEventLog,
    log_database: EmbeddedDatabase,
    wall_clock: ManualWallClock,
    tmp_path: Path,
) -> None:
    await event_log.declare([ACCESSES])
    await append(event_log, 1, 2, 3)
    path = tmp_path / "numbering.json"
    mark = NumberingMark(path, log_database, wall_clock)
    assert await mark.skip_ahead() == [], "no mark yet"
    await mark.note()
    assert await mark.skip_ahead() == []
    # As it was before the last two events.
    async with log_database.transaction() as connection:
        await connection.execute(sa.delete(EVENT).where(EVENT.c.offset >= 1))
        old = sa.update(TOPIC).where(TOPIC.c.name == "accesses").values(next_offset=1)
        await connection.execute(old)
    assert await mark.behind() == {"accesses": (1, 3)}
    assert await mark.skip_ahead() == ["accesses"]
    assert await append(event_log, 4) == [3 + MARGIN]
    skipped_us = wall_clock.now_us()
    assert await event_log.holes("accesses") == [Hole(1, 2 + MARGIN, skipped_us)]
    later = NumberingMark(path, log_database, wall_clock)
    assert await later.skip_ahead() == []
    assert later.bucket_ahead
    await later.caught_up()
    again = NumberingMark(path, log_database, wall_clock)
    await again.behind()
    assert not again.bucket_ahead


async def test_a_mark_that_cannot_be_read_or_written_stops_nothing(
    log_database: EmbeddedDatabase,
    event_log: EmbeddedEventLog,
    wall_clock: ManualWallClock,
    tmp_path: Path,
) -> None:
    del event_log  # its tables are needed
    path = tmp_path / "numbering.json"
    path.write_bytes(b"\xa5")
    assert await NumberingMark(path, log_database, wall_clock).skip_ahead() == []
    await NumberingMark(tmp_path / "nowhere" / "mark", log_database, wall_clock).note()
