import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from unit.platform.host.probe import (
    PERMISSION,
    SERVICE,
    Probe,
    ProbeStub,
    answer,
    binding,
    describe,
    window,
)
from vigie.common.v1 import access_pb2
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import current_call
from vigie.platform.grpc.client import ClientError
from vigie.platform.grpc.methods import UndeclaredMethodError
from vigie.platform.grpc.record import AccessEntry, Phase
from vigie.platform.grpc.testing import RunningHost, caller_with, running_host
from vigie.platform.module import ServiceBinding
from vigie.platform.reasons import OBJECT_NOT_FOUND

CALLERS = {
    "everywhere": caller_with("person-1", PERMISSION),
    "zone-a": caller_with("person-2", PERMISSION, zones=["zone-a"], agency="police"),
    "zone-b": caller_with("person-3", PERMISSION, zones=["zone-b"]),
    "nothing": caller_with("person-4"),
    "service": caller_with("service:evidence", PERMISSION, service=True),
    "other service": caller_with("service:audit", PERMISSION, service=True),
}


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
async def host(probe: Probe) -> AsyncIterator[RunningHost]:
    async with running_host([binding(probe)], CALLERS) as running:
        yield running


def stub(host: RunningHost, token: str | None) -> Any:
    return ProbeStub(host.channel(token))


async def failing(call: Any) -> ClientError:
    """The failure of a call that must send nothing."""
    received: list[Any] = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await receive(call, received)
    assert received == []
    return ClientError.of(caught.value)


async def receive(call: Any, received: list[Any]) -> None:
    if not hasattr(call, "__aiter__"):
        received.append(await call)
        return
    async for item in call:
        received.append(item)  # noqa: PERF401 - what came before the failure must be kept


async def test_an_admitted_answer_is_on_record_before_it_leaves(host: RunningHost) -> None:
    reply = await stub(host, "zone-a").Look(window())
    assert reply.text == "here"
    (entry,) = host.recorder.entries
    assert entry.allowed
    assert (entry.subject, entry.agency, entry.permission) == ("person-2", "police", PERMISSION)
    assert (entry.objects, entry.zones) == (("cameras/cam-a",), ("zone-a",))
    assert entry.kind == access_pb2.RECORD_KIND_CONSULTATION
    assert entry.peer.startswith("ipv4:127.0.0.1:")


async def test_the_request_id_is_returned_and_recorded(host: RunningHost) -> None:
    call = stub(host, "zone-a").Look(window(), metadata=(("x-request-id", "my-request-1"),))
    await call
    assert dict(await call.trailing_metadata())["x-request-id"] == "my-request-1"
    assert host.recorder.entries[0].request_id == "my-request-1"
    call = stub(host, "zone-a").Look(window(), metadata=(("x-request-id", "bad id!"),))
    await call
    assert len(dict(await call.trailing_metadata())["x-request-id"]) == 36


@pytest.mark.parametrize(
    ("token", "reason", "subject"),
    [
        (None, "UNAUTHENTICATED", "anonymous"),
        ("forged", "TOKEN_INVALID", "anonymous"),
        ("nothing", "PERMISSION_DENIED", "person-4"),
        ("zone-b", "PERMISSION_DENIED", "person-3"),
    ],
)
@pytest.mark.parametrize("method", ["Look", "Play"])
async def test_who_may_not_is_refused_and_recorded(
    host: RunningHost,
    token: str | None,
    reason: str,
    subject: str,
    method: str,
) -> None:
    error = await failing(getattr(stub(host, token), method)(window()))
    unknown = subject == "anonymous"
    expected = grpc.StatusCode.UNAUTHENTICATED if unknown else grpc.StatusCode.PERMISSION_DENIED
    assert (error.code, error.reason) == (expected, reason)
    (entry,) = host.recorder.entries
    assert not entry.allowed
    assert (entry.reason, entry.subject) == (reason, subject)
    if token == "zone-b":
        assert entry.zones == ("zone-a",)
        assert error.metadata["permission"] == PERMISSION
        assert "cam-a" not in str(error)


async def test_an_invalid_request_names_the_field_and_is_recorded(host: RunningHost) -> None:
    request = window()
    request.ClearField("end_time")
    error = await failing(stub(host, "zone-a").Look(request))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
    assert [violation.field for violation in error.violations] == ["end_time"]
    (entry,) = host.recorder.entries
    assert (entry.allowed, entry.reason, entry.subject) == (False, "REQUEST_INVALID", "person-2")


async def test_refusals_speak_the_language_asked_for(host: RunningHost) -> None:
    call = stub(host, "nothing").Look(window(), metadata=(("accept-language", "fr-FR,en;q=0.5"),))
    error = await failing(call)
    assert error.localized_message.startswith("L'appelant")
    assert error.remedy


@pytest.mark.parametrize("failing_log", [OSError("disk full"), TimeoutError(), RuntimeError("x")])
@pytest.mark.parametrize("method", ["Look", "Play"])
@pytest.mark.parametrize("token", ["zone-a", "zone-b", "nothing", None])
async def test_what_cannot_be_recorded_is_refused(
    host: RunningHost, failing_log: Exception, method: str, token: str | None
) -> None:
    host.recorder.failing = failing_log
    error = await failing(getattr(stub(host, token), method)(window()))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ACCESS_NOT_RECORDED")


async def test_an_answer_without_admission_is_never_sent(host: RunningHost, probe: Probe) -> None:
    async def look(request: Any, context: Any) -> Any:
        return answer("secret")

    async def play(request: Any, context: Any) -> AsyncIterator[Any]:
        yield answer("secret")

    async def write(request: Any, context: Any) -> None:
        await context.write(answer("secret"))

    async def empty(request: Any, context: Any) -> AsyncIterator[Any]:
        for item in ():
            yield item

    probe.look = look
    error = await failing(stub(host, "zone-a").Look(window()))
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "NOT_ADMITTED")
    for behaviour in (play, write, empty):
        probe.play = behaviour
        error = await failing(stub(host, "zone-a").Play(window()))
        assert error.reason == "NOT_ADMITTED"
    assert [entry.reason for entry in host.recorder.entries] == ["NOT_ADMITTED"] * 4


async def test_a_stream_is_closed_on_record_with_what_was_delivered(host: RunningHost) -> None:
    received = [item.text async for item in stub(host, "zone-a").Play(window())]
    assert received == ["0", "1", "2"]
    opened, closed = host.recorder.entries
    assert (opened.phase, closed.phase) == (Phase.OPENED, Phase.CLOSED)
    assert opened.request_id == closed.request_id
    assert (closed.delivered_messages, closed.delivered_bytes) == (3, 9)
    assert (closed.end_status, closed.reason) == ("OK", "")
    assert (closed.window_us, closed.purpose, closed.case_reference) == (
        (10, 20),
        "a theft",
        "PV 1",
    )


async def test_what_the_servicer_tells_of_delivery_goes_on_record(
    host: RunningHost, probe: Probe
) -> None:
    async def play(request: Any, context: Any) -> AsyncIterator[Any]:
        call = current_call()
        await call.admit()
        for index in range(2):
            yield answer()
            call.delivered(size_bytes=1000, until_us=100 + index)

    probe.play = play
    assert len([item async for item in stub(host, "zone-a").Play(window())]) == 2
    closed = host.recorder.entries[-1]
    assert (closed.delivered_bytes, closed.delivered_messages) == (2000, 2)
    assert closed.delivered_until_us == 101


async def test_a_client_that_leaves_closes_the_record(host: RunningHost, probe: Probe) -> None:
    released = asyncio.Event()

    async def play(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit()
        try:
            yield answer()
            await asyncio.Event().wait()
        finally:
            released.set()

    probe.play = play
    call = stub(host, "zone-a").Play(window())
    await call.read()
    call.cancel()
    await asyncio.wait_for(released.wait(), 5)
    await host.host.stop(timeout_seconds=5)
    closed = host.recorder.entries[-1]
    assert (closed.phase, closed.end_status) == (Phase.CLOSED, "CANCELLED")
    assert (closed.reason, closed.delivered_messages) == ("CALL_CANCELLED", 1)


@pytest.mark.parametrize("method", ["Look", "Play"])
@pytest.mark.parametrize(
    ("token", "reason"), [("zone-b", "PERMISSION_DENIED"), (None, "UNAUTHENTICATED")]
)
async def test_a_caller_who_hangs_up_while_the_refusal_is_recorded_is_on_record(
    host: RunningHost,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    reason: str,
    method: str,
) -> None:
    writing, log_is_back = asyncio.Event(), asyncio.Event()
    record = host.recorder.record

    async def slow(entry: AccessEntry) -> None:
        writing.set()
        await log_is_back.wait()
        await record(entry)

    monkeypatch.setattr(host.recorder, "record", slow)
    call = getattr(stub(host, token), method)(window())
    await asyncio.wait_for(writing.wait(), 5)
    writing.clear()
    call.cancel()
    await asyncio.wait_for(writing.wait(), 5)
    log_is_back.set()
    await host.host.stop(timeout_seconds=5)
    assert [(entry.allowed, entry.reason) for entry in host.recorder.entries] == [(False, reason)]


async def test_stopping_ends_streams_and_closes_their_records(
    host: RunningHost, probe: Probe
) -> None:
    async def play(request: Any, context: Any) -> AsyncIterator[Any]:
        await current_call().admit()
        yield answer()
        await asyncio.Event().wait()

    probe.play = play
    call = stub(host, "zone-a").Play(window())
    await call.read()
    await host.host.stop(timeout_seconds=5)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert ClientError.of(caught.value).reason == "STOPPING"
    assert host.recorder.entries[-1].end_status == "UNAVAILABLE"


async def test_a_failure_after_admission_is_closed_on_record(
    host: RunningHost, probe: Probe
) -> None:
    async def look(request: Any, context: Any) -> Any:
        await current_call().admit()
        raise VigieError(OBJECT_NOT_FOUND, "no such object", field="name")

    probe.look = look
    error = await failing(stub(host, "zone-a").Look(window()))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "OBJECT_NOT_FOUND")
    assert [violation.field for violation in error.violations] == ["name"]
    opened, closed = host.recorder.entries
    assert opened.allowed
    assert (closed.phase, closed.end_status) == (Phase.CLOSED, "NOT_FOUND")


async def test_what_does_not_exist_looks_like_what_is_not_allowed(
    host: RunningHost, probe: Probe
) -> None:
    async def look(request: Any, context: Any) -> Any:
        await current_call().admit(objects=["cameras/none"], zones=None)
        raise VigieError(OBJECT_NOT_FOUND, "no such camera")

    elsewhere = await failing(stub(host, "zone-b").Look(window()))
    probe.look = look
    missing = await failing(stub(host, "zone-a").Look(window()))
    assert (missing.code, missing.message) == (elsewhere.code, elsewhere.message)
    told = await failing(stub(host, "everywhere").Look(window()))
    assert told.reason == "OBJECT_NOT_FOUND"


async def test_an_unexpected_failure_tells_nothing(host: RunningHost, probe: Probe) -> None:
    async def look(request: Any, context: Any) -> Any:
        await current_call().admit()
        raise RuntimeError("rtsp://user:secret@camera")

    probe.look = look
    error = await failing(stub(host, "zone-a").Look(window()))
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
    assert "secret" not in error.message
    assert error.request_id == host.recorder.entries[0].request_id


async def test_only_services_call_internal_methods(host: RunningHost) -> None:
    error = await failing(stub(host, "everywhere").Inner(window()))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "METHOD_INTERNAL")
    assert (await stub(host, "service").Inner(window())).text == "service:evidence"
    assert [entry.reason for entry in host.recorder.entries] == ["METHOD_INTERNAL"]


async def test_a_service_calls_only_what_names_it(host: RunningHost) -> None:
    """Its permission does not suffice: the contract says which service may call."""
    for method, who in (("Inner", "other service"), ("Look", "service"), ("Free", "service")):
        error = await failing(getattr(stub(host, who), method)(window()))
        assert error.code is grpc.StatusCode.PERMISSION_DENIED
        assert error.reason == "SERVICE_NOT_PERMITTED"
    assert [entry.allowed for entry in host.recorder.entries] == [False] * 3


async def test_a_public_method_asks_for_nothing(host: RunningHost) -> None:
    assert (await stub(host, None).Open(window())).text == "anonymous"


async def test_client_streams_are_checked_message_by_message(host: RunningHost) -> None:
    async def good() -> AsyncIterator[Any]:
        for _ in range(3):
            yield window()

    async def bad() -> AsyncIterator[Any]:
        yield window()
        yield window(20, 10)

    client = stub(host, "zone-a")
    assert (await client.Gather(good())).text == "3"
    error = await failing(client.Gather(bad()))
    assert error.reason == "REQUEST_INVALID"
    assert [item.text async for item in client.Converse(good())] == ["10"] * 3


async def test_strangers_cannot_flood_the_log(host: RunningHost) -> None:
    client = stub(host, "forged")
    for _ in range(25):
        await failing(client.Look(window()))
    assert len(host.recorder.entries) == 10
    await host.host.stop(timeout_seconds=5)
    last = host.recorder.entries[-1]
    assert (last.reason, last.suppressed_attempts) == ("ATTEMPTS_SUPPRESSED", 15)
    assert last.peer == "ipv4:127.0.0.1"


async def test_calls_are_counted_by_reason(host: RunningHost) -> None:
    await stub(host, "zone-a").Look(window())
    await failing(stub(host, "zone-b").Look(window()))
    labels = {"service": SERVICE, "method": "Look"}
    value = host.metrics.value
    assert value("vigie_grpc_requests_total", **labels, code="OK", reason="") == 1
    assert value("vigie_grpc_denied_total", **labels, reason="PERMISSION_DENIED") == 1


async def test_a_method_that_declares_nothing_is_not_served(probe: Probe) -> None:
    describe("vigie.silent.v1", "SilentService", {"Say": None})
    silent = ServiceBinding("vigie.silent.v1.SilentService", probe, lambda *_: None)
    with pytest.raises(UndeclaredMethodError, match=r"SilentService\.Say"):
        async with running_host([silent], {}):
            pass
