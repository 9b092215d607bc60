"""The services of ingest through a real gRPC host."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc.aio
import pytest

from ingest_module_support import CAMERA, Ingest, camera_state, opened
from ingest_support import eventually, footage, frames_of
from vigie.common.v1 import types_pb2
from vigie.common.v1.types_pb2 import Purpose
from vigie.ingest.engine import EndCause
from vigie.ingest.v1 import events_pb2, live_pb2, probe_pb2, streams_pb2
from vigie.ingest.v1.live_pb2_grpc import LiveServiceStub
from vigie.ingest.v1.probe_pb2_grpc import ProbeServiceStub
from vigie.ingest.v1.streams_pb2_grpc import StreamServiceStub
from vigie.platform.grpc.record import Phase
from vigie.platform.grpc.testing import RunningHost, caller_with, running_host
from vigie.platform.paging import Tokens, query_of
from vigie.registry.v1 import events_pb2 as registry

FILM = footage()
WHY = Purpose(text="fight at the east gate", case_reference="2026-117")


@pytest.fixture
async def ingest(tmp_path: Path) -> AsyncIterator[Ingest]:
    async with opened(tmp_path) as running:
        yield running


@pytest.fixture
async def host(ingest: Ingest) -> AsyncIterator[RunningHost]:
    callers = {
        "operator": caller_with("op", "streams.read", "live.watch", zones=["zone-a"]),
        "elsewhere": caller_with("el", "streams.read", "live.watch", zones=["zone-b"]),
        "chief": caller_with("ch", "streams.read", "live.watch"),
        "registry": caller_with("registry", "sources.probe", service=True),
    }
    async with running_host(ingest.module.services(), callers=callers) as host:
        yield host


async def recording(ingest: Ingest) -> None:
    await ingest.publish(camera_state())
    await eventually(lambda: bool(ingest.engine.current))
    ingest.engine.current[-1].play(FILM, range(4))
    keeper = ingest.module.reception.keeper(CAMERA)
    assert keeper is not None
    await eventually(lambda: keeper.status.state == events_pb2.STREAM_STATE_RECORDING)
    await ingest.module.path.drain_writers(10)
    await ingest.module._status_outbox.flush(10)
    await eventually(
        lambda: (
            (status := ingest.module._statuses.get(CAMERA)) is not None
            and status.state == events_pb2.STREAM_STATE_RECORDING
        )
    )


def reason_of(error: grpc.aio.AioRpcError) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return str(value)
    return ""


async def test_a_stream_is_shown_to_who_may_see_its_zone(ingest: Ingest, host: RunningHost) -> None:
    await recording(ingest)
    stub = StreamServiceStub(host.channel("operator"))
    stream = await stub.GetStream(streams_pb2.GetStreamRequest(name=f"cameras/{CAMERA}/stream"))

    assert stream.state == events_pb2.STREAM_STATE_RECORDING
    assert stream.codec == FILM.parameters.codec_string
    assert stream.frame_rate_millihertz == 25_000
    assert not stream.stale
    assert stream.run_start_time.ToMicroseconds() > 0


async def test_a_retired_camera_is_told_to_viewers_and_is_not_stale(
    ingest: Ingest, host: RunningHost
) -> None:
    await recording(ingest)
    await ingest.publish(camera_state(lifecycle=registry.CAMERA_LIFECYCLE_RETIRED, revision=2))
    await eventually(lambda: ingest.module.reception.keeper(CAMERA) is None)
    await ingest.module._status_outbox.flush(10)
    await eventually(
        lambda: (
            (status := ingest.module._statuses.get(CAMERA)) is not None
            and status.state == events_pb2.STREAM_STATE_STOPPED
        )
    )
    await ingest.pass_time(60)
    stub = StreamServiceStub(host.channel("operator"))
    stream = await stub.GetStream(streams_pb2.GetStreamRequest(name=f"cameras/{CAMERA}/stream"))
    assert stream.state == events_pb2.STREAM_STATE_STOPPED
    assert not stream.stale

    live = LiveServiceStub(host.channel("operator"))
    call = live.WatchLive(live_pb2.WatchLiveRequest(camera=f"cameras/{CAMERA}", purpose=WHY))
    message = await call.read()
    assert message.state.state == events_pb2.STREAM_STATE_STOPPED
    assert message.state.cause == types_pb2.GAP_CAUSE_NOT_IN_SERVICE
    call.cancel()
    await eventually(lambda: ingest.module.hub._channels == {})


async def test_a_stream_is_not_shown_to_others(ingest: Ingest, host: RunningHost) -> None:
    await recording(ingest)
    stub = StreamServiceStub(host.channel("elsewhere"))
    for camera in (CAMERA, "cam-there-is-none"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetStream(streams_pb2.GetStreamRequest(name=f"cameras/{camera}/stream"))
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    listed = await stub.ListStreams(streams_pb2.ListStreamsRequest())
    assert not listed.streams


async def test_who_may_see_all_is_told_what_is_not_there(host: RunningHost) -> None:
    stub = StreamServiceStub(host.channel("chief"))
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await stub.GetStream(streams_pb2.GetStreamRequest(name="cameras/cam-nowhere/stream"))
    assert missing.value.code() == grpc.StatusCode.NOT_FOUND


async def test_lists_come_in_pages(ingest: Ingest, host: RunningHost) -> None:
    names = [f"cam-many-{number:02d}" for number in range(5)]
    for name in names:
        await ingest.publish(camera_state(camera=name))
    await eventually(lambda: len(ingest.engine.current) == 5)
    await ingest.module._status_outbox.flush(10)
    await eventually(lambda: len(ingest.module._statuses.items) == 5)
    stub = StreamServiceStub(host.channel("operator"))
    request = streams_pb2.ListStreamsRequest(page_size=2)
    seen: list[str] = []
    while True:
        answer = await stub.ListStreams(request)
        seen += [stream.name for stream in answer.streams]
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert seen == [f"cameras/{name}/stream" for name in names]


async def test_a_watch_tells_changes_and_goes_on_where_it_was(
    ingest: Ingest, host: RunningHost
) -> None:
    await recording(ingest)
    stub = StreamServiceStub(host.channel("operator"))
    watch = stub.WatchStreams(streams_pb2.WatchStreamsRequest())
    async for answer in watch:
        if answer.is_checkpoint:
            break
    token = answer.resume_token
    assert token
    watch.cancel()

    ingest.engine.current[0].end(EndCause.CLOSED_BY_CAMERA, "went away")
    again = stub.WatchStreams(streams_pb2.WatchStreamsRequest(resume_token=token))
    async for answer in again:
        if answer.is_checkpoint:  # told before the session's end was
            continue
        assert answer.stream.name == f"cameras/{CAMERA}/stream"
        if answer.stream.state == events_pb2.STREAM_STATE_WAITING:
            break
    again.cancel()


async def test_a_watch_takes_tokens_of_the_version_before(
    ingest: Ingest, host: RunningHost
) -> None:
    """As they come while processes are replaced one after the other."""
    await recording(ingest)
    request = streams_pb2.WatchStreamsRequest()
    query = query_of(request, without=("resume_token",))
    request.resume_token = Tokens(b"key").seal({"positions": [[0, 10**6]]}, query)
    stub = StreamServiceStub(host.channel("operator"))
    assert (await stub.WatchStreams(request).read()).is_checkpoint


async def test_a_watch_begins_with_the_newest_states_and_a_checkpoint(
    ingest: Ingest, host: RunningHost
) -> None:
    """Not with the history that the topic still holds, and heartbeats do not put it off."""
    await recording(ingest)
    watch = StreamServiceStub(host.channel("operator")).WatchStreams(
        streams_pb2.WatchStreamsRequest(include_heartbeats=True)
    )
    first, second = await watch.read(), await watch.read()
    watch.cancel()
    assert first.stream.state == events_pb2.STREAM_STATE_RECORDING
    assert first.resume_token == "", "more was to be told: whoever breaks off here begins anew"
    assert second.is_checkpoint
    assert second.resume_token


async def test_live_pictures_play_and_the_access_is_on_record(
    ingest: Ingest, host: RunningHost
) -> None:
    await recording(ingest)
    stub = LiveServiceStub(host.channel("operator"))
    call = stub.WatchLive(live_pb2.WatchLiveRequest(camera=f"cameras/{CAMERA}", purpose=WHY))
    await eventually(lambda: ingest.module.hub.channel(CAMERA).wants_frames)
    session = ingest.engine.current[0]
    for start in range(0, 25, 5):
        session.tick(FILM, 4, start, start + 5)
    content, chunks, received = b"", 0, 0
    async for message in call:
        received += message.ByteSize()
        if message.HasField("header"):
            content += message.header.data
            assert message.header.codec == FILM.parameters.codec_string
        if message.HasField("chunk"):
            content += message.chunk.data
            chunks += 1
        if chunks == 5:
            break
    call.cancel()

    assert frames_of(content) == FILM.frames([4])
    assert any(
        entry.purpose == WHY.text and entry.case_reference == WHY.case_reference
        for entry in host.recorder.entries
    )
    await eventually(lambda: not ingest.module.hub.channel(CAMERA).wants_frames)
    # Whoever leaves in the middle has got no more than the closing record says.
    await eventually(lambda: host.recorder.entries[-1].phase is Phase.CLOSED)
    assert host.recorder.entries[-1].delivered_bytes >= received


async def test_large_chunks_are_split_into_messages_below_a_mebibyte(
    ingest: Ingest, host: RunningHost
) -> None:
    await recording(ingest)
    stub = LiveServiceStub(host.channel("operator"))
    call = stub.WatchLive(live_pb2.WatchLiveRequest(camera=f"cameras/{CAMERA}", purpose=WHY))
    await eventually(lambda: ingest.module.hub.channel(CAMERA).wants_frames)
    key, ticks = FILM.groups[4][0]
    # A frame of 2.5 MB: filler data NAL units behind the picture.
    filler = (b"\x0c" + b"\xff" * 499_995).rjust(499_996, b"\0")
    big = key + b"".join(len(filler).to_bytes(4) + filler for _ in range(5))

    film = replace(FILM, groups=(*FILM.groups[:4], ((big, ticks),), *FILM.groups[5:]))
    ingest.engine.current[0].tick(film, 4, 0, 1)
    data, sizes, more = b"", [], True
    async for message in call:
        data += message.header.data + message.chunk.data
        sizes.append(message.ByteSize())
        more = not message.HasField("chunk") or message.chunk.more
        if not more:
            break
    call.cancel()
    assert frames_of(data) == [big]
    assert max(sizes) < 1 << 20


@pytest.mark.parametrize("purpose", [None, Purpose(text="  x ")])
async def test_live_pictures_need_a_purpose(
    ingest: Ingest, host: RunningHost, purpose: Purpose | None
) -> None:
    await recording(ingest)
    stub = LiveServiceStub(host.channel("operator"))
    call = stub.WatchLive(live_pb2.WatchLiveRequest(camera=f"cameras/{CAMERA}", purpose=purpose))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "PURPOSE_REQUIRED" in reason_of(refused.value)
    assert not ingest.module.hub.channel(CAMERA).wants_frames


async def test_live_pictures_are_not_shown_elsewhere(ingest: Ingest, host: RunningHost) -> None:
    await recording(ingest)
    stub = LiveServiceStub(host.channel("elsewhere"))
    call = stub.WatchLive(live_pb2.WatchLiveRequest(camera=f"cameras/{CAMERA}", purpose=WHY))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_a_probe_says_why_nothing_came(ingest: Ingest, host: RunningHost) -> None:
    ingest.engine.refuse = EndCause.CREDENTIALS_REFUSED
    stub = ProbeServiceStub(host.channel("registry"))
    found = await stub.ProbeSource(
        probe_pb2.ProbeSourceRequest(camera=CAMERA, stream_uri="rtsp://192.0.2.7/s")
    )
    assert not found.reachable
    assert found.cause == 2  # CREDENTIALS_REFUSED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ProbeServiceStub(host.channel("chief")).ProbeSource(
            probe_pb2.ProbeSourceRequest(camera=CAMERA, stream_uri="rtsp://192.0.2.7/s")
        )
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
