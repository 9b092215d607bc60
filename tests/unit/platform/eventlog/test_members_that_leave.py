"""Members that are closed while they join: nobody is left in the group for whom nobody reads."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka.errors import NodeNotReadyError

from unit.platform.eventlog.brokers_support import Brokers, log_at
from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.database import open_database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka import KafkaEventLog
from vigie.platform.eventlog.port import Change, Share


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
async def log(brokers: Brokers, tmp_path: Path) -> AsyncIterator[KafkaEventLog]:
    database = await open_database(tmp_path / "vigie.sqlite3")
    made = await log_at(brokers, database, ManualMonotonicClock(5_000_000))
    yield made
    await made.close()
    await database.close()


async def test_a_share_that_is_closed_while_it_joins_has_left(
    brokers: Brokers, log: KafkaEventLog
) -> None:
    brokers.starting = asyncio.Event()
    share = await log.share("cameras", "ingest")
    following = asyncio.create_task(_first(share))
    await _until(lambda: brokers.consumers != [])
    await share.close()
    brokers.starting.set()
    with pytest.raises(VigieError, match="STOPPING"):
        await following
    assert brokers.members == []
    assert [one.stopped for one in brokers.consumers] == [True]


async def test_a_subscription_that_is_closed_while_it_joins_again_has_left(
    brokers: Brokers, log: KafkaEventLog
) -> None:
    member = await log.subscribe("segments", "index")
    brokers.fails = NodeNotReadyError()
    with pytest.raises(VigieError, match="EVENT_LOG_UNAVAILABLE"):
        await member.fetch(max_events=1, timeout_seconds=0)
    brokers.fails, brokers.starting = None, asyncio.Event()
    fetching = asyncio.create_task(member.fetch(max_events=1, timeout_seconds=5))
    await _until(lambda: len(brokers.consumers) == 2)
    await member.close()
    brokers.starting.set()
    assert list(await fetching) == []
    assert brokers.members == []
    assert [one.stopped for one in brokers.consumers] == [True, True]


async def test_a_log_that_is_closed_while_a_member_joins_leaves_nobody_behind(
    brokers: Brokers, log: KafkaEventLog
) -> None:
    brokers.starting = asyncio.Event()
    joining = asyncio.create_task(log.subscribe("segments", "index"))
    await _until(lambda: brokers.consumers != [])
    await log.close()
    brokers.starting.set()
    with pytest.raises(VigieError, match="STOPPING"):
        await joining
    assert brokers.members == []
    assert [one.stopped for one in brokers.consumers] == [True]


async def _first(share: Share) -> Change:
    return await anext(aiter(share.changes()))


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)
