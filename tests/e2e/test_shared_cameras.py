"""Two ingest processes share the cameras: each is recorded once, and seen live from anywhere."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from e2e import estate
from e2e.callers import PURPOSE, SPAN, accesses, stored_until, timeline, watch_live
from e2e.harness import WALL, Cameras, Deployment, Installation, until
from vigie.audit.v1 import events_pb2
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.ingest.v1 import live_pb2, live_pb2_grpc, streams_pb2, streams_pb2_grpc

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
INSTANCES = ("ingest", "ingest-2")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory, cameras: Cameras
) -> AsyncIterator[Installation]:
    """The deployment with a second ingest process, and the healthy cameras."""
    if not deployment.apart:
        pytest.skip(
            "another deployment: cameras are shared by services apart (--deployment six-services)"
        )
    targets = {**deployment.targets, "ingest-2": ("serve", "ingest")}
    two = replace(deployment, name="two-ingest", targets=targets)
    settings = {"ingest": {"verify_tls": "false"}}
    made = Installation(two, tmp_path_factory.mktemp("shared"), estate.PEOPLE, settings)
    try:
        await made.start()
        await estate.register(made, cameras.urls, estate.EVERY_HEALTHY)
        yield made
    finally:
        await made.remove()


async def owners(vigie: Installation) -> dict[str, str]:
    """Camera -> the instance that records it now."""
    stub = vigie.stub(streams_pb2_grpc.StreamServiceStub, "ingest", person="operateur")
    answer = await stub.ListStreams(streams_pb2.ListStreamsRequest(page_size=100))
    return {
        stream.name.split("/")[1]: stream.instance
        for stream in answer.streams
        if stream.state == ingest_pb2.STREAM_STATE_RECORDING and not stream.stale
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def divided(shared: Installation) -> dict[str, str]:
    """Every camera is recorded, and by whom."""
    found: dict[str, str] = {}

    async def all_recorded() -> bool:
        found.clear()
        found.update(await owners(shared))
        return set(found) >= set(estate.EVERY_HEALTHY)

    await until(all_recorded, "every camera is recorded")
    return {camera: found[camera] for camera in estate.EVERY_HEALTHY}


async def seen(stub: Any, camera: str, request_id: str) -> tuple[bytes, bytes]:
    """The header and the first chunk of a live stream."""
    call = stub.WatchLive(
        live_pb2.WatchLiveRequest(camera=f"cameras/{camera}", purpose=PURPOSE),
        metadata=(("x-request-id", request_id),),
    )
    header = b""
    async for message in call:
        kind = message.WhichOneof("message")
        if kind == "header":
            header = message.header.data
        elif kind == "chunk":
            call.cancel()
            return header, message.chunk.data
    raise AssertionError("the stream ended")


async def test_a_camera_is_seen_live_from_any_process(
    shared: Installation, divided: dict[str, str]
) -> None:
    """And each look is on record once: whoever only carries it records nothing."""
    assert set(divided.values()) <= set(INSTANCES)
    for instance in INSTANCES:
        channel = shared.channel_inside(instance, "operateur")
        stub = live_pb2_grpc.LiveServiceStub(channel)
        for camera in estate.EVERY_HEALTHY:
            request_id = f"live-{instance}-{camera}"
            header, chunk = await asyncio.wait_for(seen(stub, camera, request_id), 30)
            assert header[4:8] == b"ftyp"
            assert b"moof" in chunk[:4096]
        await channel.close(grace=None)

    opened: list[events_pb2.AccessRecord] = []

    async def recorded() -> bool:
        records = await accesses(shared, subject="operateur")
        opened[:] = [
            record
            for record in records
            if record.request_id.startswith("live-ingest")
            and record.phase == events_pb2.ACCESS_PHASE_OPENED
        ]
        return len(opened) >= len(INSTANCES) * len(estate.EVERY_HEALTHY)

    await until(recorded, "every look is on record")
    identifiers = [record.request_id for record in opened]
    assert len(identifiers) == len(set(identifiers)) == 2 * len(estate.EVERY_HEALTHY)
    assert {record.peer.split(":")[0] for record in opened} == {"ipv4"}


async def test_through_the_gateway_any_camera_is_seen(
    shared: Installation, divided: dict[str, str]
) -> None:
    for camera in divided:
        async for message in watch_live(shared, camera):
            if message.WhichOneof("message") == "chunk":
                break


async def test_what_is_kept_is_not_touched_when_a_process_dies(
    shared: Installation, divided: dict[str, str]
) -> None:
    """The other takes its cameras over; those it had go on in the same run, without a gap."""
    kept = [camera for camera, owner in divided.items() if owner == "ingest"]
    lost = [camera for camera, owner in divided.items() if owner == "ingest-2"]
    before_us = WALL.now_us()
    await shared.kill_one("ingest-2")

    async def taken_over() -> bool:
        found = await owners(shared)
        return all(found.get(camera) == "ingest" for camera in divided)

    await until(taken_over, "the cameras are taken over")
    over_us = WALL.now_us()
    await stored_until(shared, divided, before_us, over_us + 3_000_000)
    for camera in kept:
        entries = await timeline(shared, camera, before_us, over_us)
        assert [entry.kind for entry in entries] == [SPAN], (camera, entries)
    for camera in lost:
        entries = await timeline(shared, camera, before_us, over_us + 3_000_000)
        assert entries[-1].kind == SPAN
    await shared.start_one("ingest-2")

    async def left_behind() -> bool:
        return not [path for path in shared.data_of("ingest-2").rglob("*.m4v") if path.is_file()]

    await until(left_behind, "what the killed process had in its spool is stored")
