"""The steps of a camera's life."""

from typing import Annotated, Any

import typer

from vigie.cli import options as opt
from vigie.cli.arguments import parse_instant, resource
from vigie.cli.camera.common import app, show_camera, stub_of
from vigie.cli.commands import command
from vigie.cli.language import tr
from vigie.cli.resources import position_of
from vigie.cli.session import session_of
from vigie.platform.clock import SystemWallClock, from_us
from vigie.registry.v1 import cameras_pb2 as pb


def _step(context: typer.Context, method: str, request: Any) -> None:
    session = session_of(context)
    show_camera(session, session.call(getattr(stub_of(session), method), request))


@command(app, "commission", "Mettre en service une caméra prévue.")
def commission(
    context: typer.Context,
    camera: opt.Camera,
    reason: opt.Reason = "",
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """Put a planned camera in service."""
    request = pb.CommissionCameraRequest(
        name=opt.camera_name(camera), reason=reason, etag=etag, request_id=request_id
    )
    _step(context, "CommissionCamera", request)


@command(app, "suspend", "Arrêter une caméra en service ; la frise le dira.")
def suspend(
    context: typer.Context,
    camera: opt.Camera,
    reason: opt.Reason,
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """Stop a camera that is in service; the timeline will say so."""
    request = pb.SuspendCameraRequest(
        name=opt.camera_name(camera), reason=reason, etag=etag, request_id=request_id
    )
    _step(context, "SuspendCamera", request)


@command(app, "resume", "Remettre en service une caméra suspendue.")
def resume(
    context: typer.Context,
    camera: opt.Camera,
    reason: opt.Reason = "",
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """Put a suspended camera back in service."""
    request = pb.ResumeCameraRequest(
        name=opt.camera_name(camera), reason=reason, etag=etag, request_id=request_id
    )
    _step(context, "ResumeCamera", request)


@command(app, "move", "Noter qu'une caméra se trouve désormais ailleurs.")
def move(
    context: typer.Context,
    camera: opt.Camera,
    zone: Annotated[str, typer.Option(help=tr("Zone it stands in now.", "Nouvelle zone."))],
    site: Annotated[str, typer.Option(help=tr("Site it stands at now.", "Nouveau site."))] = "",
    at: Annotated[
        str, typer.Option(help=tr("Since when; default: now.", "Depuis quand ; défaut : now."))
    ] = "",
    position: opt.Position = None,
    reason: opt.Reason = "",
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """Record that a camera stands somewhere else now."""
    request = pb.MoveCameraRequest(
        name=opt.camera_name(camera),
        zone=resource("zones", zone),
        site=resource("sites", site) if site else "",
        reason=reason,
        etag=etag,
        request_id=request_id,
        position=position_of(position),
    )
    if at:
        request.effective_time.FromDatetime(parse_instant(at, from_us(SystemWallClock().now_us())))
    _step(context, "MoveCamera", request)


@command(app, "retire", "Retirer une caméra pour toujours ; ses images vont à leur terme.")
def retire(
    context: typer.Context,
    camera: opt.Camera,
    reason: opt.Reason,
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """Take a camera away for good; its footage lives until its retention ends."""
    request = pb.RetireCameraRequest(
        name=opt.camera_name(camera), reason=reason, etag=etag, request_id=request_id
    )
    _step(context, "RetireCamera", request)
