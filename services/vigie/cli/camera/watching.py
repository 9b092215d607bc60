"""Trying cameras, and following the register as it changes."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from vigie.cli import options as opt
from vigie.cli.arguments import identifier, parse_duration, resource
from vigie.cli.camera import common
from vigie.cli.camera.common import app, stub_of
from vigie.cli.commands import command
from vigie.cli.exits import Exit
from vigie.cli.language import tr
from vigie.cli.output import plain, show_fields
from vigie.cli.passwords import PasswordFile, Username, without_password
from vigie.cli.session import Session, session_of
from vigie.registry.v1 import cameras_pb2 as pb

_GRACE_SECONDS = 15.0


@command(app, "probe", "Essayer une caméra : ce qu'elle envoie, ou la raison exacte de l'échec.")
def probe(
    context: typer.Context,
    camera: Annotated[
        str, typer.Argument(help=tr("Camera of the register; else --uri.", "Caméra ; sinon --uri."))
    ] = "",
    uri: common.StreamUri = "",
    zone: Annotated[
        str, typer.Option(help=tr("With --uri: where it is to stand.", "Avec --uri : sa zone."))
    ] = "",
    username: Username = "",
    password_file: PasswordFile = None,
    engine: common.Engine = None,
    within: Annotated[
        str, typer.Option(help=tr("How long it may take, 1s to 60s.", "Temps accordé, 1s à 60s."))
    ] = "10s",
) -> None:
    """Connect to a camera and report what it sends, or the exact reason why not (exit code 7)."""
    session = session_of(context)
    timeout = parse_duration(within)
    request = _probe_request(camera, uri, zone, username, password_file, engine)
    request.timeout.FromTimedelta(timeout)
    answer = session.call(
        stub_of(session).ProbeCamera,
        request,
        at_least_seconds=timeout.total_seconds() + _GRACE_SECONDS,
    )
    if session.as_json:
        session.show_json(answer)
    else:
        _show_probe(session, camera or uri, answer)
    if not answer.reachable:
        raise typer.Exit(Exit.CHECK_FAILED)


def _probe_request(
    camera: str, uri: str, zone: str, username: str, password_file: Path | None, engine: str | None
) -> pb.ProbeCameraRequest:
    if bool(camera) == bool(uri):
        raise typer.BadParameter(tr("give a camera or --uri", "donner une caméra ou --uri"))
    if camera:
        if username or password_file is not None:
            raise typer.BadParameter(
                tr("a camera of the register is tried with its own credentials; give --uri to "
                   "try others",
                   "une caméra du registre est essayée avec ses propres identifiants ; donner "
                   "--uri pour d'autres")
            )  # fmt: skip
        return pb.ProbeCameraRequest(name=opt.camera_name(camera))
    if not zone:
        raise typer.BadParameter(tr("--uri needs --zone", "--uri demande --zone"))
    source = pb.ProbeSource(
        stream_uri=without_password(uri),
        zone=resource("zones", zone),
        credentials=common.credentials_of(username, password_file),
        engine=common.engine_of(engine),
    )
    return pb.ProbeCameraRequest(source=source)


def _show_probe(session: Session, what: str, answer: pb.ProbeCameraResponse) -> None:
    if not answer.reachable:
        session.console.print(f"[bold red]✗[/] {answer.cause}")
        session.console.print(f"  {plain(answer.detail)}", markup=False)
        return
    rate = answer.frame_rate_millihertz / 1000
    interval = answer.key_frame_interval.ToTimedelta().total_seconds()
    offset = answer.clock_offset.ToTimedelta().total_seconds()
    session.console.print(f"[bold green]✓[/] {tr('video received', 'vidéo reçue')}")
    show_fields(
        session.console,
        identifier(what) if "://" not in what else what,
        (
            ("codec", answer.codec),
            (tr("picture", "image"), f"{answer.width} x {answer.height}"),
            (tr("rate", "cadence"), f"{rate:.3f} /s" if rate else ""),
            (tr("bit rate", "débit"),
             f"{answer.bit_rate_bps / 1e6:.3f} Mbit/s" if answer.bit_rate_bps else ""),
            (tr("key frames", "images clés"),
             f"{interval:.2f} s" if answer.HasField("key_frame_interval") else ""),
            (tr("clock", "horloge"),
             f"{offset:+.3f} s" if answer.HasField("clock_offset")
             else tr("not told", "non communiquée")),
            (tr("sound", "son"),
             tr("offered, never received", "proposé, jamais reçu") if answer.has_audio else ""),
            (tr("server", "serveur"), answer.server),
        ),
    )  # fmt: skip


@command(app, "watch", "Suivre les caméras : toutes, puis chaque changement.")
def watch(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option(help=tr("End when all are told.", "Finir une fois toutes dites."))
    ] = False,
    resume_token: Annotated[
        str, typer.Option(help=tr("Go on after this token (--json).", "Reprendre après ce jeton."))
    ] = "",
) -> None:
    """Follow the cameras: every one, then every change, until Ctrl-C."""
    session = session_of(context)
    request = pb.WatchCamerasRequest(resume_token=resume_token)
    answers = session.stream(stub_of(session).WatchCameras, request)
    with contextlib.closing(answers):
        for answer in answers:
            if session.as_json:
                session.show_json(answer)
            elif answer.WhichOneof("change") == "camera":
                row = common.camera_row(answer.camera)
                session.console.print(plain("  ".join(row)), markup=False, soft_wrap=True)
            elif answer.WhichOneof("change") == "departed_camera":
                left = tr("has left your zones", "a quitté vos zones")
                session.console.print(
                    plain(f"{identifier(answer.departed_camera)}  {left}"), markup=False
                )
            if once and answer.is_checkpoint:
                return
