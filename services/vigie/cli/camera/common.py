"""What the commands on cameras share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vigie.cli.arguments import identifier, resource
from vigie.cli.commands import examples, new_app
from vigie.cli.language import tr
from vigie.cli.output import local_time, show_fields
from vigie.cli.passwords import read_password, without_password
from vigie.cli.resources import completing, enum_of, position_text
from vigie.cli.session import Session
from vigie.cli.words import enum_text
from vigie.registry.v1 import cameras_pb2 as pb
from vigie.registry.v1 import cameras_pb2_grpc as pb_grpc
from vigie.registry.v1 import events_pb2

app = new_app(
    "Cameras and their life: planned, commissioned, suspended, moved, retired.",
    "Les caméras et leur vie : prévues, mises en service, suspendues, déplacées, retirées.",
    epilog=examples(
        "vigie camera probe --uri rtsp://10.0.0.8/stream1 --zone zae-brezet --username vigie",
        "vigie camera create cam-brezet-01 --zone zae-brezet --uri rtsp://10.0.0.8/stream1 \\\n"
        "    --username vigie --password-file brezet-01.txt",
        "vigie camera commission cam-brezet-01",
        "vigie camera list --state in-service --zone zae-brezet",
        "vigie camera import cameras.csv --dry-run",
    ),
)

ENGINE: Final = "RECEPTION_ENGINE_"
LIFECYCLE: Final = "CAMERA_LIFECYCLE_"
AUTHORISATION: Final = "CAMERA_AUTHORISATION_STATE_"

StreamUri = Annotated[
    str,
    typer.Option(
        "--uri",
        help=tr(
            "Address of the stream, without user and password.",
            "Adresse du flux, sans utilisateur ni mot de passe.",
        ),
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        help=tr("Reception engine: native or libav.", "Moteur de réception : native ou libav."),
        autocompletion=completing(events_pb2.ReceptionEngine, ENGINE),
    ),
]
SegmentSeconds = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=300,
        help=tr("Length of segments, 2 to 300; 0: default.", "Durée des segments, 2 à 300 ; 0 : "
                "valeur par défaut."),
    ),
]  # fmt: skip
Manufacturer = Annotated[str | None, typer.Option(help=tr("Maker.", "Fabricant."))]
Model = Annotated[str | None, typer.Option(help=tr("Model.", "Modèle."))]
SerialNumber = Annotated[str | None, typer.Option(help=tr("Serial number.", "Numéro de série."))]


def stub_of(session: Session) -> Any:
    """The service of cameras."""
    return session.stub(pb_grpc.CameraServiceStub)


def engine_of(text: str | None) -> Any:
    """The engine a word stands for; ``None`` stays ``None``, "" is the product's choice."""
    if not text:
        return None if text is None else events_pb2.RECEPTION_ENGINE_UNSPECIFIED
    return enum_of(events_pb2.ReceptionEngine, ENGINE, text)


def credentials_of(username: str, password_file: Path | None) -> pb.StreamCredentials | None:
    """Credentials when there is a user name; the password is never an argument."""
    password = read_password(username, password_file)
    if not username:
        return None
    return pb.StreamCredentials(username=username, password=password)


def uri_of(text: str | None) -> str | None:
    """The address of a stream, refused when it carries a password."""
    return None if text is None else without_password(text)


def camera_row(camera: pb.Camera) -> Sequence[str]:
    """One line of a list."""
    return (
        identifier(camera.name),
        camera.display_name,
        identifier(camera.zone),
        enum_text(events_pb2.CameraLifecycle, camera.lifecycle, LIFECYCLE),
        enum_text(pb.CameraAuthorisationState, camera.authorisation_state, AUTHORISATION),
    )


def camera_columns() -> Sequence[str]:
    """Headings of `camera_row`."""
    return (
        tr("camera", "caméra"), tr("name", "nom"), "zone", tr("state", "état"),
        tr("authorisation", "autorisation"),
    )  # fmt: skip


def show_camera(session: Session, camera: pb.Camera) -> None:
    """One camera, every field that says something."""
    if session.as_json:
        session.show_json(camera)
        return
    _, _, zone, state, authorised = camera_row(camera)
    kept = tr("kept, sealed", "conservés, scellés")
    show_fields(
        session.console,
        camera.name,
        (
            (tr("name", "nom"), camera.display_name),
            (tr("state", "état"), f"{state}  {camera.lifecycle_reason}".rstrip()),
            (tr("since", "depuis"), local_time(camera.effective_time)),
            (tr("authorisation", "autorisation"), authorised),
            ("", ", ".join(identifier(each) for each in camera.authorisations)),
            ("zone", zone),
            ("site", identifier(camera.site)),
            (tr("commune", "commune"), identifier(camera.commune)),
            (tr("position", "position"), position_text(camera)),
            (tr("stream", "flux"), camera.stream_uri),
            (tr("credentials", "identifiants"), kept if camera.has_credentials else ""),
            (tr("engine", "moteur"),
             enum_text(events_pb2.ReceptionEngine, camera.engine, ENGINE)),
            (tr("segments", "segments"),
             f"{camera.segment_seconds} s" if camera.segment_seconds else ""),
            (tr("description", "description"), camera.description),
            (tr("make", "matériel"),
             " ".join(filter(None, (camera.manufacturer, camera.model, camera.serial_number)))),
            (tr("changed", "modifiée"), local_time(camera.update_time)),
            (tr("revision", "révision"), f"{camera.revision}  etag {camera.etag}"),
        ),
    )  # fmt: skip


def camera_name(text: str) -> str:
    """``cameras/{camera}``."""
    return resource("cameras", text)
