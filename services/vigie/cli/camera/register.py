"""Entering, reading, listing and changing cameras; their history."""

from typing import Annotated

import typer

from vigie.cli import options as opt
from vigie.cli.arguments import identifier, resource
from vigie.cli.camera import common
from vigie.cli.camera.common import app, stub_of
from vigie.cli.commands import command
from vigie.cli.language import tr
from vigie.cli.output import local_time
from vigie.cli.passwords import PasswordFile, Username
from vigie.cli.resources import (
    completing,
    enum_of,
    fill,
    fill_changes,
    pages,
    position_of,
    show_list,
)
from vigie.cli.session import session_of
from vigie.cli.words import enum_text
from vigie.registry.v1 import cameras_pb2 as pb
from vigie.registry.v1 import events_pb2


@command(app, "create", "Inscrire une caméra ; elle est d'abord prévue, sans enregistrer.")
def create(
    context: typer.Context,
    camera: opt.Camera,
    zone: Annotated[str, typer.Option(help=tr("Zone it stands in.", "Zone où elle se trouve."))],
    uri: common.StreamUri,
    name: opt.DisplayName = None,
    site: Annotated[str, typer.Option(help=tr("Site in the zone.", "Site de la zone."))] = "",
    username: Username = "",
    password_file: PasswordFile = None,
    engine: common.Engine = None,
    segment_seconds: common.SegmentSeconds = None,
    description: opt.Description = None,
    manufacturer: common.Manufacturer = None,
    model: common.Model = None,
    serial_number: common.SerialNumber = None,
    position: opt.Position = None,
    request_id: opt.RequestId = "",
) -> None:
    """Enter a camera; it is planned at first and does not record."""
    session = session_of(context)
    entered = pb.Camera(zone=resource("zones", zone), site=resource("sites", site) if site else "")
    fill(
        entered,
        {
            "display_name": name or identifier(camera),
            "stream_uri": common.uri_of(uri),
            "credentials": common.credentials_of(username, password_file),
            "engine": common.engine_of(engine),
            "segment_seconds": segment_seconds,
            "description": description,
            "manufacturer": manufacturer,
            "model": model,
            "serial_number": serial_number,
            "position": position_of(position),
        },
    )
    request = pb.CreateCameraRequest(
        camera_id=identifier(camera), camera=entered, request_id=request_id
    )
    common.show_camera(session, session.call(stub_of(session).CreateCamera, request))


@command(app, "get", "Montrer une caméra.")
def get(context: typer.Context, camera: opt.Camera) -> None:
    """Show a camera."""
    session = session_of(context)
    request = pb.GetCameraRequest(name=opt.camera_name(camera))
    common.show_camera(session, session.call(stub_of(session).GetCamera, request))


@command(app, "list", "Lister les caméras de ses zones.")
def list_cameras(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(help=tr("Words in the name or description.", "Mots du nom ou du texte.")),
    ] = None,
    zone: Annotated[str, typer.Option(help=tr("Only this zone.", "Cette zone."))] = "",
    state: Annotated[
        str,
        typer.Option(
            help=tr("planned, in-service, suspended or retired.",
                    "planned, in-service, suspended ou retired."),
            autocompletion=completing(events_pb2.CameraLifecycle, common.LIFECYCLE),
        ),
    ] = "",
    expression: Annotated[
        str,
        typer.Option(
            "--filter",
            help=tr("Filter, e.g. 'authorisation_state = EXPIRING'.",
                    "Filtre, p. ex. 'authorisation_state = EXPIRING'."),
        ),
    ] = "",
    order_by: Annotated[
        str, typer.Option(help=tr("E.g. 'zone' or 'update_time desc'.", "P. ex. 'zone'."))
    ] = "",
    limit: opt.Limit = 0,
) -> None:  # fmt: skip
    """List the cameras of your zones."""
    session = session_of(context)
    request = pb.ListCamerasRequest(
        filter=_filter(words or [], zone, state, expression), order_by=order_by
    )
    found = pages(session, stub_of(session).ListCameras, request, "cameras", limit)
    show_list(session, found, common.camera_columns(), common.camera_row)


def _filter(words: list[str], zone: str, state: str, expression: str) -> str:
    quoted = (word.replace("\\", r"\\").replace('"', r"\"") for word in words)
    terms = [f'"{word}"' for word in quoted]
    if zone:
        terms.append(f'zone = "{identifier(zone)}"')
    if state:
        value = enum_of(events_pb2.CameraLifecycle, common.LIFECYCLE, state)
        name = events_pb2.CameraLifecycle.Name(value).removeprefix(common.LIFECYCLE)
        terms.append(f"lifecycle = {name}")
    if expression:
        terms.append(expression)
    return " AND ".join(terms)


@command(app, "update", "Modifier ce qui est dit d'une caméra ; état et lieu : voir plus bas.")
def update(
    context: typer.Context,
    camera: opt.Camera,
    name: opt.DisplayName = None,
    uri: Annotated[
        str | None, typer.Option(help=tr("Address of the stream.", "Adresse du flux."))
    ] = None,
    username: Username = "",
    password_file: PasswordFile = None,
    remove_credentials: Annotated[
        bool, typer.Option(help=tr("Forget user and password.", "Oublier les identifiants."))
    ] = False,
    engine: common.Engine = None,
    segment_seconds: common.SegmentSeconds = None,
    description: opt.Description = None,
    manufacturer: common.Manufacturer = None,
    model: common.Model = None,
    serial_number: common.SerialNumber = None,
    position: opt.Position = None,
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """Change what is said of a camera; its state and place change by the commands below."""
    session = session_of(context)
    if remove_credentials and username:
        raise typer.BadParameter(
            tr("--remove-credentials or --username, not both",
               "--remove-credentials ou --username, pas les deux")
        )  # fmt: skip
    changed = pb.Camera(name=opt.camera_name(camera), etag=etag)
    values = {
        "display_name": name,
        "stream_uri": common.uri_of(uri),
        "credentials": common.credentials_of(username, password_file),
        "engine": common.engine_of(engine),
        "segment_seconds": segment_seconds,
        "description": description,
        "manufacturer": manufacturer,
        "model": model,
        "serial_number": serial_number,
        "position": position_of(position),
    }
    if remove_credentials:
        mask = fill(changed, values)
        mask.paths.append("credentials")
    else:
        mask = fill_changes(changed, values)
    request = pb.UpdateCameraRequest(camera=changed, update_mask=mask, request_id=request_id)
    common.show_camera(session, session.call(stub_of(session).UpdateCamera, request))


@command(app, "revisions", "Tous les états d'une caméra, le plus récent d'abord.")
def revisions(context: typer.Context, camera: opt.Camera, limit: opt.Limit = 50) -> None:
    """Every state a camera has had, newest first."""
    session = session_of(context)
    request = pb.ListCameraRevisionsRequest(name=opt.camera_name(camera))
    found = pages(session, stub_of(session).ListCameraRevisions, request, "revisions", limit)
    columns = (
        tr("since", "depuis"), tr("what", "quoi"), tr("state", "état"), "zone",
        tr("by", "par"), tr("reason", "motif"),
    )  # fmt: skip
    show_list(
        session,
        found,
        columns,
        lambda each: (
            local_time(each.camera.effective_time),
            each.action,
            enum_text(events_pb2.CameraLifecycle, each.camera.lifecycle, common.LIFECYCLE),
            identifier(each.camera.zone),
            each.actor,
            each.reason,
        ),
    )
