"""Topic `quarantine` at real brokers: records to the byte, words at least once, under one id."""

import asyncio
import hashlib
import random
from collections.abc import Sequence
from typing import Any

import pytest

from integration.kafka.kafka_support import (
    PATIENCE_SECONDS,
    House,
    eventually,
    house,
    raw_producer,
    spec,
)
from servers_kafka import kafka_bootstrap, kafka_config
from vigie.common.v1.events_pb2 import QUARANTINE_OUTCOME_DISCARDED, QuarantineEvent
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import (
    QUARANTINE_TOPIC,
    Consumer,
    ConsumerOptions,
    EventLog,
    Quarantine,
    StoredEvent,
    Unprocessable,
    parse_event,
)
from vigie.platform.eventlog.kafka import KafkaEventLog
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.faultpoint import StrikingFaults, raise_errno

pytestmark = pytest.mark.needs_server
__all__ = ["house", "kafka_bootstrap", "kafka_config"]

Raw = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
CURIOUS: list[Raw] = [
    (None, b"no key, no headers", []),
    (
        b"\xff\x00key",
        bytes(range(256)),
        [("twice", b"1"), ("twice", b"\xff"), ("h\u00e9", b"\x00")],
    ),
    (b"cam-a", None, [("ce_id", b"1")]),
    (b"cam-a", b"", [("empty", b"")]),
]


async def refuse(_connection: AsyncConnection, events: Sequence[StoredEvent]) -> None:
    raise Unprocessable("EVENT_TYPE_UNKNOWN", f"nobody's, {len(events)}")


def consumer(log: KafkaEventLog, database: Database, quarantine: Quarantine) -> Consumer:
    return Consumer(
        log, database, quarantine, SystemMonotonicClock(), topic="segments", group="index",
        handler=refuse, options=ConsumerOptions(idle_seconds=0.2, first_back_off_seconds=0.01),
    )  # fmt: skip


async def words_of(log: EventLog) -> list[tuple[str, QuarantineEvent]]:
    """Event id and word of everything in the topic."""
    return [
        (stored.event.id, parse_event(stored, QuarantineEvent))
        async for stored in log.read(QUARANTINE_TOPIC.name)
    ]


async def put_away(
    log: KafkaEventLog, database: Database, quarantine: Quarantine, count: int
) -> None:
    """Consume ``count`` records, all of which go to quarantine, and wait until that is told."""
    worker = consumer(log, database, quarantine)
    worker.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await quarantine.count() < count:
            await asyncio.sleep(0.05)
    await worker.stop()
    assert await log.drain(timeout_seconds=PATIENCE_SECONDS)


async def test_records_are_told_to_the_byte(house: House) -> None:
    database = await house.database()
    log = await house.log(database, spec(partitions=1), QUARANTINE_TOPIC)
    quarantine = Quarantine(database, SystemWallClock(), log)
    # As large as a topic takes: what tells of it is larger than that.
    largest = random.Random(1).randbytes(house.config.max_event_bytes + 40_000)
    records: list[Raw] = [*CURIOUS, (b"cam-b", largest, [])]
    async with raw_producer(house.config) as producer:
        for key, value, headers in records:
            topic = house.config.topic_prefix + "segments"
            await producer.send_and_wait(topic, value, key=key, headers=headers)
    await put_away(log, database, quarantine, len(records))
    found = {word.offset: word for _, word in await words_of(log)}
    assert sorted(found) == list(range(len(records)))
    for offset, (key, value, headers) in enumerate(records):
        word = found[offset]
        record = word.quarantined.record
        assert (word.topic, word.partition, word.consumer) == ("segments", 0, "index")
        assert word.quarantined.reason == "EVENT_TYPE_UNKNOWN"
        assert (None if record.without_key else record.key) == key
        assert (None if record.without_value else record.value) == value
        assert [(one.name, one.value) for one in record.headers] == headers
        assert record.size_bytes == len(value or b"")
        assert not record.left_out
    rows = await quarantine.list()
    assert [(row.stored.raw.key, row.stored.raw.value) for row in rows if row.stored.raw] == [
        (key, value) for key, value, _ in records
    ]


async def test_what_no_topic_would_take_is_named_and_stays_in_the_database(house: House) -> None:
    """Brokers bound what is compressed; such a record may be of any length."""
    database = await house.database()
    log = await house.log(database, spec(partitions=1), QUARANTINE_TOPIC)
    quarantine = Quarantine(database, SystemWallClock(), log)
    value = b"\x00" * (5 * house.config.max_event_bytes)
    async with compressing_producer(house) as producer:
        await producer.send_and_wait(house.config.topic_prefix + "segments", value, key=b"cam-a")
    await put_away(log, database, quarantine, 1)
    ((_, word),) = await words_of(log)
    record = word.quarantined.record
    assert record.left_out
    assert (record.key, record.value, record.size_bytes) == (b"", b"", len(value))
    assert record.sha256 == hashlib.sha256(value).hexdigest()
    (item,) = await quarantine.list()
    assert item.stored.event.value == value


async def test_a_relay_that_fails_repeats_words_under_their_ids_and_loses_none(
    house: House,
) -> None:
    database = await house.database()
    faults = StrikingFaults("outbox.committed", raise_errno(5), times=2)
    topics = (spec(partitions=1), QUARANTINE_TOPIC)
    log = await house.log(database, *topics, faults=faults)
    quarantine = Quarantine(database, SystemWallClock(), log)
    async with raw_producer(house.config) as producer:
        for key, value, headers in CURIOUS:
            topic = house.config.topic_prefix + "segments"
            await producer.send_and_wait(topic, value, key=key, headers=headers)
    await put_away(log, database, quarantine, len(CURIOUS))
    for item in await quarantine.list():
        await quarantine.discard(item.number, actor="a-martin", purpose="made by a test")
    assert await log.drain(timeout_seconds=PATIENCE_SECONDS)
    await eventually(lambda: faults.strikes == 2)
    found = await words_of(log)
    assert len(found) > len({name for name, _ in found}), "nothing was repeated"
    once = dict(found)
    assert len(once) == 2 * len(CURIOUS)
    cases: dict[str, list[QuarantineEvent]] = {}
    for word in once.values():
        cases.setdefault(word.case_id, []).append(word)
    assert len(cases) == len(CURIOUS)
    for put, resolved in cases.values():
        assert put.WhichOneof("word") == "quarantined"
        assert resolved.resolved.outcome == QUARANTINE_OUTCOME_DISCARDED


def compressing_producer(house: House) -> Any:
    """A producer that sends records of any length, compressed."""
    from aiokafka import AIOKafkaProducer

    return AIOKafkaProducer(
        **KafkaClients(house.config).arguments(),
        compression_type="gzip",
        max_request_size=20 * house.config.max_event_bytes,
    )
