"""What the contract of the event log asks of a harness, and what its parts share."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import sqlalchemy as sa

from vigie.platform.database import Database
from vigie.platform.eventlog import Event, EventLog, StoredEvent, Subscription, TopicSpec

PATIENCE_SECONDS = 20.0
EFFECT = sa.Table("contract_effect", sa.MetaData(), sa.Column("id", sa.String, primary_key=True))


class LogHarness(Protocol):
    """One log under test.

    Attributes:
        log: the open log.
        database: the consumer's and producer's database; has the table ``contract_effect``.
    """

    log: EventLog
    database: Database

    async def declare(self, topics: Sequence[TopicSpec]) -> None:
        """Make the topics that are missing, as an operator does, and declare them."""
        ...

    async def reopen(self) -> None:
        """Close the log and the database as an orderly restart does, and open them again."""
        ...

    async def crash(self) -> None:
        """Open them again as if the process had been killed (nothing is closed orderly)."""
        ...

    async def maintain(self) -> None:
        """Make the log compact and expire now; a log that does so by itself may do nothing."""
        ...


def event(number: int, key: str = "cam-a", value: bytes | None = b"") -> Event:
    content = f"value-{number}".encode() if value == b"" else value
    return Event(
        key=key,
        type="vigie.sample.v1.Sample",
        value=content,
        id=f"id-{number:05}",
        time_us=1_700_000_000_000_000 + number,
        source="vigie/test",
        headers={"request-id": f"r{number}", "name": "Gênes"},
    )


def topic(name: str = "contract-segments", *, compacted: bool = False) -> TopicSpec:
    return TopicSpec(name=name, compacted=compacted, partitions=3, why="a test")


async def fetch(subscription: Subscription, count: int) -> list[StoredEvent]:
    """Fetch exactly ``count`` events, in as many fetches as it takes."""
    events: list[StoredEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(events) < count:
            events += await subscription.fetch(
                max_events=count - len(events), timeout_seconds=PATIENCE_SECONDS
            )
    return events


async def first(log: EventLog, name: str, count: int) -> list[StoredEvent]:
    """The first ``count`` events of a topic, waiting for them."""
    events: list[StoredEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for stored in log.read(name, follow=True):
            events.append(stored)
            if len(events) == count:
                break
    return events


def ids(events: Sequence[StoredEvent]) -> list[str]:
    return [stored.event.id for stored in events]


async def everything(log: EventLog, name: str) -> list[str]:
    return [stored.event.id async for stored in log.read(name)]


async def effects(harness: LogHarness) -> list[str]:
    async with harness.database.reading() as connection:
        return list((await connection.scalars(sa.select(EFFECT.c.id))).all())
