"""What tests of consumers share: a consumer whose handler fails as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.database import EmbeddedDatabase
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import (
    Consumer,
    ConsumerOptions,
    EmbeddedEventLog,
    Event,
    PrometheusObserver,
    Quarantine,
    StoredEvent,
)
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints

EFFECT = sa.Table(
    "effect",
    sa.MetaData(),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String),
)


def event(number: int) -> Event:
    return Event(
        key=f"cam-{number % 3}",
        type="vigie.sample.v1.Sample",
        value=f"value-{number}".encode(),
        id=f"id-{number:05}",
        time_us=number,
        source="vigie/test",
    )


class Bench:
    """A consumer under test, whose handler fails as it is told."""

    def __init__(
        self, log: EmbeddedEventLog, database: EmbeddedDatabase, wall_clock: ManualWallClock
    ) -> None:
        self.log = log
        self.database = database
        self.clock = ManualMonotonicClock()
        self.quarantine = Quarantine(database, wall_clock, log)
        self.registry = CollectorRegistry()
        self.observer = PrometheusObserver(self.registry)
        self.trouble: dict[str, list[Exception]] = {}

    async def handle(self, connection: AsyncConnection, events: Sequence[StoredEvent]) -> None:
        for stored in events:
            await connection.execute(sa.insert(EFFECT), {"id": stored.event.id})
            if waiting := self.trouble.get(stored.event.id):
                raise waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def consumer(self, faults: FaultPoints = NO_FAULTS, **options: float) -> Consumer:
        return Consumer(
            self.log,
            self.database,
            self.quarantine,
            self.clock,
            topic="segments",
            group="index",
            handler=self.handle,
            options=ConsumerOptions(idle_seconds=0.02, **options),  # type: ignore[arg-type] # ints
            observer=self.observer,
            faults=faults,
        )

    @asynccontextmanager
    async def running(self, faults: FaultPoints = NO_FAULTS) -> AsyncIterator[Consumer]:
        consumer = self.consumer(faults)
        consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def effects(self) -> list[str]:
        async with self.database.reading() as connection:
            rows = await connection.scalars(sa.select(EFFECT.c.id).order_by(EFFECT.c.number))
            return [one for one in rows if one is not None]

    async def until(self, condition: Callable[[], object]) -> None:
        """Let things happen, moving the back-off clock along, until ``condition`` holds."""
        async with asyncio.timeout(20):
            while True:
                outcome = condition()
                if asyncio.iscoroutine(outcome):
                    outcome = await outcome
                if outcome:
                    return
                await self.clock.advance(1)
                await asyncio.sleep(0.002)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def bench(
    event_log: EmbeddedEventLog, log_database: EmbeddedDatabase, wall_clock: ManualWallClock
) -> Bench:
    async with log_database.transaction() as connection:
        await connection.run_sync(EFFECT.create)
    return Bench(event_log, log_database, wall_clock)


def numbers(*values: int) -> list[str]:
    return [f"id-{value:05}" for value in values]


async def processed(bench: Bench, count: int) -> None:
    async def there() -> bool:
        return len(await bench.effects()) >= count

    await bench.until(there)
