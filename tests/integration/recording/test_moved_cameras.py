"""A camera that was moved takes its old footage out of nobody's responsibility, named or not."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
import pytest_asyncio

from recording_footage import record_run
from recording_rig import Rig, reason_of, recording_rig, serving, window
from recording_support import DAY, RUN_A, RUN_B, SECOND, T0
from vigie.platform.grpc.testing import RunningHost
from vigie.recording.v1 import recording_pb2, retention_pb2
from vigie.recording.v1.recording_pb2_grpc import RecordingServiceStub
from vigie.recording.v1.retention_pb2_grpc import RetentionServiceStub

CAMERA, NAME = "cam-a", "cameras/cam-a"
MOVED = T0 + DAY
THEN = window(T0, T0 + 6 * SECOND)
BOTH = window(T0, MOVED + 6 * SECOND)
SINCE = window(MOVED, MOVED + 6 * SECOND)


@pytest_asyncio.fixture
async def moved(tmp_path: Path) -> AsyncIterator[tuple[Rig, RunningHost]]:
    """It stood in zone-1 for a day, and stands in zone-2 since; it recorded in both."""
    async with recording_rig(tmp_path, T0 + 60 * SECOND) as rig, serving(rig) as host:
        await rig.camera(CAMERA, T0 - DAY, zone="zone-1")
        await rig.camera(CAMERA, MOVED, zone="zone-2", revision=2)
        await rig.run(record_run(CAMERA, RUN_A, T0))
        await rig.run(record_run(CAMERA, RUN_B, MOVED))
        rig.wall.set(T0 + 2 * DAY)
        await rig.settle()
        yield rig, host


@pytest.mark.parametrize(("asked", "seen"), [(THEN, {"zone1"}), (SINCE, {"zone2"}), (BOTH, set())])
async def test_completeness_is_told_to_those_of_the_zones_then(
    asked: object, seen: set[str], moved: tuple[Rig, RunningHost]
) -> None:
    _, host = moved
    for who in ("zone1", "zone2"):
        stub = RecordingServiceStub(host.channel(who))
        answer = await stub.GetCompleteness(recording_pb2.GetCompletenessRequest(window=asked))
        assert bool(answer.cameras) == (who in seen), who
        named = recording_pb2.GetCompletenessRequest(cameras=[NAME], window=asked)
        if who in seen:
            assert (await stub.GetCompleteness(named)).cameras == answer.cameras
        else:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetCompleteness(named)
            assert reason_of(refused.value) == "PERMISSION_DENIED"
    everybody = RecordingServiceStub(host.channel("all"))
    answer = await everybody.GetCompleteness(recording_pb2.GetCompletenessRequest(window=asked))
    assert [camera.name for camera in answer.cameras] == [NAME]


async def test_a_zone_that_is_asked_for_is_that_of_the_footage(
    moved: tuple[Rig, RunningHost],
) -> None:
    _, host = moved
    stub = RecordingServiceStub(host.channel("all"))
    for zone, count in (("zone-1", 1), ("zone-2", 0)):
        asked = recording_pb2.GetCompletenessRequest(zones=[f"zones/{zone}"], window=THEN)
        assert len((await stub.GetCompleteness(asked)).cameras) == count


async def test_destructions_are_told_to_those_of_the_zone_of_the_footage(
    moved: tuple[Rig, RunningHost],
) -> None:
    rig, host = moved
    rig.wall.set(T0 + 60 * DAY)
    await rig.module.sweeper.sweep()
    told = {}
    for who in ("all", "zone1", "zone2"):
        stub, token, found = RetentionServiceStub(host.channel(who)), "", []
        while True:
            asked = retention_pb2.ListDestructionsRequest(page_size=2, page_token=token)
            page = await stub.ListDestructions(asked)
            found += [(one.run, one.number) for one in page.destructions]
            if not (token := page.next_page_token):
                break
        told[who] = found
    assert told["zone1"] == [(RUN_A, 0), (RUN_A, 1), (RUN_A, 2)]
    assert told["zone2"] == [(RUN_B, 0), (RUN_B, 1), (RUN_B, 2)]
    assert told["all"] == told["zone1"] + told["zone2"]
