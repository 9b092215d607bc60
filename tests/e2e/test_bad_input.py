"""Whoever starts or asks it wrongly is told what, where and how to mend it; never a stack trace."""

import asyncio
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from e2e import estate
from e2e.callers import PURPOSE, failure_of, window
from e2e.commands import Outcome, run_vigie
from e2e.harness import WALL, Deployment, Installation
from vigie.recording.v1 import playback_pb2, playback_pb2_grpc, recording_pb2, recording_pb2_grpc
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
HOUR_US = 3_600_000_000
NORTH = "cameras/cam-h264"


def assert_said_in_lines(outcome: Outcome, *words: str, lines_at_most: int = 3) -> None:
    """One line a mistake: what and where, perhaps how to mend it; nothing else."""
    said = (outcome.err + outcome.out).strip()
    lines = [line for line in said.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line)]
    assert outcome.code != 0
    assert "Traceback" not in said
    assert 1 <= len(lines) <= lines_at_most, said
    for word in words:
        assert word in said, (word, said)


async def start_with(folder: Path, text: str) -> Outcome:
    """``vigie up`` with a configuration that must not start."""
    folder.mkdir(exist_ok=True)
    (folder / "people.toml").write_text(estate.PEOPLE, "utf-8")
    config = folder / "vigie.toml"
    config.write_text(text, "utf-8")
    return await run_vigie("up", "--config", str(config))


_GOOD = (
    '[data]\ndirectory = "data"\n[grpc]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = "127.0.0.1:0"\n'
)
_MISTAKES = ["segment_second", "upload_concurrency", "heartbeat_seconds", "recordin"]
_PEOPLE = '[access]\npeople_file = "people.toml"\n'


async def test_configurations_that_do_not_start(vigie: Installation, tmp_path: Path) -> None:
    """Unknown key, wrong unit, missing file, port taken, no TOML: all at once, each in a line."""
    http = vigie.http_addresses()[0]
    mistakes = (
        "[ingest]\nsegment_second = 3\nupload_concurrency = 0\nheartbeat_seconds = '5 s'\n"
        "[recordin]\n"
    )
    cases = {
        "mistakes": (_GOOD + mistakes, [*_MISTAKES, "segment_seconds", "recording"]),
        "no TOML": ("[data\n", ["vigie.toml"]),
        "no people": (_GOOD + '[access]\npeople_file = "nobody.toml"\n', ["nobody.toml"]),
        "grpc port taken": (
            _GOOD.replace('listen = ["127.0.0.1:0"]', f'listen = ["{vigie.address()}"]') + _PEOPLE,
            [vigie.address()],
        ),
        "http port taken": (
            _GOOD.replace('[http]\nlisten = "127.0.0.1:0"', f'[http]\nlisten = "{http}"') + _PEOPLE,
            [http],
        ),
    }
    outcomes = await asyncio.gather(
        *(start_with(tmp_path / name, text) for name, (text, _) in cases.items()),
        run_vigie("up", "--config", str(tmp_path / "nothing.toml")),
    )
    told = [*(words for _, words in cases.values()), ["nothing.toml"]]
    for words, outcome in zip(told, outcomes, strict=True):
        assert_said_in_lines(outcome, *words, lines_at_most=4 if "segment_seconds" in words else 3)


async def test_two_processes_on_one_data_directory(
    vigie: Installation, deployment: Deployment
) -> None:
    (arguments, *_) = deployment.targets.values()
    outcome = await run_vigie(*arguments, "--config", str(vigie.config_file))
    # Servers of a test have one broker and one role for all: two lines say so.
    assert_said_in_lines(outcome, str(vigie.data), lines_at_most=5 if deployment.store else 3)


async def test_data_of_a_newer_version(
    vigie: Installation, deployment: Deployment, tmp_path: Path
) -> None:
    """A copy of the live database, marked as a later program would leave it."""
    if deployment.store:
        pytest.skip("no embedded database here; tests/contract holds PostgreSQL to the same")
    data = tmp_path / "data"
    data.mkdir()
    with (
        closing(sqlite3.connect(vigie.data / "vigie.db")) as live,
        closing(sqlite3.connect(data / "vigie.db")) as copy,
    ):
        live.backup(copy)
        tables = copy.execute(
            "select name from sqlite_master where name like '%version%' and type = 'table'"
        ).fetchall()
        for (table,) in tables:
            columns = [row[1] for row in copy.execute(f"pragma table_info({table})")]
            if "version_num" in columns:
                copy.execute(f"update {table} set version_num = '9999'")
        copy.commit()
    outcome = await start_with(tmp_path, _GOOD + _PEOPLE)
    assert_said_in_lines(outcome, "9999")


def _timeline(channel: Any, start_us: int, end_us: int, **fields: Any) -> Any:
    request = recording_pb2.GetTimelineRequest(cameras=[NORTH], window=window(start_us, end_us))
    request.MergeFrom(recording_pb2.GetTimelineRequest(**fields))
    return recording_pb2_grpc.RecordingServiceStub(channel).GetTimeline(request)


def _clip(channel: Any, start_us: int, end_us: int) -> Any:
    request = playback_pb2.GetClipRequest(
        camera=NORTH, window=window(start_us, end_us), purpose=PURPOSE
    )
    return playback_pb2_grpc.PlaybackServiceStub(channel).GetClip(request)


def _play(channel: Any, start_us: int, end_us: int) -> Any:
    request = playback_pb2.PlayRequest(camera=NORTH, purpose=PURPOSE)
    request.start_time.FromMicroseconds(start_us)
    request.end_time.FromMicroseconds(end_us)
    return playback_pb2_grpc.PlaybackServiceStub(channel).Play(request)


def _segments(channel: Any, start_us: int, end_us: int, token: str = "") -> Any:
    request = recording_pb2.ListSegmentsRequest(
        camera=NORTH, window=window(start_us, end_us), page_token=token
    )
    return recording_pb2_grpc.RecordingServiceStub(channel).ListSegments(request)


_MANY = [f"cameras/cam-{number:03}" for number in range(80)]
_CASES: dict[str, tuple[Callable[[Any, int], Any], str, str]] = {
    "reversed": (lambda c, now: _timeline(c, now, now - HOUR_US), "", "window"),
    "empty": (lambda c, now: _timeline(c, now, now), "", "window"),
    "a year": (
        lambda c, now: _timeline(c, now - 365 * 24 * HOUR_US, now), "WINDOW_TOO_LONG", "window",
    ),
    "future": (
        lambda c, now: _play(c, now + HOUR_US, now + 2 * HOUR_US), "WINDOW_IN_FUTURE", "start_time",
    ),
    "clip of a day": (
        lambda c, now: _clip(c, now - 24 * HOUR_US, now), "WINDOW_TOO_LONG", "window",
    ),
    "clip of the future": (
        lambda c, now: _clip(c, now + HOUR_US, now + HOUR_US + 1), "WINDOW_IN_FUTURE", "window",
    ),
    "play reversed": (lambda c, now: _play(c, now, now - 1), "WINDOW_REVERSED", "end_time"),
    "page token": (
        lambda c, now: _segments(c, now - HOUR_US, now, "gibberish"), "PAGE_TOKEN_INVALID",
        "page_token",
    ),
    "too many cameras": (
        lambda c, now: _timeline(c, now - 1, now, cameras=_MANY),
        "TOO_MANY_CAMERAS", "cameras",
    ),
    "a camera twice": (
        lambda c, now: _timeline(c, now - 1, now, cameras=[NORTH]), "TOO_MANY_CAMERAS", "cameras",
    ),
    "name of a camera": (
        lambda c, now: _timeline(c, now - 1, now, cameras=["camera 7"]), "CAMERA_NAME_INVALID",
        "cameras[1]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _CASES)
async def test_wrong_requests_name_reason_and_field(name: str, vigie: Installation) -> None:
    call, reason, field = _CASES[name]
    channel = vigie.stub(lambda channel: channel, "recording", person="responsable")
    failure = await failure_of(call(channel, WALL.now_us()))
    assert failure.reason == reason or (not reason and failure.reason), failure
    assert failure.violations, failure
    assert failure.violations[0].field.startswith(field), failure.violations


async def test_a_stale_etag_is_refused(vigie: Installation) -> None:
    stub = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")
    read = await stub.GetCamera(cameras_pb2.GetCameraRequest(name=NORTH))
    change = cameras_pb2.UpdateCameraRequest(
        camera=cameras_pb2.Camera(name=NORTH, description="Mât repeint", etag=read.etag)
    )
    change.update_mask.paths.append("description")
    changed = await stub.UpdateCamera(change)
    assert changed.etag != read.etag
    failure = await failure_of(stub.UpdateCamera(change))
    assert failure.reason == "ETAG_MISMATCH"
    assert [each.field for each in failure.violations] == ["camera.etag"]


async def test_a_csv_tells_every_mistake_at_once_and_changes_nothing(vigie: Installation) -> None:
    stub = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")
    before = await stub.ListCameras(cameras_pb2.ListCamerasRequest(page_size=1))
    table = (
        "camera,zone,display_name,stream_uri\n"
        "cam-new-01,zone-nord,Nouvelle,rtsp://192.0.2.1/1\n"
        "Cam New,zone-nord,Nouvelle,rtsp://192.0.2.1/2\n"
        "cam-new-03,zone-nulle-part,Nouvelle,gopher://192.0.2.1/3\n"
    )
    answer = await stub.ImportCameras(
        cameras_pb2.ImportCamerasRequest(csv=table.encode(), dry_run=True, request_id=str(uuid4()))
    )
    places = {(mistake.row, mistake.column) for mistake in answer.mistakes}
    assert {row for row, _ in places} == {3, 4}, answer
    assert len([place for place in places if place[0] == 4]) == 2, answer
    await failure_of(stub.ImportCameras(cameras_pb2.ImportCamerasRequest(csv=table.encode())))
    after = await stub.ListCameras(cameras_pb2.ListCamerasRequest(page_size=1))
    assert after.total_size == before.total_size


async def test_nothing_of_this_left_a_trace_in_the_log(vigie: Installation) -> None:
    """A wrong request is the caller's, not a failure of the product."""
    assert "INTERNAL_ERROR" not in vigie.log_text()
    assert "Traceback" not in vigie.log_text()
