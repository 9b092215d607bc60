"""The second engine against files, simulated cameras and streams of ffmpeg."""

import itertools
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import imageio_ffmpeg
import pytest

from integration.ingest_engine.conftest import FOOTAGE, Simulator
from integration.ingest_engine.sinks import RecordingSink
from integration.ingest_engine.test_native_engine import (
    assert_as_sent,
    assert_continuous,
    samples,
)
from vigie.ingest.engine import CodecParameters, EndCause, SourceSpec
from vigie.ingest.libav.engine import LibavEngine
from vigie.ingest.libav.session import LibavSettings
from vigie.media.annexb import split
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.simcam.auth import Credentials
from vigie.simcam.config import CameraConfig
from vigie.simcam.faults import Fault
from vigie.simcam.footage import Footage, FootageCache, FootageSpec
from vigie.simcam.nal import is_delimiter, is_parameter_set

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


@pytest.fixture
def engine() -> Iterator[LibavEngine]:
    settings = LibavSettings(open_timeout_seconds=5, silence_timeout_seconds=2)
    made = LibavEngine(SystemWallClock(), SystemMonotonicClock(), settings)
    made.start()
    yield made
    made.stop(timeout_seconds=5)


def make_footage(folder: Path, **changes: object) -> tuple[Footage, Path]:
    spec: FootageSpec = FOOTAGE.model_copy(update=changes)
    footage = FootageCache(folder).get(spec)
    return footage, folder / f"{spec.key()}.mp4"


def receive(engine: LibavEngine, uri: str, **fields: str) -> RecordingSink:
    sink = RecordingSink()
    engine.open(SourceSpec("cam-a", uri, **fields), sink)
    return sink


def media_nals(footage: Footage, sample: bytes) -> list[bytes]:
    """Without parameter sets and delimiters, which ffmpeg puts into transport streams."""
    return [
        bytes(nal)
        for nal in split(sample)
        if not is_parameter_set(footage.codec, bytes(nal))
        and not is_delimiter(footage.codec, bytes(nal))
    ]


def to_transport_stream(path: Path) -> Path:
    target = path.with_suffix(".ts")
    subprocess.run([FFMPEG, "-v", "error", "-y", "-i", path, "-c", "copy", target], check=True)
    return target


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("container", ["mp4", "ts"])
def test_a_file_is_received_whole(
    engine: LibavEngine, footage_folder: Path, codec: str, b_frames: int, container: str
) -> None:
    footage, path = make_footage(footage_folder, codec=codec, b_frames=b_frames)
    if container == "ts":
        path = to_transport_stream(path)
    sink = receive(engine, path.as_uri())
    sink.wait_for(lambda s: s.end is not None)
    assert sink.end == (EndCause.CLOSED_BY_CAMERA, "the source ended")
    assert sink.losses == []
    received = [sample for group in sink.groups for sample in samples(group)]
    assert len(received) == len(footage.samples)
    for sample, sent in zip(received, footage.samples, strict=True):
        # ffmpeg puts the SEI of the sample description in front of the first frame.
        assert media_nals(footage, sample)[-len(sent.nals) :] == list(sent.nals)
    (parameters,) = sink.all("parameters")
    assert isinstance(parameters, CodecParameters)
    assert parameters.parameter_sets == footage.parameter_sets
    ticks = sorted(tick for group in sink.groups for tick in group.presentation_ticks)
    assert {after - before for before, after in itertools.pairwise(ticks)} == {3600}


def test_a_camera_is_received_as_sent(
    engine: LibavEngine, simulate: Callable[..., Simulator]
) -> None:
    credentials = Credentials(username="vigie", password="s3cret/lagoon")
    camera = CameraConfig(id="cam-a", footage=FOOTAGE, credentials=credentials, has_audio=True)
    simulator = simulate(camera, sender_report_seconds=0.5)
    sink = RecordingSink(wants_frames=True)
    session = engine.open(simulator.source(username="vigie", password="s3cret/lagoon"), sink)
    sink.wait_for(lambda s: len(s.groups) >= 3 and len(s.all("sender_report")) >= 1)
    session.close()
    sink.wait_for(lambda s: s.end is not None)
    assert sink.end == (EndCause.STOPPED, "")
    assert_as_sent(simulator, sink.groups[:-1])
    assert_continuous(sink.groups)
    assert sum(frames.key_frame for frames in sink.live) >= 3
    assert simulator.server.cameras["cam-a"].audio_setups == 0


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault.DROP_CONNECTION, EndCause.CLOSED_BY_CAMERA),
        (Fault.SILENT, EndCause.CAMERA_SILENT),
        (Fault.SILENT_WITH_RTCP, EndCause.CAMERA_SILENT),
    ],
)
def test_failures_have_their_cause_and_leave_no_broken_frame(
    engine: LibavEngine, simulate: Callable[..., Simulator], fault: Fault, cause: EndCause
) -> None:
    simulator = simulate()
    sink = receive(engine, simulator.server.url("cam-a"))
    sink.wait_for(lambda s: len(s.groups) >= 2)
    simulator.inject(fault)
    sink.wait_for(lambda s: s.end is not None)
    assert sink.end is not None
    assert sink.end[0] is cause
    assert_as_sent(simulator, sink.groups)


def test_packets_lost_are_a_loss(engine: LibavEngine, simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    sink = receive(engine, simulator.server.url("cam-a"))
    sink.wait_for(lambda s: len(s.groups) >= 2)
    simulator.inject(Fault.LOSE_PACKETS, count=2)
    sink.wait_for(lambda s: len(s.losses) >= 1)
    assert sink.losses[0][0] is EndCause.PACKETS_LOST


def test_a_wrong_password_is_refused_and_not_told(
    engine: LibavEngine, simulate: Callable[..., Simulator], capsys: pytest.CaptureFixture[str]
) -> None:
    credentials = Credentials(username="vigie", password="right")
    simulator = simulate(CameraConfig(id="cam-a", footage=FOOTAGE, credentials=credentials))
    sink = receive(engine, simulator.server.url("cam-a"), username="vigie", password="wrong-lagoon")
    sink.wait_for(lambda s: s.end is not None)
    assert sink.end is not None
    assert sink.end[0] is EndCause.CREDENTIALS_REFUSED
    assert "lagoon" not in sink.end[1] + "".join(capsys.readouterr())


def test_what_cannot_be_reached_or_opened_says_so(
    engine: LibavEngine, footage_folder: Path
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        sinks = [
            receive(engine, f"rtsp://127.0.0.1:{port}/x"),
            receive(engine, (footage_folder / "missing.mp4").as_uri()),
            receive(engine, "gopher://127.0.0.1/x"),
        ]
        for sink in sinks:
            sink.wait_for(lambda s: s.end is not None)
    causes = [sink.end[0] for sink in sinks if sink.end is not None]
    assert causes == [
        EndCause.CAMERA_UNREACHABLE,
        EndCause.CAMERA_UNREACHABLE,
        EndCause.STREAM_UNSUPPORTED,
    ]


def test_motion_jpeg_is_refused_with_a_reason(engine: LibavEngine, footage_folder: Path) -> None:
    _, source = make_footage(footage_folder)
    path = footage_folder / "motion.avi"
    command = [FFMPEG, "-v", "error", "-y", "-i", source, "-frames:v", "5", "-c:v", "mjpeg", path]
    subprocess.run(command, check=True)
    sink = receive(engine, path.as_uri())
    sink.wait_for(lambda s: s.end is not None)
    assert sink.end is not None
    assert sink.end[0] is EndCause.STREAM_UNSUPPORTED
    assert "JPEG" in sink.end[1]


def test_http_is_received(engine: LibavEngine, footage_folder: Path) -> None:
    footage, path = make_footage(footage_folder)
    path = to_transport_stream(path)
    handler = partial(SimpleHTTPRequestHandler, directory=str(footage_folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sink = receive(engine, f"http://127.0.0.1:{server.server_port}/{path.name}")
        sink.wait_for(lambda s: s.end is not None)
        server.shutdown()
    frames = sum(len(group.frames) for group in sink.groups)
    assert frames == len(footage.samples) - 1, "the last packet of a connection is not trusted"


def test_a_transport_stream_over_udp_is_received(engine: LibavEngine, footage_folder: Path) -> None:
    _, path = make_footage(footage_folder)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    sink = receive(engine, f"udp://127.0.0.1:{port}")
    command = [FFMPEG, "-v", "error", "-re", "-stream_loop", "5", "-i", str(path), "-c", "copy"]
    command += ["-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"]
    with subprocess.Popen(command) as sender:
        sink.wait_for(lambda s: len(s.groups) >= 3 or s.end is not None)
        sender.terminate()
    footage, _ = make_footage(footage_folder)
    sent = [list(sample.nals) for sample in footage.samples]
    for group in sink.groups:
        assert all(media_nals(footage, sample) in sent for sample in samples(group)), "as sent"
    sink.wait_for(lambda s: s.end is not None)
    assert sink.end is not None
    assert sink.end[0] is EndCause.CAMERA_SILENT
