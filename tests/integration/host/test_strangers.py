"""What callers who are not known may hold of a process: not so much that others are refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from unit.platform.host.probe import PERMISSION, SERVICE, Probe, ProbeStub, binding, window
from vigie.platform.clock import SystemMonotonicClock
from vigie.platform.grpc.bearer import FixedToken
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
MOST, OF_PEER = 12, 4
CALLS = 24
CONFIG = GrpcConfig(
    listen=("127.0.0.1:0",),
    max_concurrent_calls=CALLS,
    max_stranger_calls=MOST,
    max_stranger_calls_of_peer=OF_PEER,
)
SOON_SECONDS = 0.3
IMPATIENT = CONFIG.model_copy(
    update={"request_seconds": SOON_SECONDS, "max_unary_seconds": 3 * SOON_SECONDS}
)
PATIENCE_SECONDS = 20
"""For what has to come: a busy machine takes its time."""


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    configure_logging(LoggingConfig(level="error"))


@asynccontextmanager
async def hosting(config: GrpcConfig, **more: Any) -> AsyncIterator[RunningHost]:
    async with running_host([binding(Probe())], CALLERS, config=config, **more) as host:
        yield host


@asynccontextmanager
async def gateway_to(address: str, config: GrpcConfig) -> AsyncIterator[Gateway]:
    gateway = Gateway(
        config,
        methods=read_methods(SERVICE),
        clients=ServiceClients(lambda _: [address], None, connect_seconds=1),
        carrier=Carrier("gateway", hop=FixedToken("hop")),
        monotonic_clock=SystemMonotonicClock(),
    )
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop(timeout_seconds=1)
        await gateway.close()


@asynccontextmanager
async def channel_to(address: str, token: str | None = None) -> AsyncIterator[grpc.aio.Channel]:
    channel = open_channel(address, source=FixedToken(token) if token else None)
    try:
        yield channel
    finally:
        await channel.close(grace=None)


async def end_of(call: Any) -> ClientError:
    """How a call ends that answers nothing."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await (call if hasattr(call, "__await__") else call.read())
    return ClientError.of(caught.value)


def watch(channel: grpc.aio.Channel, service: str = "") -> Any:
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))


async def first_of(call: Any) -> str:
    """The first health that a watch tells, or the reason why it tells none."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            told = await call.read()
    except grpc.aio.AioRpcError as error:
        return ClientError.of(error).reason
    return health_pb2.HealthCheckResponse.ServingStatus.Name(told.status)


@pytest.fixture(params=["a service", "the gateway"])
async def address(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """An address for people, where few calls at one time are served."""
    async with hosting(CONFIG) as host:
        if request.param == "a service":
            yield host.host.internal_address
            return
        async with gateway_to(host.host.internal_address, CONFIG) as gateway:
            yield gateway.addresses[0]


async def test_watches_of_health_leave_room_for_known_callers(address: str) -> None:
    async with channel_to(address) as stranger, channel_to(address, "person") as known:
        watches, told = [], []
        for _ in range(2 * CALLS):
            watches.append(watch(stranger))
            told.append(await first_of(watches[-1]))
        assert told.count("SERVING") == OF_PEER
        assert set(told) == {"SERVING", "TOO_MANY_STRANGERS"}
        stub: Any = ProbeStub(known)
        assert (await stub.Look(window(), timeout=PATIENCE_SECONDS)).text == "here"
        for each in watches:
            each.cancel()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await first_of(watch(stranger)) != "SERVING":
                pass


async def test_who_is_turned_away_is_counted() -> None:
    async with hosting(CONFIG) as host:
        told = [await first_of(watch(host.channel())) for _ in range(OF_PEER + 3)]
        assert told.count("TOO_MANY_STRANGERS") == 3
        assert host.metrics.value("vigie_grpc_strangers_turned_away_total") == 3


async def test_a_question_after_health_that_is_never_asked_ends() -> None:
    async with hosting(IMPATIENT) as host:
        unsent = host.channel().stream_unary("/grpc.health.v1.Health/Check")
        for _ in range(2):  # as many as one address has slots, and then again
            held = [unsent() for _ in range(OF_PEER)]
            errors = [await end_of(each) for each in held]
            assert {error.reason for error in errors} == {"DEADLINE_EXCEEDED"}
        stub = health_pb2_grpc.HealthStub(host.channel())
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def unsent(channel: grpc.aio.Channel, method: str, token: str) -> Any:
    """A call whose request has not been sent yet; it would be sent as bytes."""
    make = channel.stream_stream if method == "Play" else channel.stream_unary
    return make(f"/{SERVICE}/{method}")(metadata=(("authorization", f"Bearer {token}"),))


async def test_requests_that_never_come_leave_room_for_known_callers(address: str) -> None:
    async with channel_to(address) as stranger, channel_to(address, "person") as known:
        waiting: set[asyncio.Task[ClientError]] = set()
        told: list[str] = []
        for number in range(2 * CALLS):
            call = unsent(stranger, "Play" if number % 2 else "Look", "forged")
            waiting.add(asyncio.create_task(end_of(call)))
            while len(waiting) > OF_PEER:
                ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                told += [each.result().reason for each in ended]
        assert told == ["TOKEN_INVALID"] * (2 * CALLS - OF_PEER)
        stub: Any = ProbeStub(known)
        assert (await stub.Look(window(), timeout=PATIENCE_SECONDS)).text == "here"
        assert [item.text async for item in stub.Play(window())] == ["0", "1", "2"]
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)


@pytest.mark.parametrize("method", ["Look", "Play"])
async def test_a_known_callers_request_that_never_comes_is_not_waited_for_long(method: str) -> None:
    async with hosting(IMPATIENT) as host:
        error = await end_of(unsent(host.channel(), method, "person"))
        assert (error.code, error.reason) == (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "DEADLINE_EXCEEDED",
        )
        (entry,) = host.recorder.entries
        assert (entry.subject, entry.allowed) == ("person-1", False)


@pytest.mark.parametrize("method", ["Look", "Play"])
async def test_a_call_without_a_request_or_with_an_unreadable_one_is_invalid(method: str) -> None:
    async with hosting(CONFIG) as host:
        for content in (None, b"\xff\xff\xff"):
            call = unsent(host.channel(), method, "person")
            if content is not None:
                await call.write(content)
            await call.done_writing()
            error = await end_of(call)
            assert error.code is grpc.StatusCode.INVALID_ARGUMENT
            assert error.reason == "REQUEST_INVALID"
            assert host.recorder.entries[-1].reason == "REQUEST_INVALID"


async def test_what_a_stranger_asks_for_in_time_is_on_record_with_his_refusal() -> None:
    async with hosting(CONFIG) as host:
        call = unsent(host.channel(), "Look", "forged")
        held = [unsent(host.channel(), "Look", "forged") for _ in range(OF_PEER - 1)]
        await call.write(window(11, 20).SerializeToString())
        assert (await end_of(call)).reason == "TOKEN_INVALID"
        (entry,) = host.recorder.entries
        assert (entry.allowed, entry.window_us) == (False, (11_000_000, 20_000_000))
        for each in held:
            each.cancel()


async def test_a_stranger_who_is_not_waited_for_is_on_record() -> None:
    nobody = CONFIG.model_copy(update={"max_stranger_calls_of_peer": 1})
    async with hosting(nobody) as host:
        waited_for = watch(host.channel())
        assert await first_of(waited_for) == "SERVING"
        assert (await end_of(unsent(host.channel(), "Look", "forged"))).reason == "TOKEN_INVALID"
        (entry,) = host.recorder.entries
        assert (entry.reason, entry.allowed, entry.window_us) == ("TOKEN_INVALID", False, None)
        assert host.metrics.value("vigie_grpc_strangers_turned_away_total") == 1
        waited_for.cancel()


async def test_health_of_a_service_that_is_not_there_is_not_found() -> None:
    async with hosting(CONFIG) as host:
        stub = health_pb2_grpc.HealthStub(host.channel())
        error = await end_of(stub.Check(health_pb2.HealthCheckRequest(service="nobody")))
        assert error.code is grpc.StatusCode.NOT_FOUND
        assert await first_of(watch(host.channel(), "nobody")) == "SERVICE_UNKNOWN"


async def test_reflection_that_is_held_open_ends() -> None:
    async with hosting(IMPATIENT) as host:
        stub = reflection_pb2_grpc.ServerReflectionStub(host.channel())
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert (await call.read()).HasField("list_services_response")
        assert (await end_of(call)).reason == "DEADLINE_EXCEEDED"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def header(name: str, value: str) -> bytes:
    """A literal header field that goes into no table (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


@asynccontextmanager
async def watcher_who_takes_nothing(address: str) -> AsyncIterator[None]:
    """Watches health and gives no room for an answer: a window of nought bytes."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    no_room = (4).to_bytes(2, "big") + (0).to_bytes(4, "big")
    fields = {":method": "POST", ":scheme": "http", ":path": "/grpc.health.v1.Health/Watch"}
    fields |= {":authority": "x", "te": "trailers", "content-type": "application/grpc"}
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, no_room))
    writer.write(frame(1, 4, 1, b"".join(header(*item) for item in fields.items())))
    writer.write(frame(0, 1, 1, b"\0" + (0).to_bytes(4, "big")))
    answered = asyncio.Event()
    answering = asyncio.create_task(keep_alive(reader, writer, answered))
    try:
        await asyncio.wait_for(answered.wait(), PATIENCE_SECONDS)
        yield
    finally:
        answering.cancel()
        await asyncio.wait({answering})
        writer.close()


async def keep_alive(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answered: asyncio.Event
) -> None:
    """Answer settings and pings of a server; note when the headers of an answer have come."""
    while True:
        head = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, acknowledges = head[3], head[4] & 1
        if kind == 1:
            answered.set()
        elif kind in {4, 6} and not acknowledges:
            writer.write(frame(kind, 1, 0, payload if kind == 6 else b""))


async def test_a_watcher_who_takes_nothing_holds_up_nobody() -> None:
    reasons: dict[str, str | None] = {SERVICE: None}
    async with (
        hosting(CONFIG, readiness=reasons.get) as host,
        watcher_who_takes_nothing(host.host.internal_address),
    ):
        other = watch(host.channel())
        assert await first_of(other) == "SERVING"
        reasons[SERVICE] = "the store does not answer"
        assert await first_of(other) == "NOT_SERVING"
        async with asyncio.timeout(PATIENCE_SECONDS):
            await host.host.stop(timeout_seconds=1)
