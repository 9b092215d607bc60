"""The simulator as a process of its own, and its control port."""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from integration.simcam.conftest import QUICK, Serve
from integration.simcam.rawclient import RawClient
from unit.simcam.rtpread import depacketise
from vigie.simcam import CameraConfig, Fault, FaultParameters, ServerConfig
from vigie.simcam.client import ControlClient, ControlRefusedError, SimCamProcess
from vigie.simcam.command import SimCamOptions, run_simcam
from vigie.simcam.marks import mark_of_nal
from vigie.simcam.server import SimCamServer


async def test_a_process_tells_what_it_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    config = ServerConfig(
        cameras=(CameraConfig(id="cam-01", footage=QUICK),), cache_folder=tmp_path / "cache"
    )
    async with SimCamProcess(config, tmp_path) as simulator:
        control = simulator.control
        async with RawClient(simulator.urls["cam-01"]) as client:
            await client.play()
            nals = depacketise("h264", [p.payload for p in await client.read_frames(30)])
            got = [m.decode_number for nal in nals if (m := mark_of_nal(nal))]
            frames = await control.frames("cam-01", got[0], got[-1])
            assert [f["decode_number"] for f in frames] == got
            assert frames[0]["is_key"]
            first = await control.nals("cam-01", got[0])
            assert nals[: len(first)] == first
            sample = b"".join(len(nal).to_bytes(4, "big") + nal for nal in first)
            assert frames[0]["sha256"] == hashlib.sha256(sample).hexdigest()
            lose = FaultParameters(count=2)
            assert await control.inject("cam-01", Fault.LOSE_PACKETS, parameters=lose) == {
                "streams": 1
            }
            await client.read_frames(20)
            sent = await control.sent("cam-01")
            assert sent["spans"][0]["first"] == got[0]
            assert len(sent["damaged"]) == 1
        assert 0 < await control.worst_lateness_us() < 5_000_000
        state = (await control.cameras())["cam-01"]
        assert state["frames_sent"] >= 50
        assert state["codec"] == "h264"
        assert state["capture_us_of_frame_0"] == frames[0]["capture_us"] - got[0] * 10_000


async def test_wrong_requests_are_answered_not_obeyed(serve: Serve) -> None:
    async with serve() as server:
        client = await ControlClient.connect(server.control_port)
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("inject", {"camera": "cam-99", "fault": "silent"}),
            ("inject", {"camera": "cam-01", "fault": "sulking"}),
            ("inject", {"camera": "cam-01", "fault": "silent", "parameters": {"colour": 1}}),
            ("clear", {"camera": "cam-01", "fault": "sulking"}),
            ("frames", {"camera": "cam-01", "first": 5, "last": 1}),
            ("frames", {"camera": "cam-01"}),
            ("dance", {"camera": "cam-01"}),
        ]
        for operation, fields in wrong:
            with pytest.raises(ControlRefusedError):
                await client.call(operation, **fields)
        assert (await client.cameras())["cam-01"]["faults"] == []
        await client.inject("cam-01", Fault.BURSTS)
        assert (await client.cameras())["cam-01"]["faults"] == ["bursts"]
        await client.clear("cam-01")
        assert (await client.cameras())["cam-01"]["faults"] == []
        await client.close()


async def test_not_json_is_answered(serve: Serve) -> None:
    async with serve() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.control_port)
        writer.write(b"hello\n[1]\n")
        for _ in range(2):
            assert not json.loads(await reader.readline())["ok"]
        writer.close()


async def test_the_command_serves_and_ends(tmp_path: Path) -> None:
    seen: list[str] = []

    def on_ready(server: SimCamServer) -> None:
        seen.extend(server.cameras)

    options = SimCamOptions(
        cameras=2,
        port=0,
        width=320,
        height=180,
        loop_seconds=1,
        cache_folder=tmp_path,
        duration_seconds=0.1,
    )
    await run_simcam(options, on_ready)
    assert seen == ["cam-01", "cam-02"]


async def test_a_wrong_file_ends_the_process_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    (tmp_path / "bad.toml").write_text("cameras = []", "utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "vigie.simcam", str(tmp_path / "bad.toml")),
        stderr=asyncio.subprocess.PIPE,
    )
    _, message = await process.communicate()
    assert process.returncode == 2
    assert len(message.splitlines()) == 1


async def test_a_hundred_cameras_in_one_server(serve: Serve) -> None:
    cameras = [
        CameraConfig(id=f"cam-{i:03d}", footage=QUICK.model_copy(update={"frames_per_second": 25}))
        for i in range(100)
    ]
    async with serve(*cameras) as server:
        clients = [RawClient(server.url(camera.id)) for camera in cameras]
        for client in clients:
            await client.__aenter__()
            await client.play()
        for client in clients:
            nals = depacketise("h264", [p.payload for p in await client.read_frames(25)])
            got = [m.decode_number for nal in nals if (m := mark_of_nal(nal))]
            assert got == list(range(got[0], got[0] + 25))
        assert all(server.session_count(camera.id) == 1 for camera in cameras)
        for client in clients:
            await client.__aexit__(None, None, None)
