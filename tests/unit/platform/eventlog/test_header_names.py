"""A record with a header whose name is no UTF-8: readers say so, and go on when it is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from unit.platform.eventlog.brokers_support import Brokers, log_at
from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.database import open_database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka import KafkaEventLog, assignment
from vigie.platform.eventlog.kafka.failures import failures
from vigie.platform.eventlog.port import Change, Gained, Share

SAID = r"a record has a header whose name is no UTF-8 \(b'ab\\xff\\xfe'\)"


def raised() -> Exception:
    """What aiokafka raises when it is given such a record."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1000,
    )
    builder.append(0, timestamp=1, key=b"k", value=b"v", headers=[("name", b"x")])
    batch = MemoryRecords(bytes(builder.build()).replace(b"name", b"ab\xff\xfe"))
    name = TopicPartition("segments", 0)
    try:
        list(PartitionRecords(name, batch, [], 0, None, None, False, READ_COMMITTED))
    except Exception as error:  # noqa: BLE001 - this is asked
        return error
    raise AssertionError("it was read")


@pytest.fixture
def brokers() -> Brokers:
    made = Brokers()
    made.events_a_partition = 1
    return made


@pytest.fixture
def clock() -> ManualMonotonicClock:
    return ManualMonotonicClock(5_000_000)


@pytest.fixture
async def log(
    brokers: Brokers, clock: ManualMonotonicClock, tmp_path: Path
) -> AsyncIterator[KafkaEventLog]:
    database = await open_database(tmp_path / "vigie.sqlite3")
    made = await log_at(brokers, database, clock)
    yield made
    await made.close()
    await database.close()


def test_what_the_client_raises_counts_among_the_failures() -> None:
    assert isinstance(raised(), failures())


async def test_a_reader_says_what_stands_in_its_way(brokers: Brokers, log: KafkaEventLog) -> None:
    brokers.fails = raised()
    with pytest.raises(VigieError, match=SAID) as told:
        await anext(aiter(log.read("segments")))
    assert told.value.reason.name == "EVENT_LOG_UNAVAILABLE"


async def test_a_member_says_so_and_joins_anew(brokers: Brokers, log: KafkaEventLog) -> None:
    member = await log.subscribe("segments", "index")
    brokers.gives(0)
    brokers.fails = raised()
    with pytest.raises(VigieError, match=SAID) as told:
        await member.fetch(max_events=1, timeout_seconds=0)
    assert told.value.reason.name == "EVENT_LOG_UNAVAILABLE"
    assert brokers.members == []
    brokers.fails = None
    assert list(await member.fetch(max_events=1, timeout_seconds=0)) == []
    assert len(brokers.members) == 1


async def test_a_share_goes_on_when_the_record_is_gone(
    brokers: Brokers,
    log: KafkaEventLog,
    clock: ManualMonotonicClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assignment, "_POLL_SECONDS", 0.0)
    brokers.events_a_partition = 0
    share, seen = await log.share("cameras", "ingest"), list[Change]()
    following = asyncio.create_task(_follow(share, seen))
    await _until(lambda: brokers.members != [])
    brokers.gives(0)
    await _until(lambda: seen != [])
    brokers.fails = raised()
    await _until(lambda: "no UTF-8" in str(share.not_ready()))
    assert not following.done()
    assert share.partitions == {0}, "it keeps what it has"
    brokers.fails = None

    async def again() -> None:
        while brokers.members == []:
            await clock.advance(1)
            await asyncio.sleep(0)

    await asyncio.wait_for(again(), 20)
    brokers.gives(0, 1)
    await _until(lambda: len(seen) > 1 and share.not_ready() is None)
    assert isinstance(seen[-1], Gained)
    await share.close()
    await asyncio.gather(following, return_exceptions=True)


async def _follow(share: Share, seen: list[Change]) -> None:
    async for change in share.changes():
        seen.append(change)  # noqa: PERF401 - each as it comes, and for ever


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)
