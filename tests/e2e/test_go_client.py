"""A client in another language, at the one address and by TLS, gets what the Python client gets.

The messages of the client are generated from the contracts when the test runs; nothing of ours
but the contracts is in it. Skipped, and counted aloud, where there is no Go.
"""

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from certificates import Authority
from e2e import estate, proof
from e2e.callers import accesses, clip, play, recorded_from, stored_until, timeline
from e2e.harness import WALL, Cameras, Deployment, Installation, until
from ffmpeg_reading import complaints_about
from vigie.ingest.v1 import streams_pb2, streams_pb2_grpc
from vigie.platform.grpc.client import ClientTls
from vigie.recording.v1 import recording_pb2
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc, events_pb2

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
BUILD: Final = Path(__file__).resolve().parents[2] / "docs/guide/examples/go/build.py"
WALL_OF_SCREENS: Final = "mur-d-images"
PEOPLE: Final = f"""{estate.PEOPLE}
[people.{WALL_OF_SCREENS}]
name = "Mur d'images"
agency = "csu"
roles = ["integrator"]
zones = ["*"]
"""
CAMERAS: Final = ("cam-h264", "cam-h265-b")
EVERY_CAMERA: Final = pytest.mark.parametrize("camera", CAMERAS)
RECORDED_US: Final = 7_000_000
LIVE_FRAMES: Final = 50
BUILD_SECONDS: Final = 1500
"""From cold caches on a busy machine."""


@dataclass(frozen=True, slots=True)
class GoClient:
    """The compiled client and what it is called with."""

    program: Path
    address: str
    ca_file: Path
    folder: Path

    def command(self, token: str, *words: str, output: Path | None = None) -> list[str]:
        file = self.folder / f"token-{abs(hash(token))}"
        file.write_text(token + "\n", encoding="ascii")
        options = ["-address", self.address, "-ca-file", str(self.ca_file)]
        options += ["-token-file", str(file), "-purpose", "Essai en Go", "-case", "GO-1"]
        options += ["-output", str(output or self.folder), "-frames", str(LIVE_FRAMES)]
        return [str(self.program), *options, *words]

    async def fails(self, token: str, *words: str) -> str:
        """What it says when it cannot do it."""
        code, out, err = await _run(self.command(token, *words))
        assert (code, out) == (1, "")
        return err

    async def lines(self, token: str, *words: str, output: Path | None = None) -> list[Any]:
        """Its answers."""
        code, out, err = await _run(self.command(token, *words, output=output))
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    async def answer(self, token: str, *words: str, output: Path) -> Any:
        """Its one answer; files go into ``output``."""
        output.mkdir()
        (line,) = await self.lines(token, *words, output=output)
        return line


async def _run(command: list[str], seconds: float = 120) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out.decode(), err.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, generated and compiled."""
    if shutil.which("go") is None:
        pytest.skip("no program: wants go on the PATH")
    folder = tmp_path_factory.mktemp("go-client")
    code, _, err = await _run([sys.executable, str(BUILD), str(folder)], BUILD_SECONDS)
    assert code == 0, err
    return folder / "client"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    program: Path,
    deployment: Deployment,
    cameras: Cameras,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Installation]:
    """A product that serves people by TLS; not begun where the client cannot be built."""
    folder = tmp_path_factory.mktemp("guarded")
    authority = Authority(folder / "people-tls")
    certificate, key = authority.issue("server", addresses=["127.0.0.1"])
    settings = {"grpc.tls": {"certificate_file": f'"{certificate}"', "key_file": f'"{key}"'}}
    tls = ClientTls(authority.file)
    made = Installation(deployment, folder, PEOPLE, settings, tls=tls)
    await made.start()
    try:
        await estate.register(made, cameras.urls, CAMERAS)
        yield made
    finally:
        await made.remove()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def footage(guarded: Installation) -> tuple[int, int]:
    """A window in which both cameras are recorded and stored."""
    asked_us = WALL.now_us()
    await stored_until(guarded, CAMERAS, asked_us, asked_us + 1)
    begun_us = await recorded_from(guarded, CAMERAS, asked_us)
    ends = await stored_until(guarded, CAMERAS, begun_us, begun_us + RECORDED_US)
    return begun_us, min(ends.values())


@pytest.fixture
def go(program: Path, guarded: Installation, tmp_path: Path) -> GoClient:
    ca_file = guarded.folder / "people-tls" / "ca.pem"
    return GoClient(program, guarded.address(), ca_file, tmp_path)


def instants(*times_us: int) -> list[str]:
    """As RFC 3339."""
    texts = []
    for time_us in times_us:
        window = recording_pb2.TimelineEntry()
        window.start_time.FromMicroseconds(time_us)
        texts.append(window.start_time.ToJsonString())
    return texts


async def test_it_lists_cameras(go: GoClient, guarded: Installation) -> None:
    stub = guarded.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person=WALL_OF_SCREENS)
    expected = await stub.ListCameras(cameras_pb2.ListCamerasRequest())
    lifecycle = events_pb2.CameraLifecycle.Name
    assert await go.lines(guarded.token(WALL_OF_SCREENS), "cameras") == [
        {
            "Name": each.name, "DisplayName": each.display_name, "Zone": each.zone,
            "Lifecycle": lifecycle(each.lifecycle), "Revision": each.revision,
        }
        for each in expected.cameras
    ]  # fmt: skip
    assert {each.name for each in expected.cameras} == {f"cameras/{each}" for each in CAMERAS}


async def test_it_tells_the_status_of_streams(
    go: GoClient, guarded: Installation, footage: tuple[int, int]
) -> None:
    stub = guarded.stub(streams_pb2_grpc.StreamServiceStub, "ingest", person=WALL_OF_SCREENS)
    expected = await stub.ListStreams(streams_pb2.ListStreamsRequest())
    told = await go.lines(guarded.token(WALL_OF_SCREENS), "streams")
    wanted = [
        (each.name, each.codec, each.width, each.height, each.run) for each in expected.streams
    ]
    found = [
        (each["Name"], each["Codec"], each["Width"], each["Height"], each["Run"]) for each in told
    ]
    assert sorted(found) == sorted(wanted)
    assert {each["State"] for each in told} == {"STREAM_STATE_RECORDING"}
    assert len(told) == len(CAMERAS)


@EVERY_CAMERA
async def test_it_reads_the_timeline(
    camera: str, go: GoClient, guarded: Installation, footage: tuple[int, int]
) -> None:
    start_us, end_us = footage[0] - 1_000_000, footage[1]
    expected = await timeline(guarded, camera, start_us, end_us)
    token = guarded.token(WALL_OF_SCREENS)
    told = await go.lines(token, "timeline", camera, *instants(start_us, end_us))
    kind = recording_pb2.TimelineEntryKind.Name
    assert [
        (each["Kind"], each["StartUs"], each["EndUs"], each["Run"], each["Cause"], each["Detail"])
        for each in told
    ] == [
        (
            kind(each.kind),
            each.start_us,
            each.end_us,
            each.run,
            f"GAP_CAUSE_{each.cause}",
            each.detail,
        )
        for each in expected
    ]
    assert "TIMELINE_ENTRY_KIND_SPAN" in {each["Kind"] for each in told}


@EVERY_CAMERA
async def test_it_plays_the_same_bytes(
    camera: str,
    *,
    go: GoClient,
    guarded: Installation,
    cameras: Cameras,
    footage: tuple[int, int],
    tmp_path: Path,
) -> None:
    expected = await play(guarded, camera, *footage)
    token = guarded.token(WALL_OF_SCREENS)
    told = await go.answer(token, "play", camera, *instants(*footage), output=tmp_path / "play")
    (run,) = told["Runs"]
    data = Path(run["File"]).read_bytes()
    fragments = expected.fragments
    assert data == fragments[0].initialization + b"".join(each.data for each in fragments)
    assert [(each["StartUs"], each["DurationUs"]) for each in run["Fragments"]] == [
        (each.start_us, each.duration_us) for each in fragments
    ]
    assert told["End"] == "PLAY_END_REASON_WINDOW_END"
    assert told["FragmentCount"] == len(fragments)
    frames = proof.frames_of_file(data)
    first_us = min(frame.shown_us for frame in frames)
    located = proof.timed(frames, fragments[0].start_us, first_us)
    await proof.assert_all_there(cameras.control(camera), camera, located, frames_at_least=150)


@EVERY_CAMERA
async def test_it_takes_the_same_clip(
    camera: str, go: GoClient, guarded: Installation, footage: tuple[int, int], tmp_path: Path
) -> None:
    start_us, end_us = footage[0] + 1_333_337, footage[0] + 5_777_771
    (expected,) = await clip(guarded, camera, start_us, end_us)
    token = guarded.token(WALL_OF_SCREENS)
    words = ("clip", camera, *instants(start_us, end_us))
    (told,) = await go.answer(token, *words, output=tmp_path / "clip")
    path = Path(told["File"])
    assert path.read_bytes() == expected.data
    assert told["SHA256"] == expected.sha256
    assert (told["StartUs"], told["EndUs"]) == (start_us, end_us)
    assert path.name == expected.info.filename
    assert await asyncio.to_thread(complaints_about, path) == ""
    assert len(proof.frames_of_file(expected.data)) >= 4 * 25
    records = await accesses(
        guarded, subject=WALL_OF_SCREENS, object=f"cameras/{camera}", method="GetClip"
    )
    assert {(each.purpose, each.case_reference) for each in records} == {("Essai en Go", "GO-1")}


@EVERY_CAMERA
async def test_it_watches_live(
    camera: str,
    *,
    go: GoClient,
    guarded: Installation,
    cameras: Cameras,
    footage: tuple[int, int],
    tmp_path: Path,
) -> None:
    token = guarded.token(WALL_OF_SCREENS)
    told = await go.answer(token, "live", camera, output=tmp_path / "live")
    found = proof.frames_of_file(Path(told["File"]).read_bytes())
    assert len(found) == told["Frames"]
    assert told["Skipped"] == 0
    origin_us = min(frame.mark.capture_us - frame.shown_us for frame in found)
    located = proof.timed(found, origin_us)
    control = cameras.control(camera)
    await proof.assert_all_there(control, camera, located, frames_at_least=LIVE_FRAMES)


async def test_it_tells_why_it_may_not(
    go: GoClient, guarded: Installation, footage: tuple[int, int], tmp_path: Path
) -> None:
    operator, window = guarded.token("operateur"), instants(*footage)
    assert "PermissionDenied PERMISSION_DENIED:" in await go.fails(
        operator, "clip", "cam-h264", *window
    )
    assert "PermissionDenied PERSON_UNKNOWN:" in await go.fails(
        guarded.token("personne"), "cameras"
    )
    stranger = Authority(tmp_path / "another").file
    other = GoClient(go.program, go.address, stranger, go.folder)
    assert "certificate signed by unknown authority" in await other.fails(operator, "cameras")


async def test_it_follows_the_status_of_a_stream(
    go: GoClient, guarded: Installation, footage: tuple[int, int]
) -> None:
    """Last, for the camera is not recorded afterwards."""
    camera = CAMERAS[0]
    command = go.command(guarded.token(WALL_OF_SCREENS), "-follow", "streams", camera)
    watch = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert watch.stdout is not None
    lines = watch.stdout

    async def state() -> Any:
        return json.loads(await asyncio.wait_for(lines.readline(), 60))["State"]

    assert await state() == "STREAM_STATE_RECORDING"
    stub = guarded.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")
    await stub.SuspendCamera(
        cameras_pb2.SuspendCameraRequest(name=f"cameras/{camera}", reason="entretien")
    )

    async def stopped() -> bool:
        return bool(await state() == "STREAM_STATE_STOPPED")

    await until(stopped, "the client is told that the camera has stopped")
    watch.send_signal(signal.SIGINT)
    await asyncio.wait_for(watch.wait(), 30)
