"""Services known by their certificates: who gets in, who may call what, renewal without restart."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from certificates import DAY, TRUST_DOMAIN, Authority
from unit.platform.host.probe import PERMISSION, SERVICE, Probe, ProbeStub, binding, window
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock, SystemWallClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.bearer import FixedToken
from vigie.platform.grpc.certificates import CertificateWatch
from vigie.platform.grpc.client import ClientError, MutualTls, ServiceClients
from vigie.platform.grpc.credentials import TlsFiles
from vigie.platform.grpc.host import ServicesListener
from vigie.platform.grpc.metrics import CERTIFICATE_EXPIRY
from vigie.platform.grpc.peers import service_host
from vigie.platform.grpc.services import ServiceTlsConfig
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.grpc.testing import RunningHost, caller_with, running_host
from vigie.platform.logging import LoggingConfig, configure_logging
from vigie.platform.metrics import MetricsRegistry

SERVICES = ("evidence", "audit", "gateway")
CALLERS = {
    "person": caller_with("person-1", PERMISSION),
    **{
        f"service:{name}": caller_with(f"service:{name}", PERMISSION, service=True)
        for name in SERVICES
    },
}


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    configure_logging(LoggingConfig(level="error"))


@asynccontextmanager
async def served(
    tls: ServiceTlsConfig, *, own: str = "probe", clock: Any = None, outside: bool = False
) -> AsyncIterator[RunningHost]:
    """A host that other services reach by mutual TLS under the name ``own``."""
    config = GrpcConfig(listen=("127.0.0.1:0",)).model_copy(
        update={} if outside else {"listen": ()}
    )
    inside = ServicesListener("127.0.0.1:0", tls.of(own), tls.trust_domain)
    async with running_host(
        [binding(Probe())], CALLERS, config=config, internal=inside, monotonic_clock=clock
    ) as host:
        yield host


@asynccontextmanager
async def calling(
    host: RunningHost,
    tls: ServiceTlsConfig,
    service: str,
    *,
    token: str | None = None,
    clock: Any = None,
) -> AsyncIterator[Any]:
    """A stub in the name of a service that calls the context ``probe``."""
    files = TlsFiles(tls.of(service), clock or ManualMonotonicClock(), section="tls")
    source = FixedToken(token) if token else None
    clients = ServiceClients(
        lambda _: [host.host.internal_address], source, tls=MutualTls(files, tls.trust_domain)
    )
    try:
        yield clients.stub(ProbeStub, SERVICE)
    finally:
        await clients.close()


async def failing(call: Any) -> ClientError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return ClientError.of(caught.value)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "ca")
    for service in ("probe", *SERVICES):
        made.service(service)
    return made


async def test_a_service_is_who_its_certificate_names(authority: Authority) -> None:
    tls = authority.config()
    async with served(tls) as host:
        async with calling(host, tls, "evidence") as stub:
            assert (await stub.Inner(window())).text == "service:evidence"
            error = await failing(stub.Look(window()))
            assert error.reason == "SERVICE_NOT_PERMITTED"
        async with calling(host, tls, "audit") as stub:
            error = await failing(stub.Inner(window()))
            assert error.reason == "SERVICE_NOT_PERMITTED"
        subjects = [(entry.subject, entry.allowed) for entry in host.recorder.entries]
        assert subjects == [("service:evidence", False), ("service:audit", False)]


async def test_the_gateway_is_nobody(authority: Authority) -> None:
    tls = authority.config()
    async with served(tls) as host, calling(host, tls, "gateway") as stub:
        for method in (stub.Free, stub.Inner, stub.Look):
            assert (await failing(method(window()))).reason == "UNAUTHENTICATED"


async def test_a_person_who_is_carried_stays_the_person(authority: Authority) -> None:
    tls = authority.config()
    async with served(tls) as host:
        async with calling(host, tls, "gateway", token="person") as stub:
            assert (await stub.Look(window())).text == "here"
            assert (await failing(stub.Inner(window()))).reason == "METHOD_INTERNAL"
            told = (("x-vigie-peer", "ipv4:192.0.2.7:5000"),)
            await stub.Look(window(), metadata=told)
        peers = [entry.peer for entry in host.recorder.entries if entry.allowed]
        assert peers[0].startswith("ipv4:127.0.0.1:")
        assert peers[1] == "ipv4:192.0.2.7:5000"


async def test_a_certificate_does_not_speak_for_a_call_that_is_carried(
    authority: Authority,
) -> None:
    """A stranger whom a service carries stays a stranger, and does not fill the log."""
    tls = authority.config()
    for told in (
        (("x-vigie-carried-by", "ingest-1"), ("x-vigie-peer", "ipv4:192.0.2.7:5000")),
        (("x-vigie-peer", "ipv4:192.0.2.7:5000"),),
    ):
        async with served(tls) as host, calling(host, tls, "evidence") as stub:
            for method in (stub.Inner, stub.Look):
                for _ in range(10):
                    error = await failing(method(window(), metadata=told))
                    assert error.reason == "UNAUTHENTICATED"
            entries = host.recorder.entries
            assert {(entry.subject, entry.peer) for entry in entries} == {
                ("anonymous", "ipv4:192.0.2.7:5000")
            }
            assert len(entries) == 10


async def test_strangers_do_not_get_in(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    other.service("evidence")
    authority.service("evidence", file="ended", ended=True)
    (authority.folder / "ended-service.pem").write_bytes(
        (authority.folder / "ended.pem").read_bytes()
    )
    tls = authority.config()
    foreign = other.config(ca_file=authority.file)
    ended = authority.config(
        certificate_file=authority.folder / "ended.pem", key_file=authority.folder / "ended.key"
    )
    async with served(tls) as host:
        for wrong in (foreign, ended):
            async with calling(host, wrong, "evidence") as stub:
                error = await failing(stub.Inner(window()))
                assert error.code is grpc.StatusCode.UNAVAILABLE
        plain = grpc.aio.insecure_channel(host.host.internal_address)
        stub = ProbeStub(plain)
        assert (await failing(stub.Open(window()))).code is grpc.StatusCode.UNAVAILABLE
        await plain.close()
        assert host.recorder.entries == []


async def test_a_caller_refuses_a_service_that_is_another(authority: Authority) -> None:
    """Whoever listens at the address: it must be the service that is meant."""
    tls = authority.config()
    async with served(tls, own="audit") as host, calling(host, tls, "evidence") as stub:
        error = await failing(stub.Inner(window()))
        assert error.code is grpc.StatusCode.UNAVAILABLE
    assert host.recorder.entries == []


async def test_a_service_name_is_believed_only_where_services_come_in(
    authority: Authority, tmp_path: Path
) -> None:
    """A client certificate at the address for people is of another authority, and names nobody."""
    tls = authority.config()
    outside = tls.of("probe")
    config = GrpcConfig(listen=("127.0.0.1:0",), tls=outside)
    async with running_host(
        [binding(Probe())],
        CALLERS,
        config=config,
        internal=ServicesListener("127.0.0.1:0", outside, TRUST_DOMAIN),
    ) as host:
        files = TlsFiles(tls.of("evidence"), ManualMonotonicClock(), section="tls")
        clients = ServiceClients(
            lambda _: host.host.addresses, None, tls=MutualTls(files, TRUST_DOMAIN)
        )
        stub: Any = clients.stub(ProbeStub, SERVICE)
        assert (await failing(stub.Inner(window()))).reason == "UNAUTHENTICATED"
        await clients.close()


async def test_certificates_are_renewed_without_a_restart(
    authority: Authority, tmp_path: Path
) -> None:
    clock, tls = ManualMonotonicClock(), authority.config()
    async with served(tls, clock=clock) as host:
        files = TlsFiles(tls.of("evidence"), clock, section="tls")
        clients = ServiceClients(
            lambda _: [host.host.internal_address], None, tls=MutualTls(files, TRUST_DOMAIN)
        )
        first: Any = clients.stub(ProbeStub, SERVICE)
        assert (await first.Inner(window())).text == "service:evidence"
        renewed = Authority(tmp_path / "renewed")
        for service in ("probe", "evidence"):
            renewed.service(service)
            for kind in ("pem", "key"):
                content = (renewed.folder / f"{service}.{kind}").read_bytes()
                (authority.folder / f"{service}.{kind}").write_bytes(content)
        authority.file.write_bytes(renewed.file.read_bytes())
        await clock.advance(61)
        second: Any = clients.stub(ProbeStub, SERVICE)
        # Both ends have the new authority only: neither would believe the old certificates.
        assert (await second.Inner(window(), timeout=10)).text == "service:evidence"
        await clients.close()


def test_the_certificate_of_another_service_is_not_served(authority: Authority) -> None:
    own, tls = service_host("probe", TRUST_DOMAIN), authority.config()
    TlsFiles(tls.of("probe"), ManualMonotonicClock(), section="tls", host=own)
    with pytest.raises(VigieError, match=rf"evidence\.{TRUST_DOMAIN}, not of {own}") as caught:
        TlsFiles(tls.of("evidence"), ManualMonotonicClock(), section="tls", host=own)
    assert caught.value.reason.name == "CONFIG_INVALID"


async def test_a_certificate_that_expires_is_told_until_it_is_renewed(
    authority: Authority,
) -> None:
    """By readiness and by a metric; a renewed one ends it, and a half-renewed one does not yet."""
    clock, wall = ManualMonotonicClock(), ManualWallClock(SystemWallClock().now_us())
    files = TlsFiles(authority.config().of("probe"), clock, section="tls")
    metrics = MetricsRegistry()
    watch = CertificateWatch([files], wall, metrics)

    def end_seconds() -> float | None:
        return metrics.registry.get_sample_value(CERTIFICATE_EXPIRY.name, {"section": "tls"})

    await watch.start()
    assert watch.not_ready() is None
    first = end_seconds()
    assert first == files.end_us / 1e6
    wall.set(files.end_us)
    told = watch.not_ready()
    assert told is not None
    assert told.startswith("CERTIFICATE_EXPIRED")
    assert "probe.pem has expired on" in told
    authority.service("new", lasting=2 * DAY)
    for kind in ("pem", "key"):
        await clock.advance(61)
        assert watch.not_ready() == told, "nothing is whole yet"
        (authority.folder / f"probe.{kind}").write_bytes(
            (authority.folder / f"new.{kind}").read_bytes()
        )
    await clock.advance(61)
    assert watch.not_ready() is None
    assert first is not None
    assert (end_seconds() or 0) > first
    await watch.stop(timeout_seconds=1)
