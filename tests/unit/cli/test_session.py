"""Exit codes, errors for people and machines, tokens, languages."""

import json
from pathlib import Path

import grpc
import pytest

from unit.cli.conftest import Vigie
from unit.cli.fake_server import FakeServer, RefusedError
from vigie.cli.exits import Exit, exit_of
from vigie.registry.v1 import cameras_pb2 as pb
from vigie.registry.v1 import events_pb2


def refuse(code: grpc.StatusCode) -> object:
    def answer(_: object) -> None:
        raise RefusedError(code, "no such luck")

    return answer


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, Exit.USAGE),
        (grpc.StatusCode.UNAUTHENTICATED, Exit.REFUSED),
        (grpc.StatusCode.PERMISSION_DENIED, Exit.REFUSED),
        (grpc.StatusCode.NOT_FOUND, Exit.NOT_FOUND),
        (grpc.StatusCode.ABORTED, Exit.CONFLICT),
        (grpc.StatusCode.ALREADY_EXISTS, Exit.CONFLICT),
        (grpc.StatusCode.FAILED_PRECONDITION, Exit.CONFLICT),
        (grpc.StatusCode.UNAVAILABLE, Exit.UNAVAILABLE),
        (grpc.StatusCode.INTERNAL, Exit.FAILED),
    ],
)
def test_each_failure_has_its_exit_code(
    code: grpc.StatusCode, expected: Exit, vigie: Vigie, fake: FakeServer
) -> None:
    fake.answers["CameraService/GetCamera"] = refuse(code)
    fake.answers["CameraService/WatchCameras"] = refuse(code)
    outcome = vigie("camera", "get", "cam-01")
    assert (outcome.code, outcome.out) == (expected, "")
    assert "no such luck" in outcome.err
    assert vigie("camera", "watch").code == expected
    assert exit_of(code) == expected


def test_a_failure_for_machines_is_one_line_on_standard_error(
    vigie: Vigie, fake: FakeServer
) -> None:
    fake.answers["CameraService/GetCamera"] = refuse(grpc.StatusCode.NOT_FOUND)
    outcome = vigie("--json", "camera", "get", "cam-01")
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert json.loads(line)["error"]["code"] == "NOT_FOUND"


def test_nobody_there(vigie: Vigie) -> None:
    outcome = vigie("--address", "127.0.0.1:1", "camera", "get", "cam-01")
    assert outcome.code == Exit.UNAVAILABLE
    assert "vigie up" in outcome.err


@pytest.mark.parametrize(
    "line",
    ["camera get", "camera nosuch", "nosuch", "camera list --state broken", "clip cam-01",
     "timeline cam-01 --from yesterday", "--timeout-seconds 0 zone list"],
)  # fmt: skip
def test_a_wrong_command_line_calls_nobody(line: str, vigie: Vigie, fake: FakeServer) -> None:
    assert vigie(*line.split()).code == Exit.USAGE
    assert not fake.calls


def test_a_typing_error_gets_a_suggestion(vigie: Vigie) -> None:
    assert "timeline" in vigie("timelin").err


def test_the_token_comes_from_the_environment_or_a_file(
    vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n", encoding="ascii")
    vigie("zone", "list", env={"VIGIE_TOKEN": "from-env"})
    vigie("--token-file", str(file), "zone", "list")
    vigie("zone", "list")
    sent = [call.metadata.get("authorization") for call in fake.calls]
    assert sent == ["Bearer from-env", "Bearer from-file", None]


def test_a_token_file_that_is_not_there(vigie: Vigie, fake: FakeServer) -> None:
    outcome = vigie("--token-file", "/nonexistent/token", "zone", "list")
    assert outcome.code == Exit.USAGE
    assert not fake.calls


@pytest.mark.parametrize(
    ("language", "words", "header"),
    [("fr_FR.UTF-8", ("caméra", "suspendue"), "fr"), ("en", ("camera", "suspended"), "en")],
)
def test_people_read_their_language(
    language: str, words: tuple[str, str], header: str, vigie: Vigie, fake: FakeServer
) -> None:
    camera = pb.Camera(name="cameras/cam-1", lifecycle=events_pb2.CAMERA_LIFECYCLE_SUSPENDED)
    fake.answers["CameraService/ListCameras"] = pb.ListCamerasResponse(cameras=[camera])
    outcome = vigie("camera", "list", env={"VIGIE_LANGUAGE": language})
    assert all(word in outcome.out for word in words)
    assert fake.calls[0].metadata["accept-language"] == header


def test_json_does_not_depend_on_the_language(vigie: Vigie, fake: FakeServer) -> None:
    fake.answers["CameraService/GetCamera"] = pb.Camera(name="cameras/cam-1", display_name="Île")
    texts = {
        vigie("--json", "camera", "get", "cam-1", env={"VIGIE_LANGUAGE": language}).out
        for language in ("fr", "en")
    }
    (text,) = texts
    assert json.loads(text)["display_name"] == "Île"
