"""Holds, forecasts of retention, and the register of destructions."""

from typing import Annotated, Any, Final

import typer

from vigie.cli import options as opt
from vigie.cli.arguments import identifier, parse_duration, parse_instant, resource
from vigie.cli.commands import command, examples, new_app
from vigie.cli.language import tr
from vigie.cli.output import local_time, seconds, show_fields, show_table, size
from vigie.cli.resources import completing, enum_of, pages, show_list, words_of
from vigie.cli.session import Session, session_of
from vigie.cli.words import enum_text
from vigie.platform.clock import SystemWallClock, from_us
from vigie.recording.v1 import events_pb2
from vigie.recording.v1 import retention_pb2 as pb
from vigie.recording.v1 import retention_pb2_grpc as pb_grpc

hold_app = new_app(
    "Holds: footage kept for a procedure beyond its retention.",
    "Séquestres : images conservées pour une procédure au-delà de leur durée.",
    epilog=examples("vigie hold list --state pending", "vigie hold get HOLD --wait 30s"),
)
app = new_app(
    "What retention will destroy, and the register of what was destroyed.",
    "Ce que la conservation détruira, et le registre de ce qui fut détruit.",
    epilog=examples(
        "vigie retention preview --at 2026-04-01", "vigie retention destructions --from -7d"
    ),
)

_APPLICATION: Final = "HOLD_APPLICATION_"
_REASON: Final = "DESTRUCTION_REASON_"


def _holds(session: Session) -> Any:
    return session.stub(pb_grpc.HoldServiceStub)


def _retention(session: Session) -> Any:
    return session.stub(pb_grpc.RetentionServiceStub)


def _state(hold: pb.Hold) -> str:
    return enum_text(pb.HoldApplication, hold.state, _APPLICATION)


@command(hold_app, "get", "Montrer un séquestre ; peut attendre qu'il soit appliqué.")
def get_hold(
    context: typer.Context,
    hold: Annotated[str, typer.Argument(help=tr("Hold (its identifier).", "Séquestre."))],
    wait: Annotated[
        str, typer.Option(help=tr("Wait until applied, up to 30s.", "Attendre, 30s au plus."))
    ] = "",
) -> None:
    """Show a hold; may wait until it is applied."""
    session = session_of(context)
    request = pb.GetHoldRequest(name=resource("holds", hold))
    longest = 0.0
    if wait:
        request.wait.FromTimedelta(parse_duration(wait))
        longest = parse_duration(wait).total_seconds() + 15
    found = session.call(_holds(session).GetHold, request, at_least_seconds=longest)
    if session.as_json:
        session.show_json(found)
        return
    held = f"{found.held_object_count} / {found.object_count}  {size(found.held_size_bytes)}"
    show_fields(
        session.console,
        found.name,
        (
            (tr("state", "état"), _state(found)),
            (tr("problem", "empêchement"), found.problem),
            (tr("cameras", "caméras"), ", ".join(identifier(each) for each in found.cameras)),
            (tr("window", "période"),
             f"{local_time(found.window.start_time)} → {local_time(found.window.end_time)}"),
            (tr("objects", "objets"), held),
            (tr("reference", "référence"), found.legal_reference),
            (tr("request", "demande"), identifier(found.evidence_request)),
            (tr("placed", "placé"), local_time(found.place_time)),
            (tr("applied", "appliqué"), local_time(found.apply_time)),
            (tr("released", "levé"), local_time(found.release_time)),
        ),
    )  # fmt: skip


@command(hold_app, "list", "Lister les séquestres, les plus récents d'abord.")
def list_holds(
    context: typer.Context,
    state: Annotated[
        str,
        typer.Option(
            help=", ".join(words_of(pb.HoldApplication, _APPLICATION)),
            autocompletion=completing(pb.HoldApplication, _APPLICATION),
        ),
    ] = "",
    limit: opt.Limit = 0,
) -> None:
    """List holds, newest first."""
    session = session_of(context)
    request = pb.ListHoldsRequest()
    if state:
        request.state = enum_of(pb.HoldApplication, _APPLICATION, state)
    columns = (
        tr("hold", "séquestre"), tr("state", "état"), tr("cameras", "caméras"),
        tr("from", "de"), tr("to", "à"), tr("objects", "objets"), tr("reference", "référence"),
    )  # fmt: skip
    show_list(
        session,
        pages(session, _holds(session).ListHolds, request, "holds", limit),
        columns,
        lambda each: (
            identifier(each.name),
            _state(each),
            ", ".join(identifier(camera) for camera in each.cameras),
            local_time(each.window.start_time),
            local_time(each.window.end_time),
            f"{each.held_object_count} / {each.object_count}",
            each.legal_reference,
        ),
    )


@command(app, "preview", "Ce que la conservation détruirait ; ne détruit rien.")
def preview(
    context: typer.Context,
    cameras: Annotated[
        list[str] | None, typer.Argument(help=tr("Cameras; default: all.", "Caméras."))
    ] = None,
    at: Annotated[
        str, typer.Option(help=tr("The instant to compute for.", "L'instant considéré."))
    ] = "",
) -> None:
    """What a run of retention would destroy; destroys nothing."""
    session = session_of(context)
    request = pb.PreviewRetentionRequest(
        cameras=[opt.camera_name(camera) for camera in cameras or []]
    )
    if at:
        request.time.FromDatetime(parse_instant(at, from_us(SystemWallClock().now_us())))
    answer = session.call(_retention(session).PreviewRetention, request)
    if session.as_json:
        session.show_json(answer)
        return
    columns = (
        tr("camera", "caméra"), tr("objects", "objets"), tr("size", "taille"),
        tr("oldest", "le plus ancien"), tr("newest", "le plus récent"), tr("held", "séquestre"),
        tr("next expiry", "prochaine échéance"),
    )  # fmt: skip
    rows = [
        (
            identifier(each.camera),
            str(each.object_count),
            size(each.size_bytes),
            local_time(each.oldest_time),
            local_time(each.newest_time),
            str(each.held_object_count),
            local_time(each.next_expiry_time),
        )
        for each in answer.forecasts
    ]
    show_table(session.console, columns, rows, title=local_time(answer.time))


@command(app, "destructions", "Le registre des destructions, par date des images.")
def destructions(
    context: typer.Context,
    camera: Annotated[str, typer.Option(help=tr("Only this camera.", "Cette caméra."))] = "",
    start: opt.From = "",
    end: opt.To = "now",
    limit: opt.Limit = 0,
) -> None:
    """The register of destructions, by start of the footage."""
    session = session_of(context)
    request = pb.ListDestructionsRequest(camera=opt.camera_name(camera) if camera else "")
    if start:
        request.window.CopyFrom(opt.window_of(start, end))
    columns = (
        tr("camera", "caméra"), tr("from", "de"), tr("duration", "durée"), tr("reason", "motif"),
        tr("destroyed", "détruit"),
    )  # fmt: skip
    found = pages(session, _retention(session).ListDestructions, request, "destructions", limit)
    show_list(session, found, columns, _destruction_row)


def _destruction_row(each: pb.Destruction) -> tuple[str, ...]:
    reason = enum_text(events_pb2.DestructionReason, each.reason, _REASON)
    long_ago = tr("more than three months ago", "il y a plus de trois mois")
    return (
        identifier(each.camera),
        local_time(each.start_time),
        seconds(each.end_time.ToMicroseconds() - each.start_time.ToMicroseconds()),
        f"{reason}: {each.basis}" if each.basis else reason,
        long_ago if each.last_number else local_time(each.destroy_time),
    )
