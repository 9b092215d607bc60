import asyncio

import grpc
import pytest

from databases import database_kind
from unit.platform.storage.consumer_bench import Bench, bench, event, numbers, processed
from vigie.platform.errors import ReasonSpec, VigieError
from vigie.platform.eventlog import Subscription, Unprocessable
from vigie.platform.eventlog import consumer as consuming
from vigie.platform.eventlog.consumer import FAULT_POINTS
from vigie.platform.faultpoint import StrikingFaults, raise_errno

__all__ = ["bench", "database_kind"]


async def test_every_event_takes_effect_once_in_order(bench: Bench) -> None:
    await bench.log.append("segments", [event(n) for n in range(500)])
    async with bench.running() as consumer:
        await processed(bench, 500)
        await bench.log.append("segments", [event(500)])
        await processed(bench, 501)
        assert consumer.not_ready() is None
    assert await bench.effects() == numbers(*range(501))


async def test_a_consumer_started_again_goes_on_where_it_was(bench: Bench) -> None:
    await bench.log.append("segments", [event(1)])
    async with bench.running():
        await processed(bench, 1)
    await bench.log.append("segments", [event(2)])
    async with bench.running():
        await processed(bench, 2)
    assert await bench.effects() == numbers(1, 2)


@pytest.mark.parametrize("point", FAULT_POINTS)
async def test_a_failure_at_any_step_neither_loses_nor_doubles(bench: Bench, point: str) -> None:
    await bench.log.append("segments", [event(n) for n in range(5)])
    faults = StrikingFaults(point, raise_errno(5), times=3, known=FAULT_POINTS)
    async with bench.running(faults):
        await bench.until(lambda: faults.strikes >= 1)
        await bench.log.append("segments", [event(n) for n in range(5, 8)])
        await processed(bench, 8)
    assert await bench.effects() == numbers(*range(8))
    assert await bench.quarantine.count() == 0


async def test_an_unprocessable_event_goes_to_quarantine_and_the_others_do_not_wait(
    bench: Bench,
) -> None:
    bench.trouble["id-00002"] = [Unprocessable("EVENT_UNPARSABLE", "bad bytes")]
    await bench.log.append("segments", [event(n) for n in range(5)])
    async with bench.running():
        await processed(bench, 4)
    assert await bench.effects() == numbers(0, 1, 3, 4)
    [item] = await bench.quarantine.list()
    assert item.stored.event == event(2)
    assert (item.group, item.reason, item.detail) == ("index", "EVENT_UNPARSABLE", "bad bytes")
    assert item.quarantined_us == 1_700_000_000_000_000
    labels = {"topic": "segments", "group": "index"}
    assert (
        bench.metric("vigie_consumer_quarantined_events_total", reason="EVENT_UNPARSABLE", **labels)
        == 1
    )
    assert bench.metric("vigie_consumer_processed_events_total", **labels) == 4


async def test_a_failing_machine_is_waited_for_and_quarantines_nothing(bench: Bench) -> None:
    away = VigieError(
        ReasonSpec("AWAY", grpc.StatusCode.UNAVAILABLE, "", "", ""), "the store is away"
    )
    bench.trouble["id-00001"] = [away, OSError(5, "I/O error"), TimeoutError()]
    await bench.log.append("segments", [event(n) for n in range(3)])
    async with bench.running() as consumer:
        await bench.until(consumer.not_ready)
        assert "consumer index on segments" in (consumer.not_ready() or "")
        await bench.until(lambda: len(bench.trouble["id-00001"]) == 1)
        bench.trouble.clear()
        await processed(bench, 3)
        await bench.until(lambda: consumer.not_ready() is None)
    assert await bench.effects() == numbers(0, 1, 2)
    assert await bench.quarantine.count() == 0
    assert bench.metric("vigie_consumer_failures_total", topic="segments", group="index") >= 2


async def test_a_defect_of_the_handler_is_tried_again_then_quarantined(bench: Bench) -> None:
    bench.trouble["id-00001"] = [KeyError("boom")]
    await bench.log.append("segments", [event(n) for n in range(3)])
    async with bench.running():
        await processed(bench, 2)
    assert await bench.effects() == numbers(0, 2)
    [item] = await bench.quarantine.list(group="index")
    assert item.reason == "HANDLER_FAILED"
    assert "KeyError" in item.detail


async def test_a_defect_that_passes_leaves_no_trace(bench: Bench) -> None:
    bench.trouble["id-00001"] = [KeyError("1"), KeyError("2"), KeyError("3"), Unprocessable("NO")]

    def let_it_pass() -> bool:
        if len(bench.trouble["id-00001"]) <= 2:
            bench.trouble["id-00001"].clear()
            return True
        return False

    await bench.log.append("segments", [event(n) for n in range(3)])
    async with bench.running():
        await bench.until(let_it_pass)
        await processed(bench, 3)
    assert await bench.effects() == numbers(0, 1, 2)
    assert await bench.quarantine.count() == 0


async def test_a_replay_takes_effect_once_and_leaves_quarantine(bench: Bench) -> None:
    bench.trouble["id-00001"] = [Unprocessable("EVENT_UNPARSABLE")]
    await bench.log.append("segments", [event(n) for n in range(3)])
    async with bench.running() as consumer:
        await processed(bench, 2)
        [item] = await bench.quarantine.list()
        assert await consumer.replay(item.number) is False
        bench.trouble["id-00001"] = [Unprocessable("ANOTHER_REASON", "still")]
        await bench.quarantine.request_replay(item.number)

        async def refused() -> bool:
            return (await bench.quarantine.get(item.number)).reason == "ANOTHER_REASON"

        await bench.until(refused)
        assert not (await bench.quarantine.get(item.number)).replay_requested
        bench.trouble.clear()
        await bench.quarantine.request_replay(item.number)
        await processed(bench, 3)
    assert await bench.effects() == numbers(0, 2, 1)
    assert await bench.quarantine.count() == 0


async def test_discarding_says_what_was_dropped(bench: Bench) -> None:
    bench.trouble["id-00001"] = [Unprocessable("EVENT_UNPARSABLE")]
    await bench.log.append("segments", [event(1), event(2)])
    async with bench.running():
        await processed(bench, 1)
    [item] = await bench.quarantine.list(topic="segments")
    dropped = await bench.quarantine.discard(item.number)
    assert dropped.stored.event == event(1)
    for work in (bench.quarantine.get, bench.quarantine.discard, bench.quarantine.request_replay):
        with pytest.raises(VigieError, match="QUARANTINED_EVENT_NOT_FOUND"):
            await work(item.number)


async def test_stopping_does_not_wait_for_an_idle_fetch_nor_for_back_off(bench: Bench) -> None:
    bench.trouble["id-00001"] = [OSError(5, "I/O error")]
    consumer = bench.consumer()
    consumer.start()
    await bench.until(lambda: bench.clock.sleeper_count == 0)
    await bench.log.append("segments", [event(1)])
    while bench.clock.sleeper_count == 0:
        await asyncio.sleep(0.002)
    async with asyncio.timeout(10):
        await consumer.stop(timeout_seconds=5)
    assert consumer.not_ready() == "stopped"
    assert await bench.effects() == []


async def test_a_closed_log_ends_the_consumer_and_it_says_so(bench: Bench) -> None:
    consumer = bench.consumer()
    running = asyncio.create_task(consumer.run())
    await asyncio.sleep(0)
    await bench.log.close()
    async with asyncio.timeout(10):
        await running
    assert consumer.not_ready() == "the event log is closed"


async def test_lag_is_reported(bench: Bench) -> None:
    labels = {"topic": "segments", "group": "index"}
    bench.trouble["id-00000"] = [OSError(5, "I/O error")]
    await bench.log.append("segments", [event(0)])
    async with bench.running():
        bench.trouble.clear()
        await processed(bench, 1)
        await bench.until(
            lambda: bench.registry.get_sample_value("vigie_consumer_lag_events", labels) == 0
        )


async def test_draining_waits_until_what_was_told_has_taken_effect(bench: Bench) -> None:
    async with bench.running() as consumer:
        await bench.until(lambda: consumer.joined)
        await bench.log.append("segments", [event(number) for number in range(20)])
        drained = asyncio.create_task(consumer.drain(timeout_seconds=20))
        await bench.until(drained.done)
        assert drained.result()
        assert len(await bench.effects()) == 20


async def test_draining_gives_up_on_time_where_nothing_takes_effect(bench: Bench) -> None:
    machine = VigieError(
        ReasonSpec("AWAY", grpc.StatusCode.UNAVAILABLE, "", "", ""), "the machine is away"
    )
    bench.trouble["id-00000"] = [machine]
    await bench.log.append("segments", [event(0)])
    async with bench.running() as consumer:
        await bench.until(lambda: consumer.joined)
        assert not await consumer.drain(timeout_seconds=0.05)


async def test_a_question_without_an_answer_holds_up_no_event(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far it is behind is good to know; what it is behind with is worse not to do."""
    monkeypatch.setattr(consuming, "_REPORT_SECONDS", 0.02)
    subscribe, asked = bench.log.subscribe, list[str]()

    async def subscribed(topic: str, group: str) -> Subscription:
        found = await subscribe(topic, group)
        answer = found.lag

        async def lag() -> int:
            asked.append(topic)
            if len(asked) == 1:
                await asyncio.Event().wait()
            return await answer()

        monkeypatch.setattr(found, "lag", lag)
        return found

    monkeypatch.setattr(bench.log, "subscribe", subscribed)
    async with bench.running() as member:
        await bench.until(lambda: asked)
        await bench.log.append("segments", [event(1)])
        await processed(bench, 1)
        await bench.until(lambda: len(asked) > 1 and member.not_ready() is None)
