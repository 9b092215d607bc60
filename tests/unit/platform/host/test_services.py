"""Where services are, how they are named, which of their calls are repeated."""

import json
from typing import Any

import grpc
import pytest
from pydantic import ValidationError

from certificates import Authority
from unit.platform.host.probe import SERVICE, Probe, ProbeStub, answer, binding, window
from vigie.contracts import methods_of, service_names
from vigie.platform.clock import ManualMonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.client import ClientError, ServiceClients, service_config, target_of
from vigie.platform.grpc.credentials import TlsFiles
from vigie.platform.grpc.peers import service_of
from vigie.platform.grpc.services import CONTEXTS, ServicesConfig, context_of
from vigie.platform.grpc.testing import caller_with, running_host
from vigie.targets import NEEDS_OF, TARGETS

DOMAIN = "vigie.internal"


def names(*values: str, key: str = "x509_subject_alternative_name") -> dict[str, list[bytes]]:
    return {key: [value.encode() for value in values]}


@pytest.mark.parametrize(
    ("given", "service"),
    [
        (names("spiffe://vigie.internal/vigie/evidence"), "evidence"),
        (names("evidence.vigie.internal"), "evidence"),
        (names("evidence.vigie.internal", "spiffe://vigie.internal/vigie/evidence"), "evidence"),
        (names("spiffe://vigie.internal/vigie/evidence", key="peer_spiffe_id"), "evidence"),
        (names("spiffe://elsewhere/vigie/evidence"), None),
        (names("spiffe://vigie.internal/other/evidence"), None),
        (names("spiffe://vigie.internal/vigie/a/b"), None),
        (names("a.b.vigie.internal"), None),
        (names("vigie.internal", ".vigie.internal"), None),
        (names("evidence.vigie.internal", "audit.vigie.internal"), None),
        (names("Evidence.vigie.internal"), None),
        ({}, None),
    ],
)
def test_a_certificate_names_one_service(given: dict[str, list[bytes]], service: str) -> None:
    assert service_of(given, DOMAIN) == service


def test_addresses_are_checked() -> None:
    for wrong in (["nowhere"], ["host:0"], ["a:1", "b:2"], ["127.0.0.1:1", "[::1]:2"], [":1"]):
        with pytest.raises(ValidationError):
            ServicesConfig(recording=tuple(wrong))
    several = ServicesConfig(recording=("10.0.0.1:7444", "10.0.0.2:7444"))
    assert several.addresses("recording") == ("10.0.0.1:7444", "10.0.0.2:7444")
    assert several.addresses("elsewhere") == ()


def test_where_a_service_listens() -> None:
    assert ServicesConfig().listening("recording") == "127.0.0.1:0"
    own = ServicesConfig(recording=("127.0.0.1:7501",))
    assert own.listening("recording") == "127.0.0.1:7501"
    named = ServicesConfig(recording=("recording:7444",))
    with pytest.raises(VigieError, match=r"services\.listen is not set"):
        named.listening("recording")
    told = named.model_copy(update={"listen": "0.0.0.0:7444"})
    assert told.listening("recording") == "0.0.0.0:7444"


def test_targets_of_channels() -> None:
    assert target_of(["recording:7444"]) == "dns:///recording:7444"
    assert target_of(["10.0.0.1:7"]) == "ipv4:10.0.0.1:7"
    assert target_of(["10.0.0.1:7", "10.0.0.2:7"]) == "ipv4:10.0.0.1:7,10.0.0.2:7"
    assert target_of(["[::1]:7"]) == "ipv6:[::1]:7"
    for wrong in ([], ["a:1", "b:1"], ["10.0.0.1:7", "[::1]:7"]):
        with pytest.raises(ValueError, match="address"):
            target_of(wrong)


def test_a_service_is_found_by_its_name() -> None:
    assert context_of("vigie.recording.v1.PlaybackService") == "recording"
    assert context_of("/vigie.ingest.v1.LiveService/WatchLive") == "ingest"
    assert context_of("/grpc.health.v1.Health/Check") == ""
    assert {context_of(name) for name in service_names()} == set(CONTEXTS)


def test_only_what_the_contracts_call_idempotent_is_tried_again() -> None:
    methods = methods_of()
    config = json.loads(service_config(service_names()))
    (entry,) = config["methodConfig"]
    tried = {f"/{item['service']}/{item['method']}" for item in entry["name"]}
    assert tried == {path for path, spec in methods.items() if spec.idempotent}
    assert entry["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    changing = ("Create", "Update", "Delete", "Approve", "Refuse", "Cancel", "Commission", "Move",
                "Suspend", "Resume", "Retire", "Revoke", "Import", "Export")  # fmt: skip
    for path in tried:
        assert not methods[path].server_streaming, path
        assert not methods[path].method.startswith(changing), path
    assert not json.loads(service_config([])).get("methodConfig")


def test_every_internal_method_names_services_that_call_it() -> None:
    """And every service that is named is one that the table of targets lets call it."""
    methods = methods_of()
    internal = {path for path, spec in methods.items() if spec.internal}
    assert internal == {
        "/vigie.ingest.v1.ProbeService/ProbeSource",
        "/vigie.recording.v1.RecordingService/GetCameraZones",
    }
    for path, spec in methods.items():
        assert spec.callers or not spec.internal, path
        for caller in spec.callers:
            assert context_of(path) in NEEDS_OF[caller].calls, path
    called = {context_of(p) for p, spec in methods.items() if "evidence" in spec.callers}
    assert called == set(NEEDS_OF["evidence"].calls)


def test_a_target_has_the_database_of_its_own_context_only() -> None:
    assert set(TARGETS) == {"all", "gateway", *CONTEXTS}
    for name in CONTEXTS:
        assert TARGETS[name].needs("database") == ((name,) if NEEDS_OF[name].database else ())
    assert TARGETS["ingest"].needs("database") == ()
    assert TARGETS["access"].needs("store") == ()
    assert [name for name in CONTEXTS if NEEDS_OF[name].sealer] == ["registry", "ingest"]
    assert all("accesses" in TARGETS[name].topics for name in CONTEXTS)
    assert TARGETS["gateway"].topics == ()


async def test_a_call_that_is_not_idempotent_is_made_once() -> None:
    probe, asked = Probe(), {"Look": 0, "Free": 0}

    async def away(request: Any, context: Any) -> Any:
        asked["Look"] += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    async def free(request: Any, context: Any) -> Any:
        asked["Free"] += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    probe.look = away
    probe.free = free  # type: ignore[method-assign]  # what this test is about
    caller = {"token": caller_with("person-1", "probe.read")}
    async with running_host([binding(probe)], caller) as host:
        clients = ServiceClients(lambda _: [host.host.internal_address], _Fixed())
        stub: Any = clients.stub(ProbeStub, SERVICE)
        for name in asked:
            with pytest.raises(grpc.aio.AioRpcError):
                await getattr(stub, name)(window())
        await clients.close()
    assert asked == {"Look": 4, "Free": 1}


async def test_calls_are_shared_by_several_addresses() -> None:
    served: list[int] = []

    def counting(number: int) -> Probe:
        probe = Probe()

        async def free(request: Any, context: Any) -> Any:
            served.append(number)
            return answer()

        probe.free = free  # type: ignore[method-assign]  # what this test is about
        return probe

    caller = {"token": caller_with("person-1")}
    async with (
        running_host([binding(counting(1))], caller) as first,
        running_host([binding(counting(2))], caller) as second,
    ):
        addresses = [first.host.internal_address, second.host.internal_address]
        clients = ServiceClients(lambda _: addresses, _Fixed())
        stub: Any = clients.stub(ProbeStub, SERVICE)
        while set(served) != {1, 2}:
            await stub.Free(window())
        # One of them goes: the other one serves, and nobody waits for the first.
        await first.host.stop(timeout_seconds=0)
        served.clear()
        for _ in range(10):
            await stub.Free(window(), timeout=5, wait_for_ready=True)
        assert set(served) == {2}
        await clients.close()


async def test_a_service_that_is_away_fails_fast() -> None:
    async with running_host([binding(Probe())], {}) as host:
        gone = host.host.internal_address
    clients = ServiceClients(lambda _: [gone], _Fixed())
    stub: Any = clients.stub(ProbeStub, SERVICE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Free(window(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await clients.close()
    nowhere = ServiceClients(lambda _: [], _Fixed())
    with pytest.raises(VigieError, match="names no address") as refused:
        nowhere.channel(SERVICE)
    assert refused.value.reason.name == "SERVICE_UNREACHABLE"


async def test_a_servicer_whose_service_is_away_says_so() -> None:
    """And not INTERNAL: nothing is wrong with this process."""
    async with running_host([binding(Probe())], {}) as host:
        gone = host.host.internal_address
    clients = ServiceClients(lambda _: [gone], _Fixed())
    probe = Probe()

    async def asking(request: Any, context: Any) -> Any:
        stub: Any = clients.stub(ProbeStub, SERVICE)
        return await stub.Free(window())

    probe.look = asking
    caller = {"token": caller_with("person-1", "probe.read")}
    async with running_host([binding(probe)], caller) as host:
        stub: Any = ProbeStub(host.channel("token"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Look(window())
    error = ClientError.of(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNREACHABLE")
    await clients.close()


async def test_a_service_that_waits_is_not_served_and_not_recorded() -> None:
    waits: dict[str, str] = {SERVICE: "recording waits: event log: kafka unreachable since 12 s"}
    caller = {"token": caller_with("person-1", "probe.read")}
    async with running_host([binding(Probe())], caller, gate=waits.get) as host:
        stub: Any = ProbeStub(host.channel("token"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Look(window())
        error = ClientError.of(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_STARTING")
        assert "unreachable since 12 s" in error.message
        assert host.recorder.entries == []
        waits.clear()
        assert (await stub.Look(window())).text == "here"


async def test_files_that_do_not_belong_together_keep_the_good_ones(tmp_path: Any) -> None:
    authority, clock = Authority(tmp_path), ManualMonotonicClock()
    authority.service("audit")
    files = TlsFiles(authority.config().of("audit"), clock, section="tls")
    before = files.content
    certificate = (tmp_path / "audit.pem").read_bytes()
    key = (tmp_path / "audit.key").read_bytes()
    authority.service("audit")
    (tmp_path / "audit.key").write_bytes(key)
    await clock.advance(61)
    assert not files.look()
    assert files.content == before
    (tmp_path / "audit.pem").write_bytes(certificate)
    await clock.advance(61)
    assert not files.look()
    authority.service("audit")
    await clock.advance(61)
    assert files.look()
    assert files.content != before
    (tmp_path / "audit.key").write_text("no key")
    with pytest.raises(VigieError, match="no PEM file") as caught:
        TlsFiles(authority.config().of("audit"), clock, section="tls")
    assert caught.value.field == "tls.key_file"
    assert "no key" not in str(caught.value.message)


class _Fixed:
    async def token(self) -> str:
        return "token"
