import grpc
import pytest

from unit.registry.harness import Registry, refused
from vigie.common.v1.types_pb2 import GapCause
from vigie.ingest.v1.probe_pb2 import ProbeSourceResponse
from vigie.ingest.v1.probe_pb2_grpc import ProbeServiceServicer, add_ProbeServiceServicer_to_server
from vigie.platform.errors import VigieError
from vigie.platform.sealing import Sealed
from vigie.registry.probe import IngestProber, probe_request
from vigie.registry.reasons import PROBE_UNAVAILABLE
from vigie.registry.v1 import cameras_pb2 as messages

PASSWORD = "correct-horse-9"


async def test_ingest_is_asked_with_the_sealed_credentials(registry: Registry) -> None:
    await registry.camera(credentials=("viewer", PASSWORD))
    found = ProbeSourceResponse(
        reachable=True,
        codec="hvc1.1.6.L120.90",
        width=3840,
        height=2160,
        frame_rate_millihertz=25000,
        bit_rate_bps=8_000_000,
        has_camera_clock=True,
        camera_clock_offset_us=-1_500_000,
        has_audio=True,
        server="Simcam/1",
    )
    found.key_frame_interval.FromMilliseconds(2000)
    registry.prober.answer = found
    answer = await registry.cameras().ProbeCamera(
        messages.ProbeCameraRequest(name="cameras/cam-01")
    )
    assert (answer.reachable, answer.codec, answer.width) == (True, "hvc1.1.6.L120.90", 3840)
    assert answer.key_frame_interval.ToMilliseconds() == 2000
    assert answer.clock_offset.ToMicroseconds() == -1_500_000
    assert (answer.cause, answer.has_audio, answer.server) == ("", True, "Simcam/1")
    (asked,) = registry.prober.asked
    assert (asked.camera, asked.stream_uri) == ("cam-01", "rtsp://10.0.0.8:554/stream1")
    assert asked.timeout.ToSeconds() == 10
    sealed = Sealed(asked.credentials.key_id, asked.credentials.ciphertext)
    login = registry.sealer.open_login(sealed, camera="cam-01")
    assert login.password.reveal() == PASSWORD


async def test_a_failure_names_its_cause(registry: Registry) -> None:
    await registry.camera()
    registry.prober.answer = ProbeSourceResponse(
        cause=GapCause.GAP_CAUSE_CREDENTIALS_REFUSED, detail="RTSP 401 to DESCRIBE"
    )
    answer = await registry.cameras().ProbeCamera(
        messages.ProbeCameraRequest(name="cameras/cam-01")
    )
    assert (answer.reachable, answer.cause) == (False, "CREDENTIALS_REFUSED")
    assert answer.detail == "RTSP 401 to DESCRIBE"
    assert not answer.HasField("clock_offset")


async def test_a_stream_can_be_tried_before_it_is_entered(registry: Registry) -> None:
    source = messages.ProbeSource(
        stream_uri=f"rtsp://viewer:{PASSWORD}@10.0.0.9/a", zone="zones/zae-north"
    )
    request = messages.ProbeCameraRequest(source=source)
    request.timeout.FromSeconds(3)
    await registry.cameras("north").ProbeCamera(request)
    (asked,) = registry.prober.asked
    assert asked.stream_uri == "rtsp://10.0.0.9/a"
    assert asked.timeout.ToSeconds() == 3
    sealed = Sealed(asked.credentials.key_id, asked.credentials.ciphertext)
    assert registry.sealer.open_login(sealed, camera=asked.camera).username == "viewer"
    request.source.zone = "zones/zae-south"
    async with refused("PERMISSION_DENIED"):
        await registry.cameras("north").ProbeCamera(request)
    async with refused("PERMISSION_DENIED"):
        await registry.cameras("reader").ProbeCamera(request)
    request.source.stream_uri = "file:///etc/passwd"
    async with refused("STREAM_URI_INVALID", "source.stream_uri"):
        await registry.cameras().ProbeCamera(request)
    assert len(registry.prober.asked) == 1


async def test_bad_questions(registry: Registry) -> None:
    async with refused("REQUEST_INVALID"):
        await registry.cameras().ProbeCamera(messages.ProbeCameraRequest())
    async with refused("CAMERA_NOT_FOUND"):
        await registry.cameras().ProbeCamera(messages.ProbeCameraRequest(name="cameras/none"))
    registry.prober.failure = VigieError(PROBE_UNAVAILABLE, "ingest answered UNAVAILABLE")
    await registry.camera()
    async with refused("PROBE_UNAVAILABLE"):
        await registry.cameras().ProbeCamera(messages.ProbeCameraRequest(name="cameras/cam-01"))


class _Ingest(ProbeServiceServicer):
    async def ProbeSource(self, request: object, context: object) -> ProbeSourceResponse:
        return ProbeSourceResponse(reachable=True, codec="avc1.640028")


async def test_the_prober_speaks_to_ingest_and_names_its_absence() -> None:
    server = grpc.aio.server()
    add_ProbeServiceServicer_to_server(_Ingest(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        prober = IngestProber(lambda: channel)
        question = probe_request("cam-01", "rtsp://10.0.0.8/a", 2.5)
        answer = await prober.probe(question, timeout_seconds=2.5)
        assert answer.codec == "avc1.640028"
        assert question.timeout.ToMilliseconds() == 2500
        await server.stop(None)
        with pytest.raises(VigieError, match="PROBE_UNAVAILABLE"):
            await prober.probe(question, timeout_seconds=2.5)
