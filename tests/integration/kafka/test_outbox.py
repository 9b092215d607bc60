"""The outbox: state and event together, in order, whatever happens to relays and brokers."""

import asyncio
import random
from collections import defaultdict

import pytest

from integration.kafka.kafka_support import (
    CABLED,
    PATIENCE_SECONDS,
    Cable,
    House,
    cable,
    event,
    eventually,
    everything,
    house,
    spec,
)
from servers_kafka import kafka_bootstrap, kafka_config
from vigie.platform.database import Database, EmbeddedDatabase
from vigie.platform.database.migrations import schema_differences
from vigie.platform.eventlog import EventLog
from vigie.platform.eventlog.kafka import KafkaEventLog
from vigie.platform.eventlog.kafka.outbox import OUTBOX_METADATA, OUTBOX_MIGRATIONS
from vigie.platform.eventlog.kafka.relay import FAULT_POINTS
from vigie.platform.faultpoint import StrikingFaults
from vigie.platform.metrics import MetricsRegistry

pytestmark = pytest.mark.needs_server
OF = {"context": "registry"}
__all__ = ["cable", "house", "kafka_bootstrap", "kafka_config"]


async def put(log: KafkaEventLog, database: Database, *numbers: int, keys: int = 4) -> None:
    async with database.transaction() as connection:
        given = [event(n, key=f"cam-{n % keys}") for n in numbers]
        await log.append("cameras", given, connection=connection)


async def per_key(log: EventLog, count: int) -> dict[str, list[int]]:
    """All events by key, once there are so many: a commit is acknowledged before readers see it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found: dict[str, list[int]] = defaultdict(list)
            async for stored in log.read("cameras"):
                found[stored.event.key].append(int(stored.event.id[3:]))
            if len(set().union(*found.values())) >= count:
                return found
            await asyncio.sleep(0.02)


def without_repetitions(numbers: list[int]) -> list[int]:
    """Each number where it came first; a number may only be repeated with all that followed it."""
    first: list[int] = []
    for number in numbers:
        if number not in first:
            first.append(number)
    return first


async def test_the_schema_is_the_one_that_is_declared(house: House) -> None:
    database = await house.database()
    await house.log(database, spec("cameras"))
    assert await schema_differences(database, OUTBOX_MIGRATIONS, OUTBOX_METADATA) == []


async def test_two_relays_take_turns_and_keep_the_order(house: House) -> None:
    database = await house.database()
    topic = spec("cameras", compacted=True)
    logs = [await house.log(database, topic) for _ in range(2)]
    source = random.Random(5)
    for n in range(0, 200, 5):
        await put(source.choice(logs), database, *range(n, n + 5))
        if n == 100:
            await logs[0].close()
            logs = [logs[1], await house.log(database, topic)]
    assert await logs[0].drain(timeout_seconds=PATIENCE_SECONDS)
    found = await per_key(logs[0], 200)
    for key, numbers in found.items():
        assert numbers == list(range(int(key[4:]), 200, 4))


async def test_of_several_processes_one_leads_and_another_takes_over(house: House) -> None:
    database = await house.database()
    first = await house.log(database, spec("cameras"))

    async def leading(log: KafkaEventLog) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await database.read(log.leads):
                await asyncio.sleep(0.02)

    await leading(first)
    second = await house.log(database, spec("cameras"))
    assert not await database.read(second.leads)
    await first.kill()
    await leading(second)
    # Whoever was only paused learns in its own transaction that it has lost the turn.
    assert not await database.read(first.leads)
    without = await house.log(None, spec("cameras"))
    assert not await database.read(without.leads)


@pytest.mark.parametrize("point", FAULT_POINTS)
async def test_a_relay_that_dies_at_any_step_loses_nothing(point: str, house: House) -> None:
    database = await house.database()
    faults = StrikingFaults(point, _die, times=None, known=FAULT_POINTS)
    log = await house.log(database, spec("cameras"), faults=faults)
    await put(log, database, *range(8))
    await asyncio.sleep(0)
    await put(log, database, *range(8, 16))
    relay = log._relay
    assert relay is not None
    await eventually(lambda: relay.trouble is not None)
    await log.kill()
    again = await house.log(database, spec("cameras"))
    await put(again, database, *range(16, 20))
    assert await again.drain(timeout_seconds=PATIENCE_SECONDS)
    found = await per_key(again, 20)
    for key, numbers in found.items():
        assert without_repetitions(numbers) == list(range(int(key[4:]), 20, 4))
        # The last word of a key is its newest: a repetition repeats what followed, too.
        assert numbers[-1] == max(numbers)
        if point == "outbox.sent":
            assert len(numbers) == len(set(numbers)), "what was not committed is not read"


async def test_a_relay_that_wakes_up_late_publishes_nothing_behind_the_others(
    house: House, cable: Cable
) -> None:
    """It was paused with a batch in its sockets; when that arrives, the brokers refuse it."""
    database = await house.database()
    topic = spec("cameras", compacted=True)
    asleep = await house.log(database, topic, name=CABLED, request_timeout_seconds=5.0)
    await put(asleep, database, 0, 1, 2, 3)
    assert await asleep.drain(timeout_seconds=PATIENCE_SECONDS)
    cable.freeze()
    await put(asleep, database, 4, 5, 6, 7)
    relay = asleep._relay
    assert relay is not None
    # It holds the batch and cannot get it out; nor does it say in the database that it is alive.
    await relay._turn.stop()
    awake = await house.log(database, topic)
    await put(awake, database, 8, 9, 10, 11)
    assert await awake.drain(timeout_seconds=PATIENCE_SECONDS)
    cable.mend()
    await eventually(lambda: relay._producer is None or relay.trouble is not None)
    await put(asleep, database, 12, 13, 14, 15)
    assert await awake.drain(timeout_seconds=PATIENCE_SECONDS)
    found = await per_key(awake, 16)
    for key, numbers in found.items():
        assert numbers == list(range(int(key[4:]), 16, 4))


async def test_transactions_go_on_while_the_brokers_are_away(house: House, cable: Cable) -> None:
    database, metrics = await house.database(), MetricsRegistry()
    log = await house.log(
        database,
        spec("cameras"),
        name=CABLED,
        metrics=metrics,
        request_timeout_seconds=1.0,
        delivery_timeout_seconds=2.0,
    )
    cable.cut()
    for n in range(0, 40, 4):
        await put(log, database, *range(n, n + 4))
    await eventually(lambda: log.not_ready() is not None)
    assert "no broker answers" in str(log.not_ready())
    await eventually(lambda: metrics.value("vigie_eventlog_outbox_events", **OF) > 0)
    cable.mend()
    assert await log.drain(timeout_seconds=PATIENCE_SECONDS)
    await eventually(lambda: log.not_ready() is None)
    assert metrics.value("vigie_eventlog_outbox_events", **OF) == 0
    assert metrics.value("vigie_eventlog_outbox_age_seconds", **OF) == 0
    assert metrics.value("vigie_eventlog_outbox_published_total", **OF) == 40
    assert sorted(await everything(log, "cameras")) == [f"id-{n:05}" for n in range(40)]


async def test_cuts_at_any_moment_leave_each_event_in_order(house: House, cable: Cable) -> None:
    database = await house.database()
    log = await house.log(database, spec("cameras"), name=CABLED, request_timeout_seconds=1.0)
    source = random.Random(11)
    for n in range(0, 160, 4):
        await put(log, database, *range(n, n + 4))
        if source.random() < 0.4:
            cable.cut()
            await asyncio.sleep(source.random() * 0.05)
            cable.mend()
    assert await log.drain(timeout_seconds=PATIENCE_SECONDS)
    for key, numbers in (await per_key(log, 160)).items():
        assert without_repetitions(numbers) == list(range(int(key[4:]), 160, 4))
        assert numbers[-1] == max(numbers)


async def test_nothing_is_published_of_what_was_rolled_back(house: House) -> None:
    database: EmbeddedDatabase = await house.database()
    log = await house.log(database, spec("cameras"))
    with pytest.raises(LookupError):  # noqa: PT012 - the exception leaves the block under test
        async with database.transaction() as connection:
            await log.append("cameras", [event(1)], connection=connection)
            raise LookupError
    await put(log, database, 2)
    assert await log.drain(timeout_seconds=PATIENCE_SECONDS)
    assert await everything(log, "cameras") == ["id-00002"]


def _die() -> None:
    raise OSError(5, "as a killed process")
