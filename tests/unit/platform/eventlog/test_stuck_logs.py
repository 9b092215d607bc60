"""A log whose brokers answer and take nothing: told after half a minute, and not for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from unit.platform.eventlog.brokers_support import Brokers, log_at
from unit.test_targets import Forms, configured
from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import Event, EventLog
from vigie.platform.eventlog.kafka import KafkaEventLog
from vigie.platform.faultpoint import NO_FAULTS
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.supervisor import Supervisor
from vigie.storage.basis import SYSTEM_CLOCKS, Basis
from vigie.storage.opening import open_storage
from vigie.targets import TARGETS


@pytest.fixture
def brokers() -> Brokers:
    made = Brokers()
    made.config = made.config.model_copy(update={"delivery_timeout_seconds": 0.05})
    return made


@pytest.fixture
def clock() -> ManualMonotonicClock:
    return ManualMonotonicClock(5_000_000)


@pytest.fixture
async def log(brokers: Brokers, clock: ManualMonotonicClock) -> AsyncIterator[KafkaEventLog]:
    made = await log_at(brokers, None, clock)
    yield made
    brokers.acknowledge()
    await made.close()


async def append(log: KafkaEventLog, number: int) -> None:
    await log.append("segments", [Event("cam-a", "T", b"value", f"id-{number}", 0, "test")])


async def fails(log: KafkaEventLog, number: int) -> None:
    with pytest.raises(VigieError, match="EVENT_LOG_UNAVAILABLE"):
        await append(log, number)


async def test_appends_that_nobody_acknowledges_are_told_until_one_is(
    brokers: Brokers, log: KafkaEventLog, clock: ManualMonotonicClock
) -> None:
    await append(log, 0)
    brokers.acknowledges = False
    await fails(log, 1)
    await clock.advance(29)
    assert log.not_ready() is not None
    assert log.stuck() is None, "brokers hand over what they lead"
    await clock.advance(2)
    assert "events do not get out since 31 s: " in str(log.stuck())
    await clock.advance(600)
    assert "events do not get out since 631 s: " in str(log.stuck()), "it waits still"
    # Nobody needs to append again: he whom nobody asks would never be ready.
    brokers.acknowledge()
    await asyncio.sleep(0)
    assert log.stuck() is None
    assert log.not_ready() is None


async def test_appends_that_cannot_begin_are_told_while_somebody_tries(
    brokers: Brokers, log: KafkaEventLog, clock: ManualMonotonicClock
) -> None:
    brokers.fails = NodeNotReadyError()
    await fails(log, 0)
    await clock.advance(45)
    assert log.stuck() is None, "one failure is none that lasts"
    await fails(log, 1)
    assert "no broker answers" in str(log.stuck())
    await clock.advance(59)
    assert log.stuck() is not None
    await clock.advance(2)
    assert log.stuck() is None, "nobody has tried since, and nobody would"
    await fails(log, 2)
    assert log.stuck() is not None
    brokers.fails = None
    await append(log, 3)
    assert log.stuck() is None


class StuckForms(Forms):
    """Logs that answer; what they say of themselves is given."""

    stuck: str | None = None

    async def event_log(self, basis: Basis, name: str, database: Database | None) -> EventLog:
        made: Any = await super().event_log(basis, name, database)
        made.stuck = lambda: self.stuck
        return made  # type: ignore[no-any-return]  # it is what the super class has made


async def test_what_a_log_says_of_itself_is_at_readyz(
    tmp_path: Path, clock: ManualMonotonicClock
) -> None:
    forms = StuckForms(tmp_path)
    async with AsyncExitStack() as closing:
        basis = Basis(
            target=TARGETS["evidence"],
            config=configured(tmp_path),
            clocks=replace(SYSTEM_CLOCKS, monotonic=clock),
            metrics=MetricsRegistry(),
            supervisor=Supervisor(),
            faults=NO_FAULTS,
            closing=closing,
        )
        remotes = {one.name: one for one in (await open_storage(basis, forms)).remotes}
        for remote in remotes.values():
            await remote.start()
        own = remotes["event-log-evidence"]

        async def until(said: str | None) -> None:
            async with asyncio.timeout(20):
                while said not in {own.not_ready(), (own.not_ready() or "").split(": ")[-1]}:
                    await clock.advance(1)
                    await asyncio.sleep(0)

        await until(None)
        forms.stuck = "events do not get out"
        await until("events do not get out")
        forms.stuck = None
        await until(None)
        for remote in remotes.values():
            await remote.stop(timeout_seconds=5)
