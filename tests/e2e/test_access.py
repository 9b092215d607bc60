"""Who may not is refused, is told why, and is on record; who may no longer is cut off."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from e2e import estate
from e2e.callers import PURPOSE, accesses, failure_of, watch_live, window
from e2e.harness import Installation, until
from vigie.audit.v1 import events_pb2
from vigie.common.v1 import types_pb2
from vigie.ingest.v1 import live_pb2, live_pb2_grpc, probe_pb2, probe_pb2_grpc
from vigie.platform.grpc.client import ClientError
from vigie.recording.v1 import playback_pb2, playback_pb2_grpc
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
NORTH, SOUTH, NOWHERE = "cam-h264", "cam-h265", "cam-nobody-knows"


def snapshot_of(
    camera: str, at_us: int, purpose: types_pb2.Purpose | None = PURPOSE
) -> playback_pb2.GetSnapshotRequest:
    request = playback_pb2.GetSnapshotRequest(camera=f"cameras/{camera}", purpose=purpose)
    request.time.FromMicroseconds(at_us)
    return request


async def assert_on_record(vigie: Installation, failure: ClientError, **expected: Any) -> None:
    """The refusal can be found in the access log by the request id the caller was given."""

    async def recorded() -> events_pb2.AccessRecord | None:
        found = await accesses(vigie, request_id=failure.request_id)
        return found[0] if found else None

    assert failure.request_id
    record = await until(recorded, f"record of {failure}")
    assert record.decision == events_pb2.DECISION_REFUSED
    assert record.decision_reason == failure.reason
    assert {name: getattr(record, name) for name in expected} == expected


def tokens(vigie: Installation) -> dict[str, tuple[str | None, str]]:
    good = vigie.token("operateur")
    head, body, signature = good.split(".")
    return {
        "none": (None, "UNAUTHENTICATED"),
        "no token at all": ("nonsense", "TOKEN_INVALID"),
        "altered": (f"{head}.{body}.{signature[:-4]}AAAA", "TOKEN_INVALID"),
        "expired": (
            vigie.token("operateur", lifetime_seconds=3600, ago_seconds=7200), "TOKEN_EXPIRED",
        ),
        "of a stranger": (vigie.token("personne"), "PERSON_UNKNOWN"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["none", "no token at all", "altered", "expired", "of a stranger"])
async def test_a_bad_token_is_refused_and_recorded(
    kind: str, vigie: Installation, begun_us: int
) -> None:
    token, reason = tokens(vigie)[kind]
    stub = vigie.stub(playback_pb2_grpc.PlaybackServiceStub, "recording", token=token)
    failure = await failure_of(stub.GetSnapshot(snapshot_of(NORTH, begun_us)))
    assert failure.reason == reason
    await assert_on_record(vigie, failure)


async def test_another_zone_and_an_unknown_camera_look_the_same(
    vigie: Installation, begun_us: int
) -> None:
    stub = vigie.stub(playback_pb2_grpc.PlaybackServiceStub, "recording", person="operateur-sud")
    refused = await failure_of(stub.GetSnapshot(snapshot_of(NORTH, begun_us)))
    unknown = await failure_of(stub.GetSnapshot(snapshot_of(NOWHERE, begun_us)))
    for failure in (refused, unknown):
        assert failure.code is grpc.StatusCode.PERMISSION_DENIED
        assert failure.reason == "PERMISSION_DENIED"
        assert "footage.snapshot" in str(failure) + str(failure.metadata)
        await assert_on_record(
            vigie, failure, subject="operateur-sud", agency="csu", purpose=PURPOSE.text
        )
    assert refused.message.replace(NORTH, "") == unknown.message.replace(NOWHERE, "")
    assert (await stub.GetSnapshot(snapshot_of(SOUTH, begun_us))).image


async def test_each_role_has_its_limits(vigie: Installation, begun_us: int) -> None:
    end_us = begun_us + 1_000_000
    playback = vigie.stub(playback_pb2_grpc.PlaybackServiceStub, "recording", person="operateur")
    request = playback_pb2.GetClipRequest(
        camera=f"cameras/{NORTH}", window=window(begun_us, end_us), purpose=PURPOSE
    )
    failure = await failure_of(playback.GetClip(request))
    assert failure.reason == "PERMISSION_DENIED"
    await assert_on_record(vigie, failure, subject="operateur", roles=["operator"])
    registry = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="enqueteur")
    retire = cameras_pb2.RetireCameraRequest(name=f"cameras/{NORTH}", reason="sans droit")
    failure = await failure_of(registry.RetireCamera(retire))
    assert failure.reason == "PERMISSION_DENIED"
    await assert_on_record(vigie, failure, subject="enqueteur")


async def test_methods_between_services_are_closed_to_people(vigie: Installation) -> None:
    stub = vigie.stub(probe_pb2_grpc.ProbeServiceStub, "ingest", person="administration")
    request = probe_pb2.ProbeSourceRequest(camera=NORTH, stream_uri="rtsp://127.0.0.1:1/x")
    failure = await failure_of(stub.ProbeSource(request))
    assert failure.reason == "METHOD_INTERNAL"
    await assert_on_record(vigie, failure, subject="administration")


def _play(channel: Any, purpose: types_pb2.Purpose | None, at_us: int) -> Any:
    request = playback_pb2.PlayRequest(camera=f"cameras/{NORTH}", purpose=purpose)
    request.start_time.FromMicroseconds(at_us)
    request.end_time.FromMicroseconds(at_us + 1_000_000)
    return playback_pb2_grpc.PlaybackServiceStub(channel).Play(request)


def _clip(channel: Any, purpose: types_pb2.Purpose | None, at_us: int) -> Any:
    request = playback_pb2.GetClipRequest(
        camera=f"cameras/{NORTH}", purpose=purpose, window=window(at_us, at_us + 1_000_000)
    )
    return playback_pb2_grpc.PlaybackServiceStub(channel).GetClip(request)


def _snapshot(channel: Any, purpose: types_pb2.Purpose | None, at_us: int) -> Any:
    stub = playback_pb2_grpc.PlaybackServiceStub(channel)
    return stub.GetSnapshot(snapshot_of(NORTH, at_us, purpose))


def _live(channel: Any, purpose: types_pb2.Purpose | None, at_us: int) -> Any:
    request = live_pb2.WatchLiveRequest(camera=f"cameras/{NORTH}", purpose=purpose)
    return live_pb2_grpc.LiveServiceStub(channel).WatchLive(request)


@pytest.mark.parametrize(
    ("call", "context", "person"),
    [
        (_play, "recording", "operateur"),
        (_clip, "recording", "enqueteur"),
        (_snapshot, "recording", "operateur"),
        (_live, "ingest", "operateur"),
    ],
)
@pytest.mark.parametrize("text", [None, " "])
async def test_nobody_sees_footage_without_a_purpose(
    call: Callable[..., Any],
    context: str,
    person: str,
    text: str | None,
    *,
    vigie: Installation,
    begun_us: int,
) -> None:
    purpose = None if text is None else types_pb2.Purpose(text=text)
    channel = vigie.stub(lambda channel: channel, context, person=person)
    failure = await failure_of(call(channel, purpose, begun_us))
    assert failure.reason == "PURPOSE_REQUIRED"
    assert [each.field for each in failure.violations] == ["purpose.text"]
    await assert_on_record(vigie, failure, subject=person)


async def test_what_was_delivered_is_on_record(vigie: Installation, begun_us: int) -> None:
    stub = vigie.stub(playback_pb2_grpc.PlaybackServiceStub, "recording", person="operateur")
    request = playback_pb2.PlayRequest(camera=f"cameras/{NORTH}", purpose=PURPOSE)
    request.start_time.FromMicroseconds(begun_us)
    request.end_time.FromMicroseconds(begun_us + 1_000_000)
    call = stub.Play(request)
    received = sum([len(message.SerializeToString()) async for message in call])
    identifier = dict(await call.initial_metadata()).get("x-request-id") or dict(
        await call.trailing_metadata()
    ).get("x-request-id")

    async def closed() -> list[events_pb2.AccessRecord] | None:
        found = await accesses(vigie, request_id=identifier)
        return found if len(found) == 2 else None

    ended, opened = await until(closed, "both records of a stream")
    assert (opened.phase, ended.phase) == (
        events_pb2.ACCESS_PHASE_OPENED, events_pb2.ACCESS_PHASE_CLOSED,
    )  # fmt: skip
    assert opened.decision == events_pb2.DECISION_ALLOWED
    assert opened.purpose == PURPOSE.text
    assert opened.case_reference == PURPOSE.case_reference
    assert list(opened.objects) == [f"cameras/{NORTH}"]
    assert 0 < ended.delivered_bytes <= received
    assert ended.end_status == "OK"


async def test_a_suspended_person_loses_the_stream_within_5_seconds(vigie: Installation) -> None:
    suspended = estate.PEOPLE.replace("suspended = false", "suspended = true")
    since = 0.0

    async def watch() -> None:
        nonlocal since
        async for _ in watch_live(vigie, NORTH, person="remplacant"):
            if not since:
                vigie.write_people(suspended)
                since = time.monotonic()

    try:
        failure = await asyncio.wait_for(failure_of(watch()), 20)
        assert time.monotonic() - since < 5
        assert failure.reason in ("PERSON_SUSPENDED", "RIGHTS_CHANGED")
        stub = vigie.stub(playback_pb2_grpc.PlaybackServiceStub, "recording", person="remplacant")

        # Every service reads the file of people by itself.
        async def refused() -> ClientError | None:
            failure = await failure_of(stub.GetSnapshot(snapshot_of(NORTH, 1)))
            return failure if failure.reason == "PERSON_SUSPENDED" else None

        again = await until(refused, "suspended everywhere", seconds=5)
        await assert_on_record(vigie, again, subject="remplacant")
    finally:
        vigie.write_people(estate.PEOPLE)


async def test_a_foreign_client_finds_its_way_by_reflection(vigie: Installation) -> None:
    channel = vigie.stub(lambda channel: channel, "recording")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in stub.ServerReflectionInfo(iter([ask])):
        names = {service.name for service in answer.list_services_response.service}
        break
    assert {
        "vigie.recording.v1.PlaybackService",
        "vigie.registry.v1.CameraService",
        "vigie.evidence.v1.EvidenceService",
        "grpc.health.v1.Health",
    } <= names


async def test_health_says_that_it_serves(vigie: Installation) -> None:
    channel = vigie.stub(lambda channel: channel, "recording")
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "vigie.recording.v1.PlaybackService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
