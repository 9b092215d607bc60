"""Consumer groups: every event takes effect once, whoever comes, goes, sleeps or writes rubbish."""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from integration.kafka.kafka_support import (
    CABLED,
    PATIENCE_SECONDS,
    Cable,
    House,
    cable,
    event,
    eventually,
    house,
    ids,
    raw_producer,
    spec,
)
from servers_kafka import kafka_bootstrap, kafka_config
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import (
    QUARANTINE_TOPIC,
    Consumer,
    ConsumerOptions,
    Quarantine,
    StoredEvent,
    Subscription,
    Unprocessable,
)
from vigie.platform.eventlog.kafka import KafkaEventLog
from vigie.platform.eventlog.kafka import subscription as following
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.offsets import Limits
from vigie.platform.eventlog.kafka.topics import TopicAdmin
from vigie.platform.metrics import MetricsRegistry

pytestmark = pytest.mark.needs_server
__all__ = ["cable", "house", "kafka_bootstrap", "kafka_config"]

# A second effect of an event breaks the primary key.
EFFECT = sa.Table(
    "effect",
    sa.MetaData(),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("offset", sa.Integer, primary_key=True),
    sa.Column("id", sa.String),
)
OPTIONS = ConsumerOptions(batch_size=13, idle_seconds=0.2, first_back_off_seconds=0.01)


async def take_effect(connection: AsyncConnection, events: Sequence[StoredEvent]) -> None:
    for stored in events:
        if not stored.event.type:
            raise Unprocessable("EVENT_TYPE_UNKNOWN", "nobody's")
        place = {"partition": stored.position.partition, "offset": stored.position.offset}
        await connection.execute(sa.insert(EFFECT), place | {"id": stored.event.id})


def consumer(log: KafkaEventLog, database: Database, topic: str = "segments") -> Consumer:
    return Consumer(
        log,
        database,
        Quarantine(database, SystemWallClock(), log),
        SystemMonotonicClock(),
        topic=topic,
        group="index",
        handler=take_effect,
        options=OPTIONS,
    )


async def prepared(house: House) -> Any:
    database = await house.database()
    async with database.transaction() as connection:
        await connection.run_sync(EFFECT.create)
    return database


async def effects(database: Database) -> list[str]:
    async with database.reading() as connection:
        rows = await connection.scalars(sa.select(EFFECT.c.id).order_by(EFFECT.c.id))
        return list(rows.all())


async def fetch(subscription: Subscription, count: int) -> list[StoredEvent]:
    events: list[StoredEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(events) < count:
            events += await subscription.fetch(max_events=count - len(events), timeout_seconds=5)
    return events


async def fetch_some(subscription: Subscription) -> list[StoredEvent]:
    """What a member is given until nothing comes for a second."""
    events: list[StoredEvent] = []
    while more := await subscription.fetch(max_events=100, timeout_seconds=1.0):
        events += more
    return events


async def test_members_that_come_and_go_double_and_lose_nothing(house: House) -> None:
    database = await prepared(house)
    topic = spec(partitions=6)
    log = await house.log(database, topic)
    source, count, members = random.Random(3), 1200, [consumer(log, database)]
    members[0].start()

    async def write() -> None:
        for n in range(0, count, 10):
            await log.append("segments", [event(m, f"cam-{m % 40}") for m in range(n, n + 10)])
            await asyncio.sleep(0.01)

    writing = asyncio.create_task(write())
    while not writing.done():
        await asyncio.sleep(0.15)
        if len(members) > 1 and (len(members) == 4 or source.random() < 0.5):
            await members.pop(source.randrange(len(members))).stop()
        else:
            members.append(consumer(log, database))
            members[-1].start()
    await writing
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await effects(database)) < count:
            await asyncio.sleep(0.1)
    for one in members:
        await one.stop()
    assert await effects(database) == [f"id-{n:05}" for n in range(count)]
    assert await Quarantine(database, SystemWallClock(), log).count() == 0


async def test_a_rebalance_while_a_member_asks_how_far_it_is_behind(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new partitions have no position before it fetches: it must not wait for them."""
    database = await prepared(house)
    log = await house.log(database, spec(partitions=6))
    await log.append("segments", [event(n, f"cam-{n}") for n in range(12)])
    member = await log.subscribe("segments", "index")
    assert isinstance(member, following.KafkaSubscription)
    await member.commit(await fetch(member, 12))
    assert await member.lag() == 0
    ask, others = member._offsets.limits, list[Subscription]()

    async def ask_while_another_joins(
        topic: str, partitions: Iterable[int]
    ) -> Mapping[int, Limits]:
        found = await ask(topic, partitions)
        if not others:
            others.append(await log.subscribe("segments", "index"))
            await eventually(lambda: len(member._member.assigned or range(6)) < 6)
        return found

    monkeypatch.setattr(member._offsets, "limits", ask_while_another_joins)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await member.lag() is None
    assert await member.fetch(max_events=1, timeout_seconds=0.5) == []
    await log.append("segments", [event(n, f"cam-{n}") for n in range(12, 24)])
    given = [event for one in (member, *others) for event in await fetch_some(one)]
    assert set(ids(given)) == {f"id-{n:05}" for n in range(12, 24)}


async def test_a_member_that_slept_through_a_rebalance_is_refused(
    house: House, cable: Cable
) -> None:
    """It fetched, then heard nothing for longer than the session: the others did its work."""
    database = await prepared(house)
    log = await house.log(
        database, spec(), name=CABLED, request_timeout_seconds=2.0, session_timeout_seconds=3.0
    )
    await log.append("segments", [event(n) for n in range(6)])
    asleep = await log.subscribe("segments", "index")
    events = await fetch(asleep, 6)
    cable.freeze()
    other = await house.log(database, spec(), session_timeout_seconds=3.0)
    awake = await other.subscribe("segments", "index")
    again = await fetch(awake, 6)
    assert ids(again) == ids(events)
    async with database.transaction() as connection:
        await take_effect(connection, again[:4])
        await awake.commit(again[:4], connection=connection)
    with pytest.raises(VigieError, match="POSITION_REFUSED"):  # noqa: PT012 - within the transaction
        async with database.transaction() as connection:
            await connection.execute(
                sa.insert(EFFECT), {"partition": 99, "offset": 0, "id": "doubled"}
            )
            await asleep.commit(events, connection=connection)
    async with database.transaction() as connection:
        await take_effect(connection, again[4:])
        await awake.commit(again[4:], connection=connection)
    assert await effects(database) == [f"id-{n:05}" for n in range(6)]
    cable.mend()
    # It finds its place again: what comes now is shared out anew.
    await asleep.rewind()
    await log.append("segments", [event(n, f"cam-{n}") for n in range(6, 30)])
    found: list[str] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(found) < 24:
            for member in (asleep, awake):
                try:
                    batch = await member.fetch(max_events=50, timeout_seconds=0.2)
                    await member.commit(batch)
                except VigieError:
                    await member.rewind()
                    continue
                found += ids(batch)
    assert sorted(found) == [f"id-{n:05}" for n in range(6, 30)]


async def test_nothing_comes_from_a_partition_that_another_member_has(house: House) -> None:
    database = await prepared(house)
    log = await house.log(database, spec(partitions=4))
    await log.append("segments", [event(n, f"cam-{n}") for n in range(40)])
    one = await log.subscribe("segments", "index")
    first = await one.fetch(max_events=5, timeout_seconds=5)
    assert first
    two = await log.subscribe("segments", "index")
    await fetch(two, 1)
    held = set(two._positions.held)
    assert held
    rest: list[StoredEvent] = []
    while batch := await one.fetch(max_events=50, timeout_seconds=1):
        rest += batch
    assert not {stored.position.partition for stored in rest} & held
    assert one._positions.held.keys() | held == {0, 1, 2, 3}


async def test_rubbish_goes_to_quarantine_with_its_bytes_and_stops_nobody(house: House) -> None:
    database = await prepared(house)
    log = await house.log(database, spec(partitions=1), QUARANTINE_TOPIC)
    name = house.config.topic_prefix + "segments"
    rubbish: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
        (None, b"no key, no headers", []),
        (b"\xff\x00key", bytes(range(256)), [("ce_id", b"\xff"), ("h\u00e9", b"\x00")]),
        (b"cam-a", None, []),
        (b"cam-a", b"x", [("ce_specversion", b"2.0"), ("ce_id", b"1"), ("ce_type", b"t"),
                          ("ce_source", b"s"), ("ce_time", b"2026-01-01T00:00:00Z")]),
        (b"cam-a", b"x", [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_type", b"t"),
                          ("ce_source", b"s"), ("ce_time", b"yesterday")]),
    ]  # fmt: skip
    await log.append("segments", [event(1)])
    async with raw_producer(house.config) as producer:
        for key, value, headers in rubbish:
            await producer.send_and_wait(name, value, key=key, headers=headers)
    await log.append("segments", [event(2)])
    worker = consumer(log, database)
    worker.start()
    quarantine = Quarantine(database, SystemWallClock(), log)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await effects(database) != ["id-00001", "id-00002"]:
            await asyncio.sleep(0.05)
    found = await quarantine.list()
    assert [item.stored.event.value for item in found] == [value or b"" for _, value, _ in rubbish]
    assert {item.reason for item in found} == {"EVENT_TYPE_UNKNOWN"}
    assert found[1].stored.event.key == "\\xff\\x00key"
    assert found[1].stored.event.headers == {"ce_id": "\\xff", "hé": "\\x00"}
    assert [item.stored.position.offset for item in found] == [1, 2, 3, 4, 5]
    assert await worker.replay(found[0].number) is False
    await worker.stop()


async def test_lag_counts_no_marks_of_transactions_once_they_are_passed(house: House) -> None:
    database = await prepared(house)
    log = await house.log(database, spec("cameras", compacted=True, partitions=2))
    for n in range(6):
        async with database.transaction() as connection:
            await log.append("cameras", [event(n, f"cam-{n}")], connection=connection)
    assert await log.drain(timeout_seconds=PATIENCE_SECONDS)
    worker = consumer(log, database, "cameras")
    worker.start()
    await eventually(lambda: worker.joined)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await effects(database)) < 6:
            await asyncio.sleep(0.05)
    assert await worker.drain(timeout_seconds=PATIENCE_SECONDS)
    await worker.stop()
    # The same after a restart, where the marks stand behind the committed positions.
    worker = consumer(log, database, "cameras")
    worker.start()
    await eventually(lambda: worker.joined)
    assert await worker.drain(timeout_seconds=PATIENCE_SECONDS)
    await worker.stop()


async def test_a_topic_that_was_made_anew_is_not_taken_for_the_old_one(house: House) -> None:
    """Its offsets begin again; what stands below the old position would be skipped in silence."""
    database = await prepared(house)
    log = await house.log(database, spec(partitions=1))
    await log.append("segments", [event(n) for n in range(5)])
    subscription = await log.subscribe("segments", "index")
    await subscription.commit(await fetch(subscription, 5))
    await subscription.close()
    admin = TopicAdmin(KafkaClients(house.config))
    await admin.remove([house.config.topic_prefix + "segments"])
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await house.make(spec(partitions=1))
                break
            except VigieError:
                await asyncio.sleep(0.1)
    again = await house.log(database, spec(partitions=1))
    await again.append("segments", [event(n) for n in range(5, 7)])
    subscription = await again.subscribe("segments", "index")
    with pytest.raises(VigieError) as told:
        await fetch(subscription, 1)
    assert told.value.reason.name == "POSITION_BEYOND_END"
    assert "has read segments, partition 0, up to 4, but it ends at 1" in told.value.message


async def test_events_that_expired_unread_are_told_and_counted(house: House) -> None:
    from aiokafka import TopicPartition
    from aiokafka.admin import RecordsToDelete

    database, metrics = await prepared(house), MetricsRegistry()
    log = await house.log(database, spec(partitions=1), metrics=metrics)
    await log.append("segments", [event(n) for n in range(10)])
    subscription = await log.subscribe("segments", "index")
    await subscription.commit(await fetch(subscription, 3))
    await subscription.close()
    admin = KafkaClients(house.config).admin()
    await admin.start()
    name = TopicPartition(house.config.topic_prefix + "segments", 0)
    await admin.delete_records({name: RecordsToDelete(before_offset=8)})
    await admin.close()
    subscription = await log.subscribe("segments", "index")
    assert ids(await fetch(subscription, 2)) == ["id-00008", "id-00009"]
    missed = metrics.value("vigie_eventlog_expired_unread_total", topic="segments", group="index")
    assert missed == 5


async def test_a_consumer_waits_for_brokers_that_are_away_and_goes_on(
    house: House, cable: Cable
) -> None:
    database = await prepared(house)
    log = await house.log(
        database, spec(), name=CABLED, request_timeout_seconds=1.0, session_timeout_seconds=3.0
    )
    other = await house.log(None, spec())
    worker = consumer(log, database)
    worker.start()
    await other.append("segments", [event(n) for n in range(5)])
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await effects(database)) < 5:
            await asyncio.sleep(0.05)
    cable.cut()
    await other.append("segments", [event(n) for n in range(5, 9)])
    await asyncio.sleep(1.0)
    cable.mend()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await effects(database)) < 9:
            await asyncio.sleep(0.05)
    await eventually(lambda: worker.not_ready() is None)
    await worker.stop()
    assert await effects(database) == [f"id-{n:05}" for n in range(9)]
