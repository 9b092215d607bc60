"""Faults on demand, seen from a bare socket."""

import asyncio
from itertools import pairwise

import pytest

from integration.simcam.conftest import QUICK, Serve, quick
from integration.simcam.rawclient import TCP, RawClient
from unit.simcam.rtpread import RtpPacket, depacketise
from vigie.simcam import CameraConfig, Credentials, Fault, FaultParameters, SimCamServer
from vigie.simcam.marks import Codec, FrameMark, mark_of_nal
from vigie.simcam.nal import H264_SPS, H265_SPS, nal_type


def marks(codec: Codec, packets: list[RtpPacket]) -> list[FrameMark]:
    nals = depacketise(codec, [p.payload for p in packets])
    return [mark for nal in nals if (mark := mark_of_nal(nal)) is not None]


def parameter_sets(codec: Codec, packets: list[RtpPacket]) -> set[bytes]:
    kind = H264_SPS if codec == "h264" else H265_SPS
    nals = depacketise(codec, [p.payload for p in packets])
    return {nal for nal in nals if nal_type(codec, nal) == kind}


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.NOT_FOUND, 404),
        (Fault.UNAVAILABLE, 503),
        (Fault.DEMAND_AUTHENTICATION, 401),
        (Fault.CHANGE_PASSWORD, 401),
        (Fault.REDIRECT, 302),
    ],
)
async def test_a_refusal_ends_sessions_answers_so_and_can_be_cleared(
    serve: Serve, fault: Fault, status: int
) -> None:
    async with serve() as server:
        async with RawClient(server.url("cam-01")) as viewer:
            await viewer.play()
            await server.inject("cam-01", fault)
            await viewer.read_to_end()
        async with RawClient(server.url("cam-01")) as client:
            assert (await client.ask("DESCRIBE")).status == status
            await server.clear("cam-01", fault)
            assert (await client.ask("DESCRIBE")).status == 200


async def test_a_redirect_leads_to_a_place_that_works(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        await server.inject("cam-01", Fault.REDIRECT)
        moved = (await client.ask("DESCRIBE")).headers["location"]
        described = await client.ask("DESCRIBE", moved)
        assert described.status == 200
        assert described.headers["content-base"] == moved + "/"
        client.url = moved
        await client.play()
        await client.read_frames(5)


async def test_an_unreachable_camera_refuses_on_its_own_port(serve: Serve) -> None:
    cameras = [CameraConfig(id=name, footage=QUICK) for name in ("cam-01", "cam-02")]
    async with serve(*cameras, port_per_camera=True) as server:
        async with (
            RawClient(server.url("cam-01")) as first,
            RawClient(server.url("cam-02")) as other,
        ):
            await first.play()
            await other.play()
            await server.inject("cam-01", Fault.UNREACHABLE)
            await first.read_to_end()
            with pytest.raises(ConnectionRefusedError):
                async with RawClient(server.url("cam-01")):
                    pass
            await other.read_frames(20)
            await server.clear("cam-01")
        async with RawClient(server.url("cam-01")) as again:
            await again.play()
            await again.read_frames(2)


async def test_an_unreachable_camera_resets_on_a_shared_port(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        await server.inject("cam-01", Fault.UNREACHABLE)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.ask("DESCRIBE")


async def test_a_duration_ends_a_fault(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        await client.play()
        before = marks("h264", await client.read_frames(20))
        await server.inject("cam-01", Fault.SILENT_WITH_RTCP, duration_seconds=0.5)
        after = marks("h264", await client.read_frames(80))
        numbers = [mark.decode_number for mark in before + after]
        holes = [later - earlier for earlier, later in pairwise(numbers) if later != earlier + 1]
        assert len(holes) == 1
        assert 50 <= holes[0] <= 100  # half a second, then up to a key-frame interval and some load
        assert server.cameras["cam-01"].active == {}
        assert list(server.cameras["cam-01"].sent_frames())[: len(numbers)] == numbers


async def test_nothing_is_answered_in_silence(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        await server.inject("cam-01", Fault.SILENT)
        asking = asyncio.create_task(client.ask("OPTIONS"))
        async with RawClient(server.url("cam-01").replace("cam-01", "cam-99")) as other:
            assert (await other.ask("DESCRIBE")).status == 404  # the server itself is well
        assert not asking.done()
        asking.cancel()


async def test_a_connection_dropped_in_mid_frame(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        await client.play()
        await client.read_frames(5)
        assert (await server.inject("cam-01", Fault.DROP_CONNECTION))["streams"] == 1
        await client.read_to_end()
        damaged = server.cameras["cam-01"].sent.damaged
        assert [fault for _, fault in damaged] == [Fault.DROP_CONNECTION]
        assert damaged[0][0] == server.cameras["cam-01"].sent.spans[-1].last


@pytest.mark.parametrize("codec", ["h264", "h265"])
async def test_other_parameter_sets_in_mid_stream(serve: Serve, codec: Codec) -> None:
    camera = CameraConfig(id="cam-01", footage=quick(codec=codec, b_frames=2))
    async with serve(camera) as server, RawClient(server.url("cam-01")) as client:
        await client.play()
        before = await client.read_frames(30)
        first = (await server.inject("cam-01", Fault.CHANGE_PARAMETERS))["first_frame"]
        after = before + await client.read_frames(120)
        assert len(parameter_sets(codec, before)) == 1
        assert len(parameter_sets(codec, after)) == 2
        numbers = [mark.decode_number for mark in marks(codec, after)]
        assert numbers == list(range(numbers[0], numbers[0] + 150))
        assert sorted(m.frame_number for m in marks(codec, after))[:140] == numbers[:140]
        assert server.expected("cam-01", first).is_key
        assert server.expected("cam-01", first).nals != server.expected("cam-01", first - 100).nals


async def play_through(server: SimCamServer, fault: Fault, codec: Codec) -> list[RtpPacket]:
    async with RawClient(server.url("cam-01")) as client:
        await client.play()
        await client.read_frames(5)
        first = (await server.inject("cam-01", fault))["first_frame"]
        packets: list[RtpPacket] = []
        while True:
            one = await client.read_frames(1)
            index = server.expected("cam-01", first)
            times = {p.timestamp for p in one}
            assert len(times) == 1
            found = marks(codec, one)
            if found and found[0].decode_number >= first:
                packets += one
            if len(packets) > 40:
                assert index.codec == codec
                return packets


async def test_another_resolution_in_mid_stream(serve: Serve) -> None:
    async with serve() as server:
        before = server.cameras["cam-01"].prepared.footage
        packets = await play_through(server, Fault.CHANGE_RESOLUTION, "h264")
        after = server.cameras["cam-01"].prepared.footage
        assert (before.width, after.width) == (320, 640)
        assert parameter_sets("h264", packets) == {after.parameter_sets[0]}


async def test_another_codec_in_mid_stream_and_back(serve: Serve) -> None:
    async with serve() as server:
        packets = await play_through(server, Fault.CHANGE_CODEC, "h265")
        assert parameter_sets("h265", packets)
        async with RawClient(server.url("cam-01")) as client:
            assert "H265/90000" in (await client.ask("DESCRIBE")).body
            await server.clear("cam-01")
            assert "H264/90000" in (await client.ask("DESCRIBE")).body


async def test_the_session_expires_while_the_connection_stays(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        await client.play()
        await client.read_frames(5)
        await server.inject("cam-01", Fault.EXPIRE_SESSION)
        assert (await client.ask("GET_PARAMETER")).status == 454
        sent = server.cameras["cam-01"].frames_sent
        client.session = ""
        client.frames.clear()
        await client.play()
        await client.read_frames(5)
        assert server.cameras["cam-01"].frames_sent > sent


async def test_garbage_between_frames_breaks_the_framing(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        await client.play()
        await client.read_frames(5)
        await server.inject("cam-01", Fault.GARBAGE_BYTES)
        with pytest.raises(AssertionError, match="unframed byte"):
            await client.read_frames(500)


async def test_a_slow_start(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        await server.inject("cam-01", Fault.SLOW_START, parameters=FaultParameters(seconds=0.3))
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await client.ask("DESCRIBE")).status == 200
        assert loop.time() - began >= 0.29


async def test_a_viewer_that_leaves_during_a_slow_start_leaves_nothing_behind(serve: Serve) -> None:
    async with serve() as server:
        async with RawClient(server.url("cam-01")) as client:
            answer = await client.ask("SETUP", f"{client.url}/trackID=0", **TCP)
            session = answer.headers["session"].partition(";")[0]
            parameters = FaultParameters(seconds=0.1)
            await server.inject("cam-01", Fault.SLOW_START, parameters=parameters)
            request = f"PLAY {client.url} RTSP/1.0\r\nCSeq: 9\r\nSession: {session}\r\n\r\n"
            await client.send(request.encode())
        await asyncio.sleep(0.15)  # the delay of the fault itself
        assert server.cameras["cam-01"].frames_sent == 0


async def test_a_clock_jump_shows_in_time_stamps(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        await client.play()
        packets = await client.read_frames(5)
        await server.inject("cam-01", Fault.CLOCK_JUMP, parameters=FaultParameters(seconds=-60))
        packets += await client.read_frames(50)
        times = [p.timestamp for p in packets if p.marker]
        steps = {(late - early) & 0xFFFFFFFF for early, late in pairwise(times)}
        assert steps == {900, (900 - 60 * 90_000) & 0xFFFFFFFF}


async def test_a_changed_password_lets_the_new_one_in(serve: Serve) -> None:
    login = Credentials(username="operator", password="old", schemes=("basic",))
    camera = CameraConfig(id="cam-01", footage=QUICK, credentials=login)
    async with serve(camera) as server, RawClient(server.url("cam-01")) as client:
        old, new = "Basic b3BlcmF0b3I6b2xk", "Basic b3BlcmF0b3I6bmV3"
        assert (await client.ask("DESCRIBE", Authorization=old)).status == 200
        parameters = FaultParameters(password="new", keep_sessions=True)
        await server.inject("cam-01", Fault.CHANGE_PASSWORD, parameters=parameters)
        assert (await client.ask("DESCRIBE", Authorization=old)).status == 401
        assert (await client.ask("DESCRIBE", Authorization=new)).status == 200


async def test_the_schedule_injects_by_the_clock(serve: Serve) -> None:
    planned = {
        "camera": "cam-01",
        "fault": "wrong-sequence",
        "at_seconds": 0.4,
        "every_seconds": 0.4,
        "parameters": {"count": 1000},
    }
    async with serve(schedule=[planned]) as server, RawClient(server.url("cam-01")) as client:
        await client.play()
        packets = await client.read_frames(150)
        steps = [(late.sequence - early.sequence) & 0xFFFF for early, late in pairwise(packets)]
        assert steps.count(1001) >= 2
        assert set(steps) == {1, 1001}
