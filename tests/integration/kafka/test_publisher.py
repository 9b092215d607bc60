"""Direct appends: acknowledged or told, never twice, never out of order."""

import asyncio
import time
from dataclasses import replace

import pytest

from integration.kafka.kafka_support import (
    CABLED,
    Cable,
    House,
    cable,
    event,
    everything,
    house,
    spec,
)
from servers_kafka import kafka_bootstrap, kafka_config
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.topics import TopicAdmin
from vigie.platform.metrics import MetricsRegistry

pytestmark = pytest.mark.needs_server
__all__ = ["cable", "house", "kafka_bootstrap", "kafka_config"]


async def test_a_broker_that_is_not_there_is_named_at_once(house: House) -> None:
    log = await house.log(None)
    log._clients.config = house.config.model_copy(update={"bootstrap": ["127.0.0.1:1"]})
    log._partitions["segments"] = 3
    begun = time.monotonic()
    with pytest.raises(VigieError) as told:
        await log.append("segments", [event(1)])
    assert time.monotonic() - begun < 5
    assert told.value.reason.name == "EVENT_LOG_UNAVAILABLE"
    assert told.value.message == ("cannot append: no broker answers (Kafka at 127.0.0.1:1)")
    assert log.not_ready() == told.value.message


@pytest.mark.parametrize("how", ["cut", "freeze"])
async def test_an_append_that_failed_is_stored_once_when_it_is_repeated(
    how: str, house: House, cable: Cable
) -> None:
    log = await house.log(
        None, spec(), name=CABLED, delivery_timeout_seconds=1.5, request_timeout_seconds=1.0
    )
    await log.append("segments", [event(1)])
    getattr(cable, how)()
    with pytest.raises(VigieError, match="EVENT_LOG_UNAVAILABLE"):
        await log.append("segments", [event(2), event(3)])
    with pytest.raises(VigieError, match="EVENT_LOG_UNAVAILABLE"):
        await log.append("segments", [event(4)])
    assert log.not_ready() is not None
    cable.mend()
    async with asyncio.timeout(30):
        while True:
            try:
                await log.append("segments", [event(n) for n in range(1, 6)])
                break
            except VigieError:
                continue
    assert log.not_ready() is None
    assert await everything(log, "segments") == [f"id-{n:05}" for n in range(1, 6)]


async def test_appends_on_their_way_when_the_cable_is_cut_keep_their_order(
    house: House, cable: Cable
) -> None:
    log = await house.log(None, spec(), name=CABLED, request_timeout_seconds=1.0)

    async def camera(name: str, first: int) -> None:
        for n in range(first, first + 60):
            await log.append("segments", [event(n, key=name)])

    work = [asyncio.create_task(camera(f"cam-{c}", c * 1000)) for c in range(6)]
    for _ in range(4):
        await asyncio.sleep(0.1)
        cable.cut()
        await asyncio.sleep(0.05)
        cable.mend()
    await asyncio.gather(*work)
    stored = [one.event async for one in log.read("segments")]
    for c in range(6):
        of_key = [one.id for one in stored if one.key == f"cam-{c}"]
        assert of_key == [f"id-{n:05}" for n in range(c * 1000, c * 1000 + 60)]


async def test_what_is_too_large_is_refused_before_anything_is_sent(house: House) -> None:
    log = await house.log(None, spec())
    with pytest.raises(VigieError, match="EVENT_TOO_LARGE"):
        await log.append("segments", [event(1), event(2, value=bytes(1_000_001))])
    assert await everything(log, "segments") == []
    await log.append("segments", [event(3, value=bytes(990_000))])
    assert await everything(log, "segments") == ["id-00003"]


async def test_after_a_refusal_for_good_the_producer_is_replaced(house: House) -> None:
    """The broker's limit is below ours: the partition's numbering has a hole afterwards."""
    await house.make(spec())
    small = house.config.model_copy(update={"max_event_bytes": 10_000})
    await TopicAdmin(KafkaClients(small)).apply(
        [spec()], await TopicAdmin(KafkaClients(small)).differences([spec()])
    )
    log = await house.log(None)
    await log.append("segments", [event(1)])
    large = replace(event(2), value=bytes(range(256)) * 1000)
    with pytest.raises(VigieError, match=r"takes only smaller events \(max.message.bytes\)"):
        await log.append("segments", [large])
    for n in range(3, 8):
        await log.append("segments", [event(n)])
    assert await everything(log, "segments") == ["id-00001", *(f"id-{n:05}" for n in range(3, 8))]


async def test_memory_is_bounded_while_the_brokers_are_away(house: House, cable: Cable) -> None:
    metrics = MetricsRegistry()
    most = 1024 * 1024
    log = await house.log(
        None,
        spec(),
        name=CABLED,
        metrics=metrics,
        buffer_bytes=most,
        delivery_timeout_seconds=2.0,
        request_timeout_seconds=1.0,
    )
    await log.append("segments", [event(0)])
    cable.freeze()
    outcomes = await asyncio.gather(
        *(log.append("segments", [event(n, f"c{n}", bytes(100_000))]) for n in range(1, 40)),
        return_exceptions=True,
    )
    assert all(isinstance(one, VigieError) for one in outcomes)
    assert 0 < metrics.value("vigie_eventlog_waiting_bytes", context="registry") <= most
    assert metrics.value("vigie_eventlog_append_failures_total", topic="segments") == 39
    cable.mend()
    await log.append("segments", [event(n, f"c{n}", bytes(100_000)) for n in range(1, 40)])
    assert metrics.value("vigie_eventlog_waiting_bytes", context="registry") == 0
    assert sorted(await everything(log, "segments")) == [f"id-{n:05}" for n in range(40)]


async def test_too_few_copies_in_sync_are_named(house: House) -> None:
    await house.make(spec())
    strict = house.config.model_copy(update={"replication": 2, "min_in_sync": 2})
    admin = TopicAdmin(KafkaClients(strict))
    name = house.config.topic_prefix + "segments"
    assert await admin.diagnose(name) == ("partition 0 has 1 of the 2 copies that must be in sync")
    assert await TopicAdmin(KafkaClients(house.config)).diagnose(name) is None
    assert await admin.diagnose(name + "-nowhere") == "the topic does not exist"
