import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from unit.platform.host.probe import PERMISSION, Probe, ProbeStub, answer, binding, window
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.grpc.call import current_call
from vigie.platform.grpc.client import ClientError
from vigie.platform.grpc.record import AccessEntry, MemoryAccessRecorder, Phase
from vigie.platform.grpc.testing import RunningHost, caller_with, running_host

NOON_US = 1_790_000_000_000_000
CALLERS = {
    "zone-a": caller_with("person-1", PERMISSION, zones=["zone-a", "zone-b"]),
    "other": caller_with("person-2", PERMISSION),
}


class Stage:
    """A host on manual clocks with endless streams."""

    def __init__(
        self, host: RunningHost, probe: Probe, wall: ManualWallClock, clock: ManualMonotonicClock
    ) -> None:
        self.host = host
        self.probe = probe
        self.wall = wall
        self.clock = clock

    async def open(self, token: str) -> Any:
        """An open stream, its first message read."""
        call = ProbeStub(self.host.channel(token)).Play(window())  # type: ignore[attr-defined]
        await call.read()
        return call

    async def tick(self) -> None:
        """Let the host's watch look once; a stream has to end within five seconds."""
        await self.clock.advance(1.0)


class LogAway(MemoryAccessRecorder):
    """A recorder whose log is away for counts of strangers until it is told to be back."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = asyncio.Event()
        self.back = asyncio.Event()

    async def record(self, entry: AccessEntry) -> None:
        if entry.reason == "ATTEMPTS_SUPPRESSED":
            self.waiting.set()
            await self.back.wait()
        await super().record(entry)


@asynccontextmanager
async def staged(recorder: MemoryAccessRecorder | None = None) -> AsyncIterator[Stage]:
    probe = Probe()

    async def endless(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit(objects=["cameras/cam-a"], zones=["zone-a"])
        yield answer()
        await asyncio.Event().wait()

    probe.play = endless
    wall, clock = ManualWallClock(NOON_US), ManualMonotonicClock()
    async with running_host(
        [binding(probe)], CALLERS, wall_clock=wall, monotonic_clock=clock, recorder=recorder
    ) as host:
        yield Stage(host, probe, wall, clock)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as made:
        yield made


async def end_of(call: Any) -> ClientError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(call.read(), 5)
    return ClientError.of(caught.value)


async def test_a_suspended_persons_streams_end_and_nobody_elses(stage: Stage) -> None:
    mine, other = await stage.open("zone-a"), await stage.open("other")
    stage.host.authenticator.suspend("person-1")
    await stage.tick()
    error = await end_of(mine)
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERSON_SUSPENDED")
    closed = stage.host.recorder.entries[-1]
    assert (closed.phase, closed.reason) == (Phase.CLOSED, "PERSON_SUSPENDED")
    assert (closed.subject, closed.delivered_messages) == ("person-1", 1)
    assert not other.done()
    other.cancel()


async def test_a_stream_ends_with_its_token(stage: Stage) -> None:
    stage.host.authenticator.set_expiry("zone-a", NOON_US + 10_000_000)
    call = await stage.open("zone-a")
    stage.wall.advance(9.9)
    await stage.tick()
    assert not call.done()
    stage.wall.advance(0.1)
    await stage.tick()
    error = await end_of(call)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
    assert stage.host.metrics.value("vigie_grpc_streams_revoked_total", reason="TOKEN_EXPIRED") == 1


async def test_a_stream_ends_when_its_zone_is_withdrawn(stage: Stage) -> None:
    call = await stage.open("zone-a")
    authenticator = stage.host.authenticator
    authenticator.set_caller("zone-a", caller_with("person-1", PERMISSION, zones=["zone-a"]))
    await stage.tick()
    assert not call.done()  # zone-b was not what he watched
    authenticator.set_caller("zone-a", caller_with("person-1", PERMISSION, zones=["zone-b"]))
    await stage.tick()
    error = await end_of(call)
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "RIGHTS_CHANGED")


async def test_a_stream_over_all_ones_zones_ends_when_one_is_withdrawn(stage: Stage) -> None:
    async def over_all(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit()
        yield answer()
        await asyncio.Event().wait()

    stage.probe.play = over_all
    call = await stage.open("zone-a")
    less = caller_with("person-1", PERMISSION, zones=["zone-a"])
    stage.host.authenticator.set_caller("zone-a", less)
    await stage.tick()
    assert (await end_of(call)).reason == "RIGHTS_CHANGED"


async def test_rights_that_cannot_be_checked_end_streams(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await stage.open("zone-a")

    async def broken(identity: Any) -> Any:
        raise RuntimeError("the directory is on fire")

    monkeypatch.setattr(stage.host.authenticator, "revalidate", broken)
    stage.host.authenticator.revision += 1
    await stage.tick()
    error = await end_of(call)
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")


async def test_a_client_that_reads_nothing_is_ended_too(stage: Stage) -> None:
    released = asyncio.Event()

    async def flood(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit(zones=["zone-a"])
        try:
            while True:
                yield answer("x" * 100_000)
        finally:
            released.set()

    stage.probe.play = flood
    call = await stage.open("zone-a")
    for _ in range(50):
        await asyncio.sleep(0)
    stage.host.authenticator.suspend("person-1")
    await stage.tick()
    await asyncio.wait_for(released.wait(), 5)
    call.cancel()
    await stage.host.host.stop(timeout_seconds=5)
    assert stage.host.recorder.entries[-1].reason == "PERSON_SUSPENDED"


async def test_a_closing_record_is_insisted_on(stage: Stage) -> None:
    call = await stage.open("zone-a")
    stage.host.recorder.failing = OSError("disk full")
    stage.host.authenticator.suspend("person-1")
    await stage.tick()
    assert (await end_of(call)).reason == "PERSON_SUSPENDED"
    assert len(stage.host.recorder.entries) == 1
    stage.host.recorder.failing = None
    await stage.clock.advance(1.0)
    closed = stage.host.recorder.entries[-1]
    assert (closed.phase, closed.delivered_messages) == (Phase.CLOSED, 1)


async def test_a_closing_record_that_is_lost_is_counted(stage: Stage) -> None:
    call = await stage.open("zone-a")
    stage.host.recorder.failing = OSError("disk full")
    stage.host.authenticator.suspend("person-1")
    await stage.tick()
    await end_of(call)
    for _ in range(20):
        await stage.clock.advance(1.0)
    assert stage.host.metrics.value("vigie_grpc_access_records_lost_total") == 1


async def strangers_knock(stage: Stage) -> None:
    """Twelve attempts: ten are on record, two have to go there with the next round."""
    stub: Any = ProbeStub(stage.host.channel("forged"))
    for _ in range(12):
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Look(window())
    stage.wall.advance(61)


async def test_counts_of_strangers_go_on_record_by_themselves(stage: Stage) -> None:
    await strangers_knock(stage)
    assert len(stage.host.recorder.entries) == 10
    await stage.tick()
    last = stage.host.recorder.entries[-1]
    assert (last.reason, last.suppressed_attempts) == ("ATTEMPTS_SUPPRESSED", 2)


async def test_a_suspension_does_not_wait_for_counts_that_the_log_does_not_take() -> None:
    log = LogAway()
    async with staged(log) as stage:
        await strangers_knock(stage)
        watching = await stage.open("zone-a")
        await stage.tick()
        await asyncio.wait_for(log.waiting.wait(), 5)
        stage.host.authenticator.suspend("person-1")
        await stage.tick()
        assert (await end_of(watching)).reason == "PERSON_SUSPENDED"
        assert stage.host.host.not_ready() is None
        log.back.set()


async def test_a_count_on_its_way_to_the_log_is_not_lost_when_the_host_stops() -> None:
    log = LogAway()
    async with staged(log) as stage:
        await strangers_knock(stage)
        await stage.tick()
        await asyncio.wait_for(log.waiting.wait(), 5)
        stopping = asyncio.create_task(stage.host.host.stop(timeout_seconds=5))
        log.waiting.clear()
        await asyncio.wait_for(log.waiting.wait(), 5)
        log.back.set()
        await stopping
    counts = {entry.record: entry.suppressed_attempts for entry in log.entries}
    assert [count for count in counts.values() if count] == [2]
