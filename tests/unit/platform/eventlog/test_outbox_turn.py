"""Whose turn it is to publish an outbox: kept while it is used, given up where it is in vain."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from unit.platform.eventlog.outbox_cluster import Cluster, until
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.database import EmbeddedDatabase, open_database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.migrations import migrate
from vigie.platform.eventlog import Event
from vigie.platform.eventlog.kafka import outbox
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.metrics import KafkaMetrics
from vigie.platform.eventlog.kafka.relay import Relay
from vigie.platform.metrics import MetricsRegistry

EVENTS = [f"id-{n}@hold" for n in range(4)]


class Office:
    """A database, brokers, and relays that share one clock."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self.database = database
        self.cluster = Cluster()
        self.clock = ManualMonotonicClock(1_000_000)
        self.relays: list[Relay] = []

    def relay(self) -> Relay:
        made = Relay(
            cast("KafkaClients", self.cluster),
            self.database,
            ManualWallClock(1_000_000),
            self.clock,
            KafkaMetrics(MetricsRegistry(), "evidence"),
        )
        self.relays.append(made)
        made.start()
        return made

    async def put(self, *numbers: int) -> None:
        async with self.database.transaction() as connection:
            events = [Event("hold", "T", b"value", f"id-{n}", 0, "test") for n in numbers]
            await outbox.put(connection, "holds", events, 0)

    async def has_turn(self, relay: Relay) -> bool:
        return await self.database.read(relay.has_turn)

    async def leading(self, relay: Relay) -> None:
        async def leads() -> bool:
            return await self.has_turn(relay)

        await until(leads)

    async def empty(self) -> None:
        async def is_empty() -> bool:
            return (await self.database.read(outbox.standing))[0] == 0

        await until(is_empty)

    async def committing(self) -> None:
        async def begun() -> bool:
            return self.cluster.committing > 0

        await until(begun)

    async def pass_time(self, seconds: float) -> list[Relay]:
        """Let so much time go by; who had the turn, one after the other."""
        owners: list[Relay] = []
        for _ in range(round(seconds / 0.5)):
            await self.clock.advance(0.5)
            await self._settled()
            for relay in self.relays:
                if await self.has_turn(relay) and owners[-1:] != [relay]:
                    owners.append(relay)
        return owners

    async def _settled(self) -> None:
        """Statements are done in order: what was asked before has its answer behind these."""

        async def nothing(_: AsyncConnection) -> None: ...

        for _ in range(8):
            await self.database.write(nothing)
            await self.database.read(outbox.turn)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    database = await open_database(tmp_path / "vigie.sqlite3")
    await migrate(database, outbox.OUTBOX_MIGRATIONS)
    made = Office(database)
    yield made
    for relay in made.relays:
        await relay.kill()
    await database.close()


async def test_a_batch_that_takes_long_keeps_the_turn(office: Office) -> None:
    """Else two relays fence each other off for ever, and nothing is published by either."""
    await office.put(0, 1, 2, 3)
    office.cluster.answers.clear()
    slow = office.relay()
    await office.committing()
    office.relay()
    assert await office.pass_time(25.0) == [slow]
    office.cluster.answers.set()
    await office.empty()
    assert office.cluster.stored == EVENTS
    assert (office.cluster.introduced, office.cluster.fenced) == (1, 0)


async def test_the_turn_stays_while_brokers_are_away_for_a_moment(office: Office) -> None:
    office.cluster.away = True
    await office.put(0, 1)
    first = office.relay()
    await office.leading(first)
    second = office.relay()
    assert await office.pass_time(25.0) == [first]
    assert first.trouble is not None
    assert second.trouble is None
    office.cluster.away = False
    assert await office.pass_time(11.0) == [first]
    await office.empty()
    assert first.trouble is None
    assert office.cluster.stored == EVENTS[:2]


async def test_who_fails_for_long_lets_others_try(office: Office) -> None:
    """They may reach the brokers that this one does not; who has given up says so until then."""
    office.cluster.away = True
    await office.put(0, 1)
    first = office.relay()
    await office.leading(first)
    await office.pass_time(29.0)
    second = office.relay()
    assert await office.pass_time(20.0) == [first, second]
    assert first.trouble is None, "another publishes"
    office.cluster.away = False
    await office.pass_time(11.0)
    await office.empty()
    assert office.cluster.stored == EVENTS[:2]


async def test_alone_it_takes_the_turn_again_and_its_trouble_never_ends(office: Office) -> None:
    office.cluster.away = True
    await office.put(0)
    alone = office.relay()
    await office.leading(alone)
    await office.pass_time(1.0)
    without = 0
    for _ in range(60):
        await office.pass_time(1.0)
        assert alone.trouble is not None
        without += not await office.has_turn(alone)
    assert without > 0, "it was given up"
    assert await office.has_turn(alone)


async def test_what_is_not_published_is_told_after_thirty_seconds(office: Office) -> None:
    """By who tries: a moment without brokers is none, and who only watches is well."""
    office.cluster.away = True
    await office.put(0)
    first = office.relay()
    await office.leading(first)
    await office.pass_time(29.0)
    assert first.stuck() is None
    await office.pass_time(3.0)
    assert "no broker answers" in str(first.stuck())
    second = office.relay()
    await office.pass_time(20.0)
    assert first.stuck() is None, "another tries"
    assert second.stuck() is None
    await office.pass_time(20.0)
    assert "no broker answers" in str(second.stuck())
    office.cluster.away = False
    await office.pass_time(11.0)
    await office.empty()
    assert second.stuck() is None


async def test_a_relay_that_has_ended_or_hangs_says_so(office: Office) -> None:
    ended = office.relay()
    ended._pause = _breaks  # type: ignore[method-assign] # a defect
    await office.pass_time(2.0)
    assert ended.trouble is not None
    await office.pass_time(31.0)
    assert "has ended" in str(ended.stuck())
    await ended.kill()
    await office.put(0)
    office.cluster.answers.clear()
    hanging = office.relay()
    await office.pass_time(5.0)
    await office.committing()
    await office.pass_time(100.0)
    assert hanging.stuck() is None
    await office.pass_time(30.0)
    assert "hangs" in str(hanging.stuck())


async def _breaks(*_: object) -> None:
    raise LookupError


async def test_the_turn_is_not_kept_for_a_relay_that_hangs(office: Office) -> None:
    """And what it was about to publish comes too late: the brokers take nothing of it."""
    await office.put(0, 1, 2, 3)
    office.cluster.answers.clear()
    hanging = office.relay()
    await office.committing()
    other = office.relay()
    assert await office.pass_time(110.0) == [hanging]
    assert await office.pass_time(20.0) == [hanging, other]
    office.cluster.answers.set()
    await office.empty()
    await office.put(4)
    await office.pass_time(5.0)
    await office.empty()
    assert office.cluster.stored == [*EVENTS, "id-4@hold"]
    assert office.cluster.fenced == 1
    assert await office.has_turn(other)
    assert hanging.trouble is None


async def test_a_killed_relay_is_missed_after_three_seconds(office: Office) -> None:
    first = office.relay()
    await office.leading(first)
    second = office.relay()
    await office.pass_time(4.0)
    await first.kill()
    assert await office.pass_time(2.0) == [first]
    assert await office.pass_time(2.5) == [first, second]


async def test_a_relay_that_stops_hands_over_at_once(office: Office) -> None:
    first = office.relay()
    await office.leading(first)
    second = office.relay()
    await office.pass_time(1.0)
    await first.stop()
    assert await office.pass_time(1.0) == [second]
