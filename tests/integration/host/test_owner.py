"""A call for what only another instance has: carried there once, decided and recorded there."""

import asyncio
import signal
import sys
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
from vigie.platform.grpc.client import SERVICE_PROBES, ClientError, ServiceClients
from vigie.platform.grpc.record import Phase
from vigie.platform.grpc.testing import RunningHost, caller_with, running_host
from vigie.platform.logging import LoggingConfig, configure_logging

PLAY = f"/{SERVICE}/Play"
CALLERS = {
    "person": caller_with("person-1", PERMISSION),
    "without rights": caller_with("person-2"),
    "ingest": caller_with("service:ingest", service=True),
    "gateway": caller_with("service:gateway", service=True),
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
        stub: Any = ProbeStub(here.channel("without rights"))
        error = await failing(stub.Play(window(11, 20)).read())
        assert error.reason == "PERMISSION_DENIED"
        (refused,) = there.recorder.entries
        assert (refused.subject, refused.allowed) == ("person-2", False)
        assert here.recorder.entries == []


async def test_a_stranger_is_not_carried() -> None:
    table: dict[int, str] = {}
    async with instance("a", Probe(), table) as here, instance("b", Probe(), {}) as there:
        table[11] = there.host.internal_address
        for token, reason in ((None, "UNAUTHENTICATED"), ("forged", "TOKEN_INVALID")):
            stub: Any = ProbeStub(here.channel(token))
            error = await failing(stub.Play(window(11, 20)).read())
            assert error.reason == reason
            refused = here.recorder.entries[-1]
            assert (refused.allowed, refused.window_us) == (False, (11_000_000, 20_000_000))
        assert there.recorder.entries == []


async def test_the_owner_is_told_where_a_call_comes_from_through_all_who_carried_it() -> None:
    table: dict[int, str] = {}
    by_gateway = (("x-vigie-hop", "gateway"), ("x-vigie-peer", "ipv4:192.0.2.7:5000"))
    made_up = (("x-vigie-hop", "person"), ("x-vigie-peer", "ipv4:192.0.2.8:5000"))
    async with instance("a", Probe(), table) as here, instance("b", Probe(), {}) as there:
        table[11] = there.host.internal_address
        stub: Any = ProbeStub(here.channel("person"))
        for metadata in (by_gateway, made_up, made_up[1:]):
            await stub.Play(window(11, 20), metadata=metadata).read()
        opened = [entry.peer for entry in there.recorder.entries if entry.phase is Phase.OPENED]
        assert opened[0] == "ipv4:192.0.2.7:5000"
        assert [peer.rpartition(":")[0] for peer in opened[1:]] == ["ipv4:127.0.0.1"] * 2


async def test_who_says_that_he_carries_and_cannot_prove_it_is_refused_on_record() -> None:
    table: dict[int, str] = {}
    async with instance("a", Probe(), table) as here, instance("b", Probe(), {}) as there:
        table[11] = there.host.internal_address
        stub: Any = ProbeStub(here.channel("person"))
        error = await failing(stub.Play(window(11, 20), metadata=(("x-vigie-hop", "no"),)).read())
        assert error.reason == "TOKEN_INVALID"
        assert there.recorder.entries == []
        (refused,) = here.recorder.entries
        assert (refused.allowed, refused.peer.rpartition(":")[0]) == (False, "ipv4:127.0.0.1")


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


_OWNER = """
import asyncio, sys
import grpc
from vigie.platform.grpc.host import server_options
from vigie.platform.grpc.settings import GrpcConfig

class Streams(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.stream_stream_rpc_method_handler(self.answer)

    async def answer(self, requests, context):
        yield bytes.fromhex(sys.argv[1])
        await asyncio.Event().wait()

async def main():
    server = grpc.aio.server(options=server_options(GrpcConfig()))
    server.add_generic_rpc_handlers((Streams(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()

asyncio.run(main())
"""
NOTICED_SECONDS = 6.0
"""Three, and what a busy machine adds."""


@asynccontextmanager
async def owning_process() -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A process that answers every call once and then streams nothing; its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _OWNER, answer().SerializeToString().hex(),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield f"127.0.0.1:{int(await process.stdout.readline())}", process
    finally:
        process.kill()
        await process.wait()


async def test_an_owner_that_is_stopped_is_noticed_by_calls_without_a_deadline() -> None:
    """Its machine goes on taking bytes for it: nothing else tells that it does not run."""
    table: dict[int, str] = {}
    async with owning_process() as (address, process), instance("a", Probe(), table) as here:
        table[11] = address
        stub: Any = ProbeStub(here.channel("person"))
        under_way = stub.Play(window(11, 20))
        await under_way.read()
        process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(NOTICED_SECONDS):
            error = await failing(under_way.read())
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNREACHABLE")
        async with asyncio.timeout(NOTICED_SECONDS):
            error = await failing(stub.Play(window(11, 20)).read())
        assert error.reason == "SERVICE_UNREACHABLE"
        process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(60):
            while not await _answers(stub):
                pass


async def _answers(stub: Any) -> bool:
    try:
        await stub.Play(window(11, 20)).read()
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_a_quiet_stream_may_be_probed_for_long() -> None:
    """The probes of services are fewer than what a server takes for too many."""
    table: dict[int, str] = {}
    async with owning_process() as (address, _), instance("a", Probe(), table) as here:
        table[11] = address
        stub: Any = ProbeStub(here.channel("person"))
        call = stub.Play(window(11, 20))
        await call.read()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(8 * SERVICE_PROBES[0]):
                await call.read()
        assert await failing_code(call) is grpc.StatusCode.CANCELLED


async def failing_code(call: Any) -> grpc.StatusCode:
    """The status of a call that was given up here: nobody else had ended it."""
    call.cancel()
    code: grpc.StatusCode = await call.code()
    return code
