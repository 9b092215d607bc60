"""One address for all services: what passes through it, and what does not."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from unit.platform.host.probe import PERMISSION, SERVICE, Probe, ProbeStub, answer, binding, window
from vigie.platform.clock import ManualMonotonicClock, SystemMonotonicClock
from vigie.platform.grpc.bearer import FixedToken
from vigie.platform.grpc.call import current_call
from vigie.platform.grpc.carry import Carrier
from vigie.platform.grpc.client import ClientError, ServiceClients, open_channel
from vigie.platform.grpc.gateway import Gateway
from vigie.platform.grpc.methods import read_methods
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.grpc.testing import RunningHost, caller_with, running_host
from vigie.platform.logging import LoggingConfig, configure_logging

CALLERS = {
    "person": caller_with("person-1", PERMISSION),
    "hop": caller_with("service:gateway", service=True),
}


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    configure_logging(LoggingConfig(level="error"))


@asynccontextmanager
async def gateway_to(
    addresses: Sequence[str], *, hop: str | None = "hop", clock: Any = None
) -> AsyncIterator[Gateway]:
    gateway = Gateway(
        GrpcConfig(listen=("127.0.0.1:0",)),
        methods=read_methods(SERVICE),
        clients=ServiceClients(lambda _: addresses, None, connect_seconds=1),
        carrier=Carrier("gateway", hop=None if hop is None else FixedToken(hop)),
        monotonic_clock=clock or SystemMonotonicClock(),
    )
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop(timeout_seconds=1)
        await gateway.close()


@asynccontextmanager
async def through(gateway: Gateway, token: str | None = "person") -> AsyncIterator[Any]:
    source = FixedToken(token) if token else None
    channel = open_channel(gateway.addresses[0], source=source, default_timeout_seconds=10)
    try:
        yield ProbeStub(channel)
    finally:
        await channel.close(grace=None)


@pytest.fixture
async def probe() -> Probe:
    return Probe()


@pytest.fixture
async def host(probe: Probe) -> AsyncIterator[RunningHost]:
    async with running_host([binding(probe)], CALLERS) as running:
        yield running


@pytest.fixture
async def stub(host: RunningHost) -> AsyncIterator[Any]:
    async with gateway_to([host.host.internal_address]) as gateway, through(gateway) as made:
        yield made


async def failing(call: Any) -> ClientError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return ClientError.of(caught.value)


async def test_calls_of_every_shape_pass(stub: Any) -> None:
    async def asked() -> AsyncIterator[Any]:
        for second in (11, 12, 13):
            yield window(second, 20)

    assert (await stub.Look(window())).text == "here"
    assert [item.text async for item in stub.Play(window())] == ["0", "1", "2"]
    assert (await stub.Gather(asked())).text == "3"
    assert [item.text async for item in stub.Converse(asked())] == ["11", "12", "13"]


async def test_the_service_decides_and_records(host: RunningHost, stub: Any) -> None:
    await stub.Look(window(), metadata=(("x-request-id", "request-12345678"),))
    (entry,) = host.recorder.entries
    assert (entry.subject, entry.request_id, entry.allowed) == (
        "person-1", "request-12345678", True,
    )  # fmt: skip


async def test_the_record_names_the_client_and_not_the_gateway(host: RunningHost) -> None:
    """Two clients have two addresses; the gateway's connection to the service is one."""
    own = (("grpc.use_local_subchannel_pool", 1),)
    async with gateway_to([host.host.internal_address]) as gateway:
        for _ in range(2):
            token = FixedToken("person")
            channel = open_channel(gateway.addresses[0], source=token, more_options=own)
            stub: Any = ProbeStub(channel)
            await stub.Look(window())
            await channel.close(grace=None)
    assert len({entry.peer for entry in host.recorder.entries}) == 2


async def test_nobody_else_may_say_where_a_call_comes_from(host: RunningHost) -> None:
    """What a client writes is dropped at the gateway, and not believed without a service."""
    made_up = (("x-vigie-peer", "ipv4:192.0.2.1:1"), ("x-vigie-carried-by", "ingest-2"))
    async with gateway_to([host.host.internal_address]) as gateway, through(gateway) as stub:
        await stub.Look(window(), metadata=made_up)
    assert host.recorder.entries[-1].peer.startswith("ipv4:127.0.0.1:")
    direct: Any = ProbeStub(host.channel("person"))
    await direct.Look(window(), metadata=made_up[:1])
    assert host.recorder.entries[-1].peer.startswith("ipv4:127.0.0.1:")
    error = await failing(direct.Look(window(), metadata=(("x-vigie-hop", "made up"),)))
    assert error.reason == "TOKEN_INVALID"
    person_as_hop = (("x-vigie-hop", "person"), made_up[0])
    await direct.Look(window(), metadata=person_as_hop)
    assert host.recorder.entries[-1].peer.startswith("ipv4:127.0.0.1:")


async def test_it_has_no_authority_of_its_own(host: RunningHost) -> None:
    async with (
        gateway_to([host.host.internal_address]) as gateway,
        through(gateway, None) as nobody,
    ):
        assert (await failing(nobody.Look(window()))).reason == "UNAUTHENTICATED"
        assert (await nobody.Open(window())).text == "anonymous"
        assert (await failing(nobody.Inner(window()))).reason == "UNAUTHENTICATED"
    async with gateway_to([host.host.internal_address]) as gateway, through(gateway) as stub:
        assert (await failing(stub.Inner(window()))).reason == "METHOD_INTERNAL"
    assert [entry.reason for entry in host.recorder.entries] == [
        "UNAUTHENTICATED", "UNAUTHENTICATED", "METHOD_INTERNAL",
    ]  # fmt: skip


async def test_what_no_contract_knows_is_not_carried(host: RunningHost) -> None:
    async with gateway_to([host.host.internal_address]) as gateway:
        channel = open_channel(gateway.addresses[0], source=FixedToken("person"))
        call = channel.unary_unary(f"/{SERVICE}/Unknown", None, None)
        error = await failing(call(b""))
        assert error.code is grpc.StatusCode.UNIMPLEMENTED
        await channel.close(grace=None)


async def test_errors_come_with_their_details(stub: Any) -> None:
    error = await failing(stub.Look(window(20, 10)))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
    assert error.violations
    assert error.request_id


async def test_deadlines_pass_on(probe: Probe, stub: Any) -> None:
    left: list[float] = []

    async def slow(request: Any, context: Any) -> Any:
        await current_call().admit()
        left.append(context.time_remaining())
        await asyncio.Event().wait()

    probe.look = slow
    error = await failing(stub.Look(window(), timeout=0.5))
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < left[0] <= 0.5


async def test_a_client_that_leaves_ends_the_call_behind(probe: Probe, stub: Any) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit()
        try:
            while True:
                yield answer()
                begun.set()
                await asyncio.sleep(0)
        finally:
            ended.set()

    probe.play = endless
    call = stub.Play(window())
    await call.read()
    await begun.wait()
    call.cancel()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_client_that_reads_nothing_holds_the_service_back(probe: Probe, stub: Any) -> None:
    """Flow control goes through: what nobody reads is not gathered in the gateway."""
    sent = 0
    stalled = asyncio.Event()

    async def large(request: Any, context: Any) -> AsyncIterator[Any]:
        nonlocal sent
        await current_call().admit()
        for _ in range(1000):
            yield answer("x" * 100_000)
            sent += 1

    probe.play = large
    call = stub.Play(window())
    await call.read()
    before = -1
    while before != sent:
        before = sent
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stalled.wait(), 0.5)
    assert sent < 200
    received = 1
    while await call.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]  # see carry.py
        received += 1
    assert received == 1000


async def test_a_service_that_is_away_is_named_at_once() -> None:
    async with running_host([binding(Probe())], CALLERS) as host:
        gone = host.host.internal_address
    async with gateway_to([gone]) as gateway, through(gateway) as stub:
        error = await failing(stub.Look(window(), timeout=10))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNREACHABLE")
    async with gateway_to([]) as gateway, through(gateway) as stub:
        assert (await failing(stub.Look(window()))).reason == "SERVICE_UNREACHABLE"


async def test_health_is_that_of_the_services() -> None:
    clock = ManualMonotonicClock()
    async with running_host([binding(Probe())], CALLERS) as host:
        address = host.host.internal_address
        async with gateway_to([address], clock=clock) as gateway:
            channel = open_channel(gateway.addresses[0], source=None)
            stub = health_pb2_grpc.HealthStub(channel)

            async def status(service: str) -> str:
                found = await stub.Check(health_pb2.HealthCheckRequest(service=service))
                return str(health_pb2.HealthCheckResponse.ServingStatus.Name(found.status))

            while await status(SERVICE) != "SERVING":
                await asyncio.sleep(0)
            await host.host.stop(timeout_seconds=0)
            await clock.advance(5)
            while await status(SERVICE) == "SERVING":
                await asyncio.sleep(0)
            assert await status("") == "SERVING"
            assert gateway.not_ready() is None
            await channel.close(grace=None)


async def test_reflection_lists_what_may_be_called(host: RunningHost) -> None:
    async with gateway_to([host.host.internal_address]) as gateway:
        channel = open_channel(gateway.addresses[0], source=None)
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        call = stub.ServerReflectionInfo(iter([ask]))
        response = await call.read()
        names = {service.name for service in response.list_services_response.service}
        assert SERVICE in names
        call.cancel()
        await channel.close(grace=None)


async def test_stopping_ends_streams_with_a_reason(probe: Probe, host: RunningHost) -> None:
    async def endless(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit()
        yield answer()
        await asyncio.Event().wait()

    probe.play = endless
    async with gateway_to([host.host.internal_address]) as gateway, through(gateway) as stub:
        call = stub.Play(window())
        await call.read()
        stopping = asyncio.create_task(gateway.stop(timeout_seconds=5))
        error = await failing(call.read())
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STOPPING")
        await asyncio.wait_for(stopping, 4)
