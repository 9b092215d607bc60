"""What evidence asks of recording, and what it makes of no answer."""

from typing import Any

import grpc.aio
import pytest

from recording_rig import everyone
from vigie.evidence.reasons import EVIDENCE_ZONES_UNKNOWN
from vigie.evidence.recordings import RecordingClient
from vigie.platform.errors import VigieError
from vigie.platform.grpc.testing import running_host
from vigie.platform.module import ServiceBinding
from vigie.recording.v1 import recording_pb2 as pb
from vigie.recording.v1 import recording_pb2_grpc as pb_grpc

SERVICE = "vigie.recording.v1.RecordingService"


class Clients:
    """`ServiceClients` to a host of the test."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def stub(self, stub: Any, _: str) -> Any:
        return stub(self._channel)


class Knowing(pb_grpc.RecordingServiceServicer):
    async def GetCameraZones(
        self, request: pb.GetCameraZonesRequest, context: Any
    ) -> pb.GetCameraZonesResponse:
        assert request.window.end_time.ToMicroseconds() == 2
        known = {"cameras/cam-one": ["zones/a", "zones/b"]}
        return pb.GetCameraZonesResponse(
            cameras=[pb.CameraZones(camera=c, zones=known.get(c, [])) for c in request.cameras]
        )


def client(channel: Any) -> RecordingClient:
    return RecordingClient(Clients(channel))  # type: ignore[arg-type]  # what it uses of them


def binding(servicer: pb_grpc.RecordingServiceServicer) -> ServiceBinding:
    return ServiceBinding(SERVICE, servicer, pb_grpc.add_RecordingServiceServicer_to_server)


async def test_zones_by_camera_in_order_of_time() -> None:
    async with running_host([binding(Knowing())], everyone()) as host:
        found = await client(host.channel("evidence")).zones(["cam-one", "cam-two"], 1, 2)
    assert found == {"cam-one": ["a", "b"], "cam-two": []}


async def test_no_answer_is_a_refusal_of_its_own() -> None:
    """Whatever the status: an older program, somebody who may not ask, nobody there."""
    for services, caller, status in (
        ([], "evidence", "UNIMPLEMENTED"),
        ([binding(Knowing())], "audit", "PERMISSION_DENIED"),
    ):
        async with running_host(services, everyone()) as host:
            with pytest.raises(VigieError) as caught:
                await client(host.channel(caller)).zones(["cam-one"], 1, 2)
            assert caught.value.reason is EVIDENCE_ZONES_UNKNOWN
            assert status in caught.value.message
    async with grpc.aio.insecure_channel("unix:/nowhere/at/all") as channel:
        with pytest.raises(VigieError) as caught:
            await client(channel).zones(["cam-one"], 1, 2)
    assert caught.value.reason is EVIDENCE_ZONES_UNKNOWN
