"""The RTSP dialogue, on a bare socket."""

import asyncio
import ssl
import struct
from pathlib import Path

import pytest

from certificates import camera_certificate
from integration.simcam.conftest import QUICK, Serve, quick
from integration.simcam.rawclient import TCP, RawClient
from unit.simcam.rtpread import depacketise
from vigie.simcam import CameraConfig, Credentials, Quirk
from vigie.simcam.marks import mark_of_nal


async def test_the_whole_dialogue(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        options = await client.ask("OPTIONS")
        assert "GET_PARAMETER" in options.headers["public"]
        described = await client.ask("DESCRIBE", Accept="application/sdp")
        assert described.headers["content-base"] == server.url("cam-01") + "/"
        assert "sprop-parameter-sets=" in described.body
        assert "m=audio" not in described.body
        await client.play()
        first = await client.read_frames(10)
        assert (await client.ask("GET_PARAMETER")).status == 200
        assert (await client.ask("PLAY")).status == 200
        assert (await client.ask("SET_PARAMETER")).status == 200
        more = await client.read_frames(30)
        numbers = [p.sequence for p in first + more]
        assert numbers == [(numbers[0] + i) & 0xFFFF for i in range(len(numbers))]
        assert (await client.ask("PAUSE")).status == 200
        assert server.session_count("cam-01") == 0
        client.frames.clear()
        assert (await client.ask("PLAY")).status == 200
        resumed = depacketise("h264", [p.payload for p in await client.read_frames(1)])
        mark = next(m for nal in resumed if (m := mark_of_nal(nal)))
        assert server.expected("cam-01", mark.decode_number).is_key
        assert (await client.ask("TEARDOWN")).status == 200
        assert (await client.ask("GET_PARAMETER")).status == 454


async def test_h265_describes_its_three_parameter_sets(serve: Serve) -> None:
    camera = CameraConfig(id="cam-01", footage=quick(codec="h265"), has_audio=True)
    async with serve(camera) as server, RawClient(server.url("cam-01")) as client:
        body = (await client.ask("DESCRIBE")).body
        assert all(name in body for name in ("H265/90000", "sprop-vps", "sprop-sps", "sprop-pps"))
        assert "m=audio" in body
        assert (await client.ask("SETUP", f"{client.url}/trackID=1", **TCP)).status == 200
        assert server.cameras["cam-01"].audio_setups == 1


async def test_rtp_info_names_the_first_packet(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        answer = await client.ask("SETUP", f"{client.url}/trackID=0", **TCP)
        assert answer.headers["session"].endswith(";timeout=60")
        client.session = answer.headers["session"].partition(";")[0]
        info = (await client.ask("PLAY")).headers["rtp-info"]
        packet = (await client.read_frames(1))[0]
        assert f"seq={packet.sequence};rtptime={packet.timestamp}" in info


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("SETUP", "/trackID=0", {"Transport": "RTP/AVP;unicast;client_port=5000-5001"}, 461),
        ("SETUP", "/trackID=0", {"Transport": "RTP/AVP/TCP;interleaved=300-301"}, 461),
        ("SETUP", "/trackID=7", TCP, 404),
        ("PLAY", "", {}, 454),
        ("TEARDOWN", "", {}, 454),
        ("ANNOUNCE", "", {}, 501),
    ],
)
async def test_refusals(
    serve: Serve, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        assert (await client.ask(method, client.url + path, **headers)).status == status


async def test_unknown_cameras_and_foreign_protocols(serve: Serve) -> None:
    async with serve() as server:
        async with RawClient(server.url("cam-01")) as client:
            unknown = client.url.replace("cam-01", "cam-99")
            assert (await client.ask("DESCRIBE", unknown)).status == 404
            assert (await client.ask("OPTIONS", "*")).status == 200
        async with RawClient(server.url("cam-01")) as client:
            await client.send(b"GET / HTTP/1.1\r\n\r\n")
            assert (await client.read_to_end()).startswith(b"RTSP/1.0 400")


async def test_a_chosen_channel_is_used(serve: Serve) -> None:
    async with serve() as server, RawClient(server.url("cam-01")) as client:
        transport = "RTP/AVP/TCP;unicast;interleaved=4-5"
        answer = await client.ask("SETUP", f"{client.url}/trackID=0", Transport=transport)
        assert "interleaved=4-5" in answer.headers["transport"]
        client.session = answer.headers["session"].partition(";")[0]
        await client.ask("PLAY")
        while len(client.frames) < 30:
            await client._keep_frame(await client._reader.readexactly(1))
        assert {frame[1] for frame in client.frames} == {4, 5}


async def test_a_camera_without_get_parameter(serve: Serve) -> None:
    camera = CameraConfig(id="cam-01", footage=QUICK, quirks=frozenset({Quirk.NO_GET_PARAMETER}))
    async with serve(camera) as server, RawClient(server.url("cam-01")) as client:
        await client.play()
        assert (await client.ask("GET_PARAMETER")).status == 501
        assert "GET_PARAMETER" not in (await client.ask("OPTIONS")).headers["public"]


async def test_a_silent_viewer_loses_its_session_and_rtcp_keeps_it(serve: Serve) -> None:
    camera = CameraConfig(id="cam-01", footage=QUICK, session_timeout_seconds=1)
    async with serve(camera) as server:
        async with RawClient(server.url("cam-01")) as idle, RawClient(idle.url) as alive:
            await idle.play()
            await alive.play()
            report = b"$\x01\x00\x08" + struct.pack(">BBHI", 0x80, 201, 1, 42)
            for _ in range(25):
                await alive.send(report)
                await alive.read_frames(10)
            await idle.read_to_end()
            assert server.session_count("cam-01") == 1
        assert server.cameras["cam-01"].receiver_reports >= 20


async def test_credentials_are_asked_for_and_options_are_free(serve: Serve) -> None:
    login = Credentials(username="operator", password="x", schemes=("digest-sha256", "basic"))
    camera = CameraConfig(id="cam-01", footage=QUICK, credentials=login)
    async with serve(camera) as server, RawClient(server.url("cam-01")) as client:
        assert (await client.ask("OPTIONS")).status == 200
        refused = await client.ask("DESCRIBE")
        assert refused.status == 401
        assert [c.partition(" ")[0] for c in refused.challenges] == ["Digest", "Basic"]


async def test_sender_reports_give_the_cameras_clock(serve: Serve) -> None:
    camera = CameraConfig(id="cam-01", footage=QUICK, clock_offset_seconds=7.5)
    async with serve(camera) as server, RawClient(server.url("cam-01")) as client:
        await client.play()
        while not any(frame[1] == 1 for frame in client.frames):
            await client._keep_frame(await client._reader.readexactly(1))
        report = next(frame for frame in client.frames if frame[1] == 1)[4:]
        seconds, fraction = struct.unpack(">II", report[8:16])
        wall_us = (seconds - 2_208_988_800) * 1_000_000 + (fraction * 1_000_000 >> 32)
        error_us = wall_us - server.cameras["cam-01"].now_us() - 7_500_000
        assert -2_000_000 < error_us <= 0  # sent before now


async def test_rtsps(serve: Serve, tmp_path: Path) -> None:
    tls = camera_certificate(tmp_path)
    async with serve(tls=tls.model_dump()) as server:
        url = server.url("cam-01")
        assert url.startswith("rtsps://127.0.0.1:")
        client = RawClient(url)
        context = ssl.create_default_context(cafile=str(tls.certificate))
        client._reader, client._writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=context, server_hostname="localhost"
        )
        await client.play()
        packets = await client.read_frames(20)
        assert sum(p.marker for p in packets) == 20
        client._writer.close()
