import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from vigie.platform.clock import ManualWallClock
from vigie.platform.database import EmbeddedDatabase, open_database, schema_differences
from vigie.platform.database.embedded import FAULT_POINTS as DATABASE_FAULT_POINTS
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EmbeddedEventLog, Event, TopicSpec, open_event_log
from vigie.platform.eventlog.embedded import FAULT_POINTS
from vigie.platform.eventlog.groupcommit import MAX_EVENTS_A_BATCH
from vigie.platform.eventlog.maintenance import PIECE, TOMBSTONE_LIFE_US
from vigie.platform.eventlog.tables import (
    CONSUMER_METADATA,
    CONSUMER_MIGRATIONS,
    LOG_METADATA,
    LOG_MIGRATIONS,
)
from vigie.platform.faultpoint import StrikingFaults, raise_errno

ACCESSES = TopicSpec(name="accesses", compacted=False, partitions=1, why="a test", retention_days=2)
DAY_SECONDS = 24 * 3600


def event(number: int, key: str = "cam-a", value: bytes | None = b"value") -> Event:
    return Event(
        key=key,
        type="vigie.sample.v1.Sample",
        value=value,
        id=f"id-{number:05}",
        time_us=number,
        source="vigie/test",
    )


async def ids(log: EmbeddedEventLog, topic: str) -> list[str]:
    return [stored.event.id async for stored in log.read(topic)]


async def test_tables_are_what_the_migrations_make(
    event_log: EmbeddedEventLog, log_database: EmbeddedDatabase
) -> None:
    assert await schema_differences(log_database, LOG_MIGRATIONS, LOG_METADATA) == []
    assert await schema_differences(log_database, CONSUMER_MIGRATIONS, CONSUMER_METADATA) == []


async def test_many_appends_share_few_transactions(
    event_log: EmbeddedEventLog, log_database: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions = 0
    real = log_database.transact

    def counting(work: Callable[[Connection], object]) -> Awaitable[object]:
        nonlocal transactions
        transactions += 1
        return real(work)

    monkeypatch.setattr(log_database, "transact", counting)
    positions = await asyncio.gather(*(event_log.place("segments", [event(n)]) for n in range(500)))
    assert transactions <= 3
    assert [position.offset for [position] in positions] == list(range(500))
    assert await ids(event_log, "segments") == [f"id-{n:05}" for n in range(500)]


async def test_a_group_may_hold_several_topics_and_repeated_ids(
    event_log: EmbeddedEventLog,
) -> None:
    placed = await asyncio.gather(
        event_log.place("segments", [event(1), event(2), event(1)]),
        event_log.place("cameras", [event(1)]),
        event_log.place("segments", [event(2), event(3)]),
    )
    assert [[position.offset for position in one] for one in placed] == [[0, 1, 0], [0], [1, 2]]


async def test_one_append_may_be_larger_than_a_group(event_log: EmbeddedEventLog) -> None:
    count = MAX_EVENTS_A_BATCH + 5
    large, small = await asyncio.gather(
        event_log.place("segments", [event(n) for n in range(count)]),
        event_log.place("segments", [event(count)]),
    )
    assert (len(large), small[0].offset) == (count, count)


@pytest.mark.parametrize("point", [*FAULT_POINTS, *DATABASE_FAULT_POINTS])
async def test_an_append_that_fails_at_any_step_says_so_and_can_be_repeated(
    tmp_path: Path, wall_clock: ManualWallClock, point: str
) -> None:
    quiet = 4 if point.startswith("database") else 0  # opening, two migrations, declaring
    faults = StrikingFaults(point, raise_errno(28), first=quiet + 1)
    database = await open_database(tmp_path / "vigie.sqlite3", faults=faults)
    log = await open_event_log(database, wall_clock, faults=faults)
    await log.declare([ACCESSES])
    outcomes = await asyncio.gather(
        *(log.append("accesses", [event(n)]) for n in range(3)), return_exceptions=True
    )
    failed = [one for one in outcomes if isinstance(one, VigieError)]
    assert failed
    assert {error.reason.name for error in failed} == {"EVENT_LOG_UNAVAILABLE"}
    stored = await ids(log, "accesses")
    for number, outcome in enumerate(outcomes):
        if not isinstance(outcome, VigieError):
            assert f"id-{number:05}" in stored
    assert bool(stored) == (point.endswith("committed"))
    await asyncio.gather(*(log.append("accesses", [event(n)]) for n in range(3)))
    assert await ids(log, "accesses") == [f"id-{n:05}" for n in range(3)]
    await log.close()
    await database.close()


@pytest.mark.parametrize("point", ["eventlog.append.begun", "eventlog.append.inserted"])
async def test_an_append_that_fails_takes_the_callers_transaction_with_it(
    tmp_path: Path, wall_clock: ManualWallClock, point: str
) -> None:
    database = await open_database(tmp_path / "vigie.sqlite3")
    faults = StrikingFaults(point, raise_errno(5), known=FAULT_POINTS)
    log = await open_event_log(database, wall_clock, faults=faults)
    await log.declare([ACCESSES])
    with pytest.raises(VigieError, match="EVENT_LOG_UNAVAILABLE"):
        async with database.transaction() as connection:
            await log.append("accesses", [event(1)], connection=connection)
    assert await ids(log, "accesses") == []
    await log.close()
    await database.close()


async def test_a_reader_is_not_woken_by_a_rollback(
    event_log: EmbeddedEventLog, log_database: EmbeddedDatabase
) -> None:
    subscription = await event_log.subscribe("segments", "index")
    waiting = asyncio.create_task(subscription.fetch(max_events=1, timeout_seconds=20))
    with pytest.raises(LookupError):  # noqa: PT012 - the exception leaves the block under test
        async with log_database.transaction() as connection:
            await event_log.append("segments", [event(1)], connection=connection)
            raise LookupError
    assert not waiting.done()
    await event_log.append("segments", [event(2)])
    [stored] = await waiting
    assert stored.event.id == "id-00002"


async def test_appending_alone_inside_a_transaction_is_refused_rather_than_waiting_for_ever(
    event_log: EmbeddedEventLog, log_database: EmbeddedDatabase
) -> None:
    async with log_database.transaction():
        with pytest.raises(RuntimeError, match="with its connection"):
            await event_log.append("segments", [event(1)])


async def test_a_cancelled_append_does_not_disturb_the_others(event_log: EmbeddedEventLog) -> None:
    tasks = [asyncio.create_task(event_log.append("segments", [event(n)])) for n in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(one, asyncio.CancelledError) for one in outcomes) == 1
    assert len(set(await ids(event_log, "segments"))) in {9, 10}


async def test_closing_finishes_the_appends_under_way(event_log: EmbeddedEventLog) -> None:
    tasks = [asyncio.create_task(event_log.append("segments", [event(n)])) for n in range(10)]
    await asyncio.sleep(0)
    await event_log.close()
    outcomes = await asyncio.gather(*tasks)
    assert len(outcomes) == 10


async def test_old_events_expire_by_the_time_of_their_append(
    event_log: EmbeddedEventLog, wall_clock: ManualWallClock
) -> None:
    await event_log.declare([ACCESSES])
    await event_log.append("accesses", [event(1)])
    wall_clock.advance(1.5 * DAY_SECONDS)
    await event_log.append("accesses", [event(2)])
    assert (await event_log.maintain()).expired == 0
    wall_clock.advance(0.6 * DAY_SECONDS)
    assert (await event_log.maintain()).expired == 1
    assert await ids(event_log, "accesses") == ["id-00002"]
    wall_clock.advance(10 * DAY_SECONDS)
    await event_log.maintain()
    assert await event_log.ends("accesses") == []
    [position] = await event_log.place("accesses", [event(3)])
    assert position.offset == 2, "offsets never go back"


async def test_expiry_goes_on_piece_by_piece_and_stops_at_what_stays(
    event_log: EmbeddedEventLog, wall_clock: ManualWallClock
) -> None:
    await event_log.declare([ACCESSES])
    await event_log.append("accesses", [event(number) for number in range(2500)])
    wall_clock.advance(1.5 * DAY_SECONDS)
    await event_log.append("accesses", [event(number) for number in range(2500, 2503)])
    wall_clock.advance(1.0 * DAY_SECONDS)
    assert (await event_log.maintain()).expired == 2500
    assert await ids(event_log, "accesses") == ["id-02500", "id-02501", "id-02502"]


async def test_a_tombstone_stays_until_every_group_has_seen_it(
    event_log: EmbeddedEventLog, wall_clock: ManualWallClock
) -> None:
    await event_log.append("cameras", [event(1), event(2, value=None), event(3, key="cam-b")])
    subscription = await event_log.subscribe("cameras", "ingest")
    one, two, three = await subscription.fetch(max_events=3, timeout_seconds=1)
    await subscription.commit([one])
    wall_clock.advance(TOMBSTONE_LIFE_US / 1_000_000 - 1)
    report = await event_log.maintain()
    assert (report.superseded, report.tombstones) == (1, 0)
    wall_clock.advance(1)
    assert (await event_log.maintain()).tombstones == 0, "the group has not seen it"
    await subscription.commit([two])
    assert (await event_log.maintain()).tombstones == 1
    assert await ids(event_log, "cameras") == ["id-00003"]
    await subscription.commit([three])


async def test_compaction_goes_a_piece_at_a_time_to_the_end(event_log: EmbeddedEventLog) -> None:
    count = PIECE * 2 + 7
    await event_log.append("cameras", [event(n) for n in range(count)])
    assert (await event_log.maintain()).superseded == count - 1
    assert await ids(event_log, "cameras") == [f"id-{count - 1:05}"]


async def test_a_mismatch_names_every_difference_and_declares_nothing(
    event_log: EmbeddedEventLog,
) -> None:
    await event_log.declare([ACCESSES])
    wrong = replace(ACCESSES, retention_days=3, partitions=4)
    with pytest.raises(VigieError) as refused:
        await event_log.declare([replace(ACCESSES, name="new"), wrong])
    assert "partitions is 1, declared 4" in refused.value.message
    assert "retention_days is 2, declared 3" in refused.value.message
    with pytest.raises(VigieError, match="TOPIC_UNKNOWN"):
        await event_log.ends("new")


async def test_positions_never_move_back(event_log: EmbeddedEventLog) -> None:
    await event_log.append("segments", [event(n) for n in range(4)])
    subscription = await event_log.subscribe("segments", "index")
    events = await subscription.fetch(max_events=4, timeout_seconds=1)
    await subscription.commit(events)
    with pytest.raises(VigieError, match="POSITION_REFUSED"):
        await subscription.commit(events[:1])
    assert await subscription.lag() == 0


async def test_a_member_that_has_left_moves_nothing(event_log: EmbeddedEventLog) -> None:
    await event_log.append("segments", [event(n) for n in range(4)])
    gone = await event_log.subscribe("segments", "index")
    events = await gone.fetch(max_events=4, timeout_seconds=1)
    await gone.close()
    with pytest.raises(VigieError, match="POSITION_REFUSED"):
        await gone.commit(events)
    staying = await event_log.subscribe("segments", "index")
    assert len(await staying.fetch(max_events=4, timeout_seconds=1)) == 4


async def test_topics_are_known_after_reopening(
    event_log: EmbeddedEventLog, log_database: EmbeddedDatabase, wall_clock: ManualWallClock
) -> None:
    await event_log.append("segments", [event(1)])
    await event_log.close()
    again = await open_event_log(log_database, wall_clock)
    assert await ids(again, "segments") == ["id-00001"]
    await again.append("segments", [event(2)])
    assert await ids(again, "segments") == ["id-00001", "id-00002"]
    await again.close()


async def test_waiting_readers_do_not_touch_the_database(
    event_log: EmbeddedEventLog, log_database: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = 0

    def counting(real: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object) -> object:
            nonlocal readings
            readings += 1
            return real(*arguments)

        return counted

    subscription = await event_log.subscribe("segments", "index")
    assert await subscription.fetch(max_events=1, timeout_seconds=0) == []
    for name in ("reading", "read"):
        monkeypatch.setattr(log_database, name, counting(getattr(log_database, name)))
    assert await subscription.fetch(max_events=1, timeout_seconds=0.3) == []
    assert readings == 1, "a fetch looks once at the topic, then waits"


async def test_what_cannot_be_stored_fails_alone(event_log: EmbeddedEventLog) -> None:
    bad = replace(event(3), headers={"name": "\ud800"})
    outcomes = await asyncio.gather(
        event_log.append("segments", [event(1)]),
        event_log.append("segments", [event(2), bad]),
        event_log.append("segments", [event(4)]),
        return_exceptions=True,
    )
    assert [isinstance(one, UnicodeEncodeError) for one in outcomes] == [False, True, False]
    assert await ids(event_log, "segments") == ["id-00001", "id-00004"]
