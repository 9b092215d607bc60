"""A publisher remembers what it has appended for a long time, and in little room."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from unit.platform.eventlog.brokers_support import Brokers, log_at
from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.eventlog import Event
from vigie.platform.eventlog.kafka import KafkaEventLog


@pytest.fixture
async def log() -> AsyncIterator[KafkaEventLog]:
    made = await log_at(Brokers(), None, ManualMonotonicClock())
    yield made
    await made.close()


def event(number: int) -> Event:
    return Event("cam-a", "T", b"value", f"id-{number}", 0, "test")


def futures() -> int:
    gc.collect()
    return sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())


async def test_of_what_is_stored_the_identifier_stays_and_nothing_else(log: KafkaEventLog) -> None:
    await log.append("segments", [event(0)])
    before = futures()
    await log.append("segments", [event(number) for number in range(1, 200)])
    assert futures() - before < 10


async def test_what_is_remembered_is_not_sent_again(log: KafkaEventLog) -> None:
    brokers: Brokers = log._clients  # type: ignore[attr-defined]
    await log.append("segments", [event(number) for number in range(5)])
    brokers.acknowledges = False
    async with asyncio.timeout(5):
        await log.append("segments", [event(number) for number in range(5)])
    assert not brokers.unanswered
