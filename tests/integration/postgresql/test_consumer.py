"""A consumer on PostgreSQL: every event takes effect once, whatever becomes of its commits."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from databases import PostgresqlUnderTest
from servers_postgres import Proxy, TestDatabase
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.postgresql.connect import Login
from vigie.platform.eventlog import (
    EmbeddedEventLog,
    Event,
    Quarantine,
    StoredEvent,
    TopicSpec,
    open_event_log,
)
from vigie.platform.eventlog.consumer import Consumer, ConsumerOptions
from vigie.platform.faultpoint import StrikingFaults

TOPIC = TopicSpec("segments", compacted=False, partitions=1, why="test")
EFFECT = sa.Table(
    "effect",
    sa.MetaData(),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("event", sa.String, nullable=False),
)
EVENTS = 300


async def count(connection: AsyncConnection, events: Sequence[StoredEvent]) -> None:
    """An effect that shows when it is had twice."""
    rows = [{"event": stored.event.id} for stored in events]
    await connection.execute(sa.insert(EFFECT), rows)


async def effects(made: TestDatabase, schema: str) -> list[str]:
    rows = await made.execute(f"SELECT event FROM {schema}.effect ORDER BY event")
    return [row["event"] for row in rows]


async def filled(login: Login) -> tuple[PostgresqlUnderTest, EmbeddedEventLog]:
    database = PostgresqlUnderTest(login, migrates_itself=True)
    log = await open_event_log(database, SystemWallClock())
    await log.declare([TOPIC])
    async with database.transaction() as connection:
        await connection.run_sync(EFFECT.create)
    events = [
        Event(key=f"cam-{n % 7}", type="t", value=b"x", id=f"e{n:04}", time_us=n, source="test")
        for n in range(EVENTS)
    ]
    await log.append("segments", events)
    return database, log


async def consumed(
    own: PostgresqlUnderTest, log: EmbeddedEventLog, made: TestDatabase, schema: str
) -> Consumer:
    """A consumer that has come to the end of the topic.

    Positions are committed in the consumer's own database, so its log is opened on that one.
    """
    options = ConsumerOptions(
        batch_size=20, idle_seconds=0.2, first_back_off_seconds=0.01, longest_back_off_seconds=0.05
    )
    consumer = Consumer(
        log, own, Quarantine(own, SystemWallClock(), log), SystemMonotonicClock(), topic="segments",
        group="test", handler=count, options=options,
    )  # fmt: skip
    consumer.start()
    async with asyncio.timeout(60):
        while len(await effects(made, schema)) < EVENTS:
            await asyncio.sleep(0.02)
    return consumer


async def test_a_commit_whose_answer_is_lost_is_neither_lost_nor_done_twice(
    postgres_database: TestDatabase, empty_schema: str, postgres_proxy: Proxy
) -> None:
    database, log = await filled(postgres_database.login(empty_schema))

    def lose() -> None:
        postgres_proxy.lose_answers(close_after_ms=20)
        asyncio.get_running_loop().call_later(0.2, postgres_proxy.mend)

    faults = StrikingFaults("database.transaction.committing", lose, first=4)
    login = postgres_database.login(empty_schema, port=postgres_proxy.port)
    own = PostgresqlUnderTest(login, faults=faults)
    own_log = await open_event_log(own, SystemWallClock())
    consumer = await consumed(own, own_log, postgres_database, empty_schema)
    await consumer.stop()
    assert faults.strikes == 1
    assert await effects(postgres_database, empty_schema) == [f"e{n:04}" for n in range(EVENTS)]
    assert await Quarantine(database, SystemWallClock(), log).count() == 0
    await own.close()
    await log.close()
    await database.close()


@pytest.mark.parametrize("seed", range(3))
async def test_sessions_that_are_ended_at_any_moment_lose_and_double_nothing(
    postgres_database: TestDatabase, empty_schema: str, seed: int, tmp_path: Path
) -> None:
    database, log = await filled(postgres_database.login(empty_schema))
    chance = random.Random(seed)
    login = postgres_database.login(empty_schema)
    victim = f"victim {empty_schema}"
    own = PostgresqlUnderTest(
        Login(login.config, login.role, login.password_file, login.schema, victim)
    )

    async def strike() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.0, 0.05))
            await postgres_database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE application_name = '{victim}'"
            )

    # A program that loses its first session says so and starts anew: that is not tried here.
    own_log = await open_event_log(own, SystemWallClock())
    striking = asyncio.create_task(strike())
    consumer = await consumed(own, own_log, postgres_database, empty_schema)
    striking.cancel()
    await asyncio.gather(striking, return_exceptions=True)
    await consumer.stop()
    assert await effects(postgres_database, empty_schema) == [f"e{n:04}" for n in range(EVENTS)]
    assert await Quarantine(database, SystemWallClock(), log).count() == 0
    await own.close()
    await log.close()
    await database.close()
