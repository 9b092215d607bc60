import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from certificates import Authority
from unit.platform.host.probe import PERMISSION, SERVICE, Probe, ProbeStub, answer, binding, window
from vigie.platform.clock import ManualMonotonicClock, SystemWallClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.bearer import FixedToken
from vigie.platform.grpc.call import current_call
from vigie.platform.grpc.client import ClientError, ClientTls, ServiceClients, open_channel
from vigie.platform.grpc.host import GrpcHost
from vigie.platform.grpc.record import MemoryAccessRecorder
from vigie.platform.grpc.settings import GrpcConfig, TlsConfig
from vigie.platform.grpc.testing import RunningHost, caller_with, running_host
from vigie.platform.identity import StaticAuthenticator
from vigie.platform.logging import LoggingConfig, configure_logging
from vigie.platform.metrics import MetricsRegistry

CALLERS = {"token": caller_with("person-1", PERMISSION)}


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    configure_logging(LoggingConfig(level="error"))


def tls_config(authority: Authority, *, mutual: bool = False) -> GrpcConfig:
    certificate, key = authority.issue("server")
    return GrpcConfig(
        listen=("localhost:0",),
        tls=TlsConfig(
            certificate_file=certificate,
            key_file=key,
            client_ca_file=authority.file if mutual else None,
        ),
    )


async def look(host: RunningHost, tls: ClientTls | None) -> str:
    address = f"localhost:{host.host.ports[0]}"
    channel = open_channel(address, source=FixedToken("token"), tls=tls, services=())
    try:
        stub: Any = ProbeStub(channel)
        return str((await stub.Look(window(), timeout=5)).text)
    finally:
        await channel.close(grace=None)


async def unavailable(host: RunningHost, tls: ClientTls | None) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await look(host, tls)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_tls_needs_the_right_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running_host([binding(Probe())], CALLERS, config=tls_config(authority)) as host:
        assert await look(host, ClientTls(ca_file=authority.file)) == "here"
        await unavailable(host, None)
        (tmp_path / "other").mkdir()
        await unavailable(host, ClientTls(ca_file=Authority(tmp_path / "other").file))


async def test_mutual_tls_needs_a_certificate_of_the_client(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    config = tls_config(authority, mutual=True)
    async with running_host([binding(Probe())], CALLERS, config=config) as host:
        certificate, key = authority.issue("client")
        assert await look(host, ClientTls(authority.file, certificate, key)) == "here"
        await unavailable(host, ClientTls(authority.file))


async def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    clock = ManualMonotonicClock()
    config = tls_config(authority)
    async with running_host(
        [binding(Probe())], CALLERS, config=config, monotonic_clock=clock
    ) as host:
        assert await look(host, ClientTls(authority.file)) == "here"
        (tmp_path / "new").mkdir()
        renewed = Authority(tmp_path / "new")
        certificate, key = renewed.issue("server")
        (tmp_path / "server.pem").write_bytes(certificate.read_bytes())
        (tmp_path / "server.key").write_bytes(key.read_bytes())
        await clock.advance(61)
        assert await look(host, ClientTls(renewed.file)) == "here"
        (tmp_path / "server.key").unlink()
        await clock.advance(61)
        assert await look(host, ClientTls(renewed.file)) == "here"


async def test_missing_tls_files_are_named(tmp_path: Path) -> None:
    config = tls_config(Authority(tmp_path))
    (tmp_path / "server.key").unlink()
    with pytest.raises(VigieError, match=r"server\.key cannot be read") as caught:
        async with running_host([binding(Probe())], CALLERS, config=config):
            pass
    assert caught.value.field == "grpc.tls.key_file"


async def test_a_name_is_listened_on_at_all_of_its_addresses_or_not_at_all() -> None:
    """Else callers of the name may reach another program, at the address that was taken."""
    places = {
        str(place[0]): family
        for family, *_, place in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
    }
    for address, family in places.items():
        with socket.socket(family) as other:
            other.bind((address, 0))
            other.listen(1)
            config = GrpcConfig(listen=(f"localhost:{other.getsockname()[1]}",))
            with pytest.raises(VigieError, match="the port is taken") as caught:
                async with running_host([binding(Probe())], CALLERS, config=config):
                    pass
            assert caught.value.reason.name == "LISTEN_FAILED"
    config = GrpcConfig(listen=("localhost:0",))
    async with running_host([binding(Probe())], CALLERS, config=config) as host:
        for address, family in places.items():
            with socket.socket(family) as caller:
                caller.connect((address, host.host.ports[0]))


async def test_a_taken_port_is_one_clear_error() -> None:
    async with running_host([binding(Probe())], CALLERS) as host:
        config = GrpcConfig(listen=host.host.addresses)
        with pytest.raises(VigieError, match="the port is taken") as caught:
            async with running_host([binding(Probe())], CALLERS, config=config):
                pass
        assert caught.value.reason.name == "LISTEN_FAILED"


@pytest.fixture
async def probe_host() -> AsyncIterator[tuple[Probe, RunningHost]]:
    probe = Probe()
    config = GrpcConfig(listen=("127.0.0.1:0",), max_unary_seconds=0.2)
    async with running_host([binding(probe)], CALLERS, config=config) as host:
        yield probe, host


async def test_reflection_tells_services_to_anybody(
    probe_host: tuple[Probe, RunningHost],
) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(probe_host[1].channel())
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([ask]))
    response = await call.read()
    names = {service.name for service in response.list_services_response.service}
    assert names == {
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    call.cancel()


async def test_health_follows_readiness() -> None:
    reasons: dict[str, str | None] = {SERVICE: None}
    clock = ManualMonotonicClock()
    wall = SystemWallClock()
    host = GrpcHost(
        GrpcConfig(listen=("127.0.0.1:0",)),
        services=[binding(Probe())],
        authenticator=StaticAuthenticator(CALLERS, wall),
        recorder=MemoryAccessRecorder(),
        wall_clock=wall,
        monotonic_clock=clock,
        metrics=MetricsRegistry(),
        readiness=reasons.get,
    )
    await host.start()
    channel = open_channel(host.internal_address, source=None)
    stub = health_pb2_grpc.HealthStub(channel)

    async def status(service: str) -> str:
        response = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))

    assert [await status(SERVICE), await status("")] == ["SERVING", "SERVING"]
    reasons[SERVICE] = "the store does not answer"
    await clock.advance(1.0)
    assert [await status(SERVICE), await status("")] == ["NOT_SERVING", "NOT_SERVING"]
    await channel.close(grace=None)
    await host.stop(timeout_seconds=1)


async def failing(call: Any) -> ClientError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return ClientError.of(caught.value)


async def test_a_call_has_a_longest_time(probe_host: tuple[Probe, RunningHost]) -> None:
    probe, host = probe_host

    async def slow(request: Any, context: Any) -> Any:
        await current_call().admit()
        await asyncio.Event().wait()

    probe.look = slow
    stub: Any = ProbeStub(host.channel("token"))
    error = await failing(stub.Look(window()))
    assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert host.recorder.entries[-1].end_status == "DEADLINE_EXCEEDED"


async def test_messages_are_limited_both_ways(probe_host: tuple[Probe, RunningHost]) -> None:
    probe, host = probe_host

    async def large(request: Any, context: Any) -> Any:
        await current_call().admit()
        return answer("x" * (1 << 20))

    probe.look = large
    stub: Any = ProbeStub(host.channel("token"))
    error = await failing(stub.Look(window()))
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    raw = host.channel("token").unary_unary(f"/{SERVICE}/Look")
    error = await failing(raw(b"\x00" * (1 << 20) + b"\x00"))
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_services_call_each_other_with_their_own_token(
    probe_host: tuple[Probe, RunningHost],
) -> None:
    _, host = probe_host
    asked: list[str] = []

    class Source:
        async def token(self) -> str:
            asked.append("token")
            return "token"

    clients = ServiceClients(lambda _: [host.host.internal_address], Source())
    stub: Any = clients.stub(ProbeStub, SERVICE)
    assert (await stub.Look(window())).text == "here"
    assert [item.text async for item in stub.Play(window())] == ["0", "1", "2"]
    assert asked == ["token", "token"]
    await clients.close()
