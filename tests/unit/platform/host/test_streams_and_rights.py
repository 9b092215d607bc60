import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from unit.platform.host.probe import PERMISSION, Probe, ProbeStub, answer, binding, window
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.grpc.call import current_call
from vigie.platform.grpc.client import ClientError
from vigie.platform.grpc.record import Phase
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


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    probe = Probe()

    async def endless(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit(objects=["cameras/cam-a"], zones=["zone-a"])
        yield answer()
        await asyncio.Event().wait()

    probe.play = endless
    wall, clock = ManualWallClock(NOON_US), ManualMonotonicClock()
    async with running_host(
        [binding(probe)], CALLERS, wall_clock=wall, monotonic_clock=clock
    ) as host:
        yield Stage(host, probe, wall, clock)


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


async def test_counts_of_strangers_go_on_record_by_themselves(stage: Stage) -> None:
    stub: Any = ProbeStub(stage.host.channel("forged"))
    for _ in range(12):
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Look(window())
    assert len(stage.host.recorder.entries) == 10
    stage.wall.advance(61)
    await stage.tick()
    last = stage.host.recorder.entries[-1]
    assert (last.reason, last.suppressed_attempts) == ("ATTEMPTS_SUPPRESSED", 2)
