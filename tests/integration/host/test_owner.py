"""A call for what only another instance has: carried there once, decided and recorded there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from unit.platform.host.probe import PERMISSION, SERVICE, Probe, ProbeStub, answer, binding, window
from vigie.calling import InstancesOf
from vigie.ingest.reasons import LIVE_ELSEWHERE
from vigie.platform.grpc.bearer import FixedToken
from vigie.platform.grpc.call import current_call
from vigie.platform.grpc.carry import Carrier
from vigie.platform.grpc.client import ClientError, ServiceClients
from vigie.platform.grpc.testing import RunningHost, caller_with, running_host
from vigie.platform.logging import LoggingConfig, configure_logging

PLAY = f"/{SERVICE}/Play"
CALLERS = {
    "person": caller_with("person-1", PERMISSION),
    "ingest": caller_with("service:ingest", service=True),
}


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    configure_logging(LoggingConfig(level="error"))


@asynccontextmanager
async def instance(
    name: str, probe: Probe, elsewhere: dict[int, str]
) -> AsyncIterator[RunningHost]:
    """An instance that says by the second a window begins with whose it is; absent: its own."""
    # Its calls would bear its own token: those that it carries must not.
    clients = ServiceClients(lambda _: [], FixedToken("ingest"), connect_seconds=1)
    carrier = Carrier(
        name,
        hop=FixedToken("ingest"),
        channels=InstancesOf(clients, "probe"),
        elsewhere=LIVE_ELSEWHERE,
    )
    async with running_host(
        [binding(probe)],
        CALLERS,
        owners={PLAY: lambda request: elsewhere.get(request.start_time.seconds)},
        carrier=carrier,
    ) as host:
        yield host
    await clients.close()


async def failing(call: Any) -> ClientError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return ClientError.of(caught.value)


async def test_it_is_carried_to_the_owner_and_recorded_there_alone() -> None:
    table: dict[int, str] = {}
    async with instance("a", Probe(), table) as here, instance("b", Probe(), {}) as there:
        table[11] = there.host.internal_address
        stub: Any = ProbeStub(here.channel("person"))
        answers = [item.text async for item in stub.Play(window(11, 20))]
        assert answers == ["0", "1", "2"]
        assert here.recorder.entries == []
        opened, closed = there.recorder.entries
        assert (opened.subject, opened.allowed) == ("person-1", True)
        assert closed.delivered_messages == 3
        # What is its own is served here.
        assert len([item async for item in stub.Play(window(12, 20))]) == 3
        assert len(here.recorder.entries) == 2


async def test_the_owner_refuses_as_it_would_whoever_calls_it() -> None:
    table: dict[int, str] = {}
    async with instance("a", Probe(), table) as here, instance("b", Probe(), {}) as there:
        table[11] = there.host.internal_address
        nobody: Any = ProbeStub(here.channel())
        error = await failing(nobody.Play(window(11, 20)).read())
        assert error.reason == "UNAUTHENTICATED"
        (refused,) = there.recorder.entries
        assert not refused.allowed
        assert here.recorder.entries == []


async def test_it_is_not_carried_in_a_circle() -> None:
    first: dict[int, str] = {}
    second: dict[int, str] = {}
    async with instance("a", Probe(), first) as here, instance("b", Probe(), second) as there:
        first[11] = there.host.internal_address
        second[11] = here.host.internal_address
        stub: Any = ProbeStub(here.channel("person"))
        error = await failing(stub.Play(window(11, 20)).read())
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "LIVE_ELSEWHERE")
        assert here.recorder.entries == there.recorder.entries == []


async def test_an_owner_that_is_gone_is_named_at_once() -> None:
    table: dict[int, str] = {}
    async with instance("b", Probe(), {}) as there:
        table[11] = there.host.internal_address
    async with instance("a", Probe(), table) as here:
        stub: Any = ProbeStub(here.channel("person"))
        error = await failing(stub.Play(window(11, 20), timeout=10).read())
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNREACHABLE")


async def test_what_is_carried_ends_when_the_carrier_stops() -> None:
    async def endless(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit()
        yield answer()
        await asyncio.Event().wait()

    table: dict[int, str] = {}
    probe = Probe()
    probe.play = endless
    async with instance("b", probe, {}) as there, instance("a", Probe(), table) as here:
        table[11] = there.host.internal_address
        stub: Any = ProbeStub(here.channel("person"))
        call = stub.Play(window(11, 20))
        await call.read()
        stopping = asyncio.create_task(here.host.stop(timeout_seconds=10))
        error = await failing(call.read())
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STOPPING")
        await asyncio.wait_for(stopping, 8)
