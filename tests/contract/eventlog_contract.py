"""What every event log must do. Subclass `EventLogContract` and give a ``harness`` fixture.

The suite asks for promises of the port only: nothing of it knows about offsets being dense, about
the number of partitions, or about how fast an append becomes visible to a reader.
"""

import asyncio
from dataclasses import replace

import pytest

from contract.eventlog_appends import AppendContract
from contract.eventlog_groups import GroupContract
from contract.eventlog_reads import ReadContract, TableContract
from contract.eventlog_support import (
    EFFECT,
    PATIENCE_SECONDS,
    LogHarness,
    event,
    fetch,
    first,
    topic,
)
from vigie.platform.errors import VigieError

__all__ = ["EFFECT", "EventLogContract", "LogHarness"]


class EventLogContract(AppendContract, ReadContract, TableContract, GroupContract):
    """The promises of `vigie.platform.eventlog.port`; here, those that concern every use of it."""

    async def test_an_undeclared_topic_is_refused(self, harness: LogHarness) -> None:
        for use in (
            harness.log.append("contract-nowhere", [event(1)]),
            harness.log.subscribe("contract-nowhere", "index"),
            harness.log.ends("contract-nowhere"),
            harness.log.share("contract-nowhere", "index"),
            anext(aiter(harness.log.read("contract-nowhere"))),
        ):
            with pytest.raises(VigieError) as refused:
                await use
            assert refused.value.reason.name == "TOPIC_UNKNOWN"
        with pytest.raises(VigieError) as refused:
            async with harness.database.transaction() as connection:
                await harness.log.append("contract-nowhere", [event(1)], connection=connection)
        assert refused.value.reason.name == "TOPIC_UNKNOWN"

    async def test_declaring_again_is_checked(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        await harness.declare([replace(topic(), why="said better")])
        with pytest.raises(VigieError) as refused:
            await harness.declare([replace(topic(), compacted=True)])
        assert refused.value.reason.name == "TOPIC_MISMATCH"
        assert "compacted" in refused.value.message

    async def test_closing_wakes_readers(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        subscription = await harness.log.subscribe("contract-segments", "index")
        waiting = [
            asyncio.create_task(first(harness.log, "contract-segments", 1)),
            asyncio.create_task(fetch(subscription, 1)),
        ]
        for _ in range(20):
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await harness.log.close()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [outcome.reason.name for outcome in outcomes if isinstance(outcome, VigieError)] == [
            "STOPPING",
            "STOPPING",
        ]
        with pytest.raises(VigieError, match="EVENT_LOG_UNAVAILABLE"):
            await harness.log.append("contract-segments", [event(1)])
