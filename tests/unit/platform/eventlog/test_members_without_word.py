"""A member whose group gives no word: for a moment it is well, for longer it says so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from unit.platform.eventlog.brokers_support import Brokers, log_at
from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.database import EmbeddedDatabase, open_database
from vigie.platform.eventlog import Consumer, ConsumerOptions, Quarantine
from vigie.platform.eventlog.kafka import KafkaEventLog, assignment
from vigie.platform.eventlog.observer import SilentObserver
from vigie.platform.eventlog.port import Change, Gained, Lost, Share, Subscription


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def clock() -> ManualMonotonicClock:
    return ManualMonotonicClock(5_000_000)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[EmbeddedDatabase]:
    made = await open_database(tmp_path / "vigie.sqlite3")
    yield made
    await made.close()


@pytest.fixture
async def log(
    brokers: Brokers, database: EmbeddedDatabase, clock: ManualMonotonicClock
) -> AsyncIterator[KafkaEventLog]:
    made = await log_at(brokers, database, clock)
    yield made
    await made.close()


class Lags(SilentObserver):
    """What a consumer told of how far it is behind."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def lag(self, topic: str, group: str, count: int) -> None:
        assert topic
        assert group
        self.told.append(count)


async def looked(member: Subscription) -> None:
    assert list(await member.fetch(max_events=1, timeout_seconds=0)) == []


async def test_without_an_assignment_it_says_so_after_twenty_seconds(
    brokers: Brokers, log: KafkaEventLog, clock: ManualMonotonicClock
) -> None:
    brokers.events_a_partition = 1000
    member = await log.subscribe("segments", "index")
    await clock.advance(19)
    await looked(member)
    assert member.not_ready() is None, "a group takes its time"
    assert await member.lag() is None
    await clock.advance(1.5)
    assert member.not_ready() == "group index has assigned nothing of segments since 20 s"
    brokers.gives(0, 1)
    assert member.not_ready() is None
    assert await member.lag() is None, "it has not asked yet from where it reads"
    await looked(member)
    assert await member.lag() == 2000


async def test_a_rebalance_that_ends_is_no_trouble_and_one_that_does_not_is(
    brokers: Brokers, log: KafkaEventLog, clock: ManualMonotonicClock
) -> None:
    member = await log.subscribe("segments", "index")
    brokers.gives(0, 1, 2)
    await looked(member)
    await clock.advance(500)
    for _ in range(10):
        brokers.rearranges()
        await clock.advance(15)
        assert member.not_ready() is None
        brokers.gives(0, 1)
        await looked(member)
    brokers.rearranges()
    assert await member.lag() is None
    await clock.advance(12)
    brokers.rearranges()  # anew, before the first one has ended
    await clock.advance(9)
    assert "since 21 s" in str(member.not_ready())


async def test_a_member_that_is_given_nothing_is_well(
    brokers: Brokers, log: KafkaEventLog, clock: ManualMonotonicClock
) -> None:
    """There are more members than partitions."""
    member = await log.subscribe("segments", "index")
    brokers.gives()
    await looked(member)
    await clock.advance(3600)
    assert member.not_ready() is None
    assert await member.lag() == 0


async def test_a_consumer_is_not_ready_and_not_drained_while_nothing_is_assigned(
    brokers: Brokers, log: KafkaEventLog, database: EmbeddedDatabase, clock: ManualMonotonicClock
) -> None:
    lags = Lags()
    consumer = Consumer(
        log,
        database,
        Quarantine(database, log._wall_clock, log),
        clock,
        topic="segments",
        group="index",
        handler=lambda *_: asyncio.sleep(0),
        options=ConsumerOptions(idle_seconds=0.01),
        observer=lags,
    )
    consumer.start()
    await _until(lambda: bool(brokers.members))
    await clock.advance(10)
    assert consumer.not_ready() is None
    assert not await consumer.drain(timeout_seconds=0.2), "who knows what waits"
    await clock.advance(15)
    assert "has assigned nothing of segments" in str(consumer.not_ready())
    assert lags.told == []
    brokers.events_a_partition = 7
    brokers.gives(0)

    async def told() -> None:
        while not lags.told:
            await clock.advance(1)
            await asyncio.sleep(0)

    await asyncio.wait_for(told(), 20)
    assert lags.told[0] == 7
    assert consumer.not_ready() is None
    await consumer.stop()


async def test_a_share_says_that_it_waits_and_that_it_has_given_up(
    brokers: Brokers, clock: ManualMonotonicClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment, "_POLL_SECONDS", 0.0)
    log = await log_at(brokers, None, clock, without_word_seconds=40.0)
    share, seen = await log.share("cameras", "ingest"), list[Change]()
    following = asyncio.create_task(_follow(share, seen))
    await _until(lambda: bool(brokers.members))
    brokers.gives(0, 1)
    await _until(lambda: seen != [] and share.not_ready() is None)
    brokers.rearranges()
    await clock.advance(15)
    assert share.not_ready() is None
    await clock.advance(6)
    assert share.not_ready() == "group ingest has assigned nothing of cameras since 21 s"
    assert share.partitions == {0, 1}, "it keeps what it has"

    async def lost() -> None:
        while not isinstance(seen[-1], Lost):
            await clock.advance(1)
            await asyncio.sleep(0)

    await asyncio.wait_for(lost(), 20)
    assert share.partitions == frozenset()
    assert "was given up" in str(share.not_ready())
    brokers.gives(1)
    await _until(lambda: isinstance(seen[-1], Gained) and share.not_ready() is None)
    await share.close()
    await asyncio.gather(following, return_exceptions=True)
    await log.close()


async def _follow(share: Share, seen: list[Change]) -> None:
    async for change in share.changes():
        seen.append(change)  # noqa: PERF401 - each as it comes, and for ever


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)
