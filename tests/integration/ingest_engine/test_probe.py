"""A probe says what a source sends, or exactly why it cannot be received."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from integration.ingest_engine.conftest import FOOTAGE, Receiver, Simulator
from vigie.ingest.engine import EndCause, SourceSpec
from vigie.ingest.probe import ProbeReport, probe
from vigie.simcam.auth import Credentials
from vigie.simcam.config import CameraConfig
from vigie.simcam.faults import Fault


def try_out(receiver: Receiver, source: SourceSpec, seconds: float = 20) -> ProbeReport:
    return asyncio.run(probe(receiver.engine, source, timeout_seconds=seconds))


def test_it_reports_what_the_camera_sends(
    simulate: Callable[..., Simulator], receive: Callable[..., Receiver]
) -> None:
    camera = CameraConfig(id="cam-a", footage=FOOTAGE, has_audio=True, clock_offset_seconds=-90.0)
    simulator = simulate(camera, sender_report_seconds=0.3)
    report = try_out(receive(), simulator.source())
    assert report.cause is None
    assert report.parameters is not None
    assert report.parameters.codec_string.startswith("avc1.")
    assert (report.parameters.width, report.parameters.height) == (192, 96)
    assert report.frames_per_second == pytest.approx(25, abs=0.1)
    assert report.key_frame_interval_seconds == pytest.approx(0.4, abs=0.001)
    assert report.camera_clock_offset_us == pytest.approx(-90_000_000, abs=1_000_000)
    assert report.has_audio
    assert report.transport == "rtsp/tcp"
    assert report.bitrate_bps is not None
    assert report.bitrate_bps > 10_000


def test_it_says_why_nothing_came(
    simulate: Callable[..., Simulator], receive: Callable[..., Receiver]
) -> None:
    credentials = Credentials(username="vigie", password="right")
    cameras = [
        CameraConfig(id="cam-a", footage=FOOTAGE, credentials=credentials),
        CameraConfig(id="cam-b", footage=FOOTAGE),
    ]
    simulator = simulate(*cameras)
    receiver = receive(silence_timeout_seconds=30)
    refused = try_out(receiver, simulator.source(username="vigie", password="wrong"))
    assert refused.cause is EndCause.CREDENTIALS_REFUSED
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"rtsp://127.0.0.1:{unused.getsockname()[1]}/x"
        unreachable = try_out(receiver, SourceSpec("cam-a", uri))
    assert unreachable.cause is EndCause.CAMERA_UNREACHABLE
    assert unreachable.detail == "connection refused"
    simulator.inject(Fault.SILENT, "cam-b")
    silent = try_out(receiver, simulator.source("cam-b"), 0.5)
    assert silent.cause in {EndCause.CAMERA_SILENT, EndCause.CAMERA_UNREACHABLE}
    assert "0.5 s" in silent.detail


def test_a_short_look_reports_what_is_known(
    simulate: Callable[..., Simulator], receive: Callable[..., Receiver]
) -> None:
    footage = FOOTAGE.model_copy(update={"gop_frames": 40})
    simulator = simulate(CameraConfig(id="cam-a", footage=footage))
    receiver = receive()
    report = try_out(receiver, simulator.source(), 0.9)
    if report.cause is None:
        assert report.key_frame_interval_seconds is None
        assert report.frames_per_second == pytest.approx(25, abs=0.5)
    else:
        assert "0.9 s" in report.detail
