"""Passwords of cameras are in no argument and no output; what is sent is what was typed."""

from pathlib import Path

import pytest

from unit.cli.conftest import Vigie
from unit.cli.fake_server import FakeServer
from vigie.cli.exits import Exit
from vigie.registry.v1 import cameras_pb2 as pb
from vigie.registry.v1 import events_pb2

CREATE = ("camera", "create", "cam-01", "--zone", "z1", "--uri", "rtsp://10.0.0.8/s")
SECRET = "f0r-y0ur-eyes"


def test_the_password_comes_from_a_file(vigie: Vigie, fake: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(SECRET + "\n", encoding="utf-8")
    outcome = vigie(*CREATE, "--username", "op", "--password-file", str(file))
    sent = fake.called("CameraService/CreateCamera").camera
    assert (sent.credentials.username, sent.credentials.password) == ("op", SECRET)
    assert SECRET not in outcome.out + outcome.err


def test_the_password_comes_from_standard_input(vigie: Vigie, fake: FakeServer) -> None:
    vigie(*CREATE, "--username", "op", "--password-file", "-", stdin=SECRET + "\n")
    assert fake.called("CameraService/CreateCamera").camera.credentials.password == SECRET


def test_the_password_comes_from_the_environment(vigie: Vigie, fake: FakeServer) -> None:
    vigie(*CREATE, "--username", "op", env={"VIGIE_CAMERA_PASSWORD": SECRET})
    assert fake.called("CameraService/CreateCamera").camera.credentials.password == SECRET


def test_without_a_terminal_nobody_is_asked(vigie: Vigie, fake: FakeServer) -> None:
    outcome = vigie(*CREATE, "--username", "op")
    assert outcome.code == Exit.USAGE
    assert "VIGIE_CAMERA_PASSWORD" in outcome.err
    assert not fake.calls


@pytest.mark.parametrize("command", ["create", "update", "probe"])
def test_a_password_in_the_address_is_refused_and_not_repeated(
    command: str, vigie: Vigie, fake: FakeServer
) -> None:
    uri = f"rtsp://op:{SECRET}@10.0.0.8/s"
    place = [] if command == "update" else ["--zone", "z1"]
    name = [] if command == "probe" else ["cam-01"]
    outcome = vigie("camera", command, *name, *place, "--uri", uri)
    assert outcome.code == Exit.USAGE
    assert "--password-file" in outcome.err
    assert SECRET not in outcome.out + outcome.err
    assert not fake.calls


def test_no_option_takes_a_password() -> None:
    from vigie.cli.commands import load_all

    taking = []
    for name, command in load_all().items():
        for each in (command, *getattr(command, "commands", {}).values()):
            taking += [
                (name, each.name, option)
                for parameter in each.params
                for option in parameter.opts
                if "password" in option and option != "--password-file"
            ]
    assert not taking


def test_an_update_names_what_was_given_and_nothing_else(vigie: Vigie, fake: FakeServer) -> None:
    vigie("camera", "update", "cam-01", "--description", "", "--segment-seconds", "10",
          "--etag", '"7"')  # fmt: skip
    sent = fake.called("CameraService/UpdateCamera")
    assert set(sent.update_mask.paths) == {"description", "segment_seconds"}
    assert (sent.camera.segment_seconds, sent.camera.etag) == (10, '"7"')


def test_credentials_can_be_removed(vigie: Vigie, fake: FakeServer) -> None:
    vigie("camera", "update", "cam-01", "--remove-credentials")
    sent = fake.called("CameraService/UpdateCamera")
    assert list(sent.update_mask.paths) == ["credentials"]
    assert not sent.camera.HasField("credentials")


def test_an_update_of_nothing_is_a_mistake(vigie: Vigie, fake: FakeServer) -> None:
    assert vigie("camera", "update", "cam-01").code == Exit.USAGE
    assert not fake.calls


def test_a_list_reads_every_page_and_filters(vigie: Vigie, fake: FakeServer) -> None:
    def answer(request: pb.ListCamerasRequest) -> pb.ListCamerasResponse:
        first = not request.page_token
        return pb.ListCamerasResponse(
            cameras=[pb.Camera(name=f"cameras/cam-{1 if first else 2}")],
            next_page_token="more" if first else "",
        )

    fake.answers["CameraService/ListCameras"] = answer
    outcome = vigie("--json", "camera", "list", 'a "b" \\', "--zone", "z1", "--state", "in-service")
    assert [each["name"] for each in outcome.json()] == ["cameras/cam-1", "cameras/cam-2"]
    sent = fake.calls[0].request.filter
    assert sent == r'"a \"b\" \\" AND zone = "z1" AND lifecycle = IN_SERVICE'


def test_the_filter_is_one_the_registry_understands(vigie: Vigie, fake: FakeServer) -> None:
    from vigie.registry.filters import parse_filter

    vigie("camera", "list", 'quai "nord" \\', "--zone", "z1", "--state", "retired")
    terms = parse_filter(fake.called("CameraService/ListCameras").filter)
    assert [(term.field, term.value) for term in terms] == [
        ("", 'quai "nord" \\'), ("zone", "z1"), ("lifecycle", "RETIRED"),
    ]  # fmt: skip


def test_a_limit_asks_for_no_more(vigie: Vigie, fake: FakeServer) -> None:
    fake.answers["CameraService/ListCameras"] = pb.ListCamerasResponse(
        cameras=[pb.Camera(name=f"cameras/cam-{n}") for n in range(9)], next_page_token="more"
    )
    outcome = vigie("--json", "camera", "list", "--limit", "3")
    assert len(outcome.json()) == 3
    assert [call.request.page_size for call in fake.calls] == [3]


def test_what_others_entered_does_not_steer_the_terminal(vigie: Vigie, fake: FakeServer) -> None:
    fake.answers["CameraService/ListCameras"] = pb.ListCamerasResponse(
        cameras=[pb.Camera(name="cameras/cam-1", display_name="\x1b[2J[red]quai[/]\u202e\x07")]
    )
    text = vigie("camera", "list").out
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]quai[/]" in text


def mistaken(request: pb.ImportCamerasRequest) -> pb.ImportCamerasResponse:
    assert request.dry_run
    mistakes = [
        pb.ImportMistake(row=2, column="zone", reason="ZONE_NOT_FOUND", message="zone z9"),
        pb.ImportMistake(row=7, column="stream_uri", reason="STREAM_URI_INVALID", message="ftp"),
    ]
    return pb.ImportCamerasResponse(dry_run=True, mistakes=mistakes, mistake_count=2)


def test_an_import_with_mistakes_shows_all_and_changes_nothing(
    vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    fake.answers["CameraService/ImportCameras"] = mistaken
    table = tmp_path / "t.csv"
    table.write_text("camera,zone\n", encoding="utf-8")
    outcome = vigie("camera", "import", str(table))
    assert outcome.code == Exit.USAGE
    assert "ZONE_NOT_FOUND" in outcome.out
    assert "stream_uri" in outcome.out
    assert [call.request.dry_run for call in fake.calls] == [True]


def test_an_import_without_mistakes_is_carried_out(
    vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    fake.answers["CameraService/ImportCameras"] = lambda request: pb.ImportCamerasResponse(
        dry_run=request.dry_run, created_cameras=["cameras/cam-1"]
    )
    table = tmp_path / "t.csv"
    table.write_bytes(b"\xef\xbb\xbfcamera,zone\r\n")
    outcome = vigie("camera", "import", str(table))
    assert outcome.code == Exit.OK
    assert [call.request.dry_run for call in fake.calls] == [True, False]
    assert "1 entered" in outcome.out


def test_an_import_that_may_be_a_repetition_is_sent_at_once(
    vigie: Vigie, fake: FakeServer, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("camera\n", encoding="utf-8")
    vigie("camera", "import", str(table), "--request-id", "6f1f0d3e-0000-4000-8000-000000000000")
    (call,) = fake.calls
    assert not call.request.dry_run
    assert call.request.request_id


def test_a_probe_that_fails_is_a_failed_check(vigie: Vigie, fake: FakeServer) -> None:
    fake.answers["CameraService/ProbeCamera"] = pb.ProbeCameraResponse(
        cause="CREDENTIALS_REFUSED", detail="401 after digest"
    )
    outcome = vigie("camera", "probe", "cam-01")
    assert outcome.code == Exit.CHECK_FAILED
    assert "CREDENTIALS_REFUSED" in outcome.out


def test_a_watch_ends_at_the_checkpoint_when_asked(vigie: Vigie, fake: FakeServer) -> None:
    camera = pb.Camera(name="cameras/cam-1", lifecycle=events_pb2.CAMERA_LIFECYCLE_SUSPENDED)
    fake.answers["CameraService/WatchCameras"] = [
        pb.WatchCamerasResponse(camera=camera, resume_token="1"),
        pb.WatchCamerasResponse(is_checkpoint=True, resume_token="2"),
        pb.WatchCamerasResponse(departed_camera="cameras/cam-9"),
    ]
    outcome = vigie("camera", "watch", "--once")
    assert "suspended" in outcome.out
    assert "cam-9" not in outcome.out
