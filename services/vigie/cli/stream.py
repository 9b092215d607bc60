"""Reception of the cameras: what each stream is doing now."""

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from vigie.cli import options as opt
from vigie.cli.commands import command, examples, new_app
from vigie.cli.language import tr
from vigie.cli.output import local_time, plain, show_fields
from vigie.cli.resources import completing, enum_of, pages, show_list, words_of
from vigie.cli.session import Session, session_of
from vigie.cli.timeline_view import cause_text
from vigie.cli.words import enum_text
from vigie.common.v1 import types_pb2
from vigie.ingest.v1 import events_pb2
from vigie.ingest.v1 import streams_pb2 as pb
from vigie.ingest.v1 import streams_pb2_grpc as pb_grpc

app = new_app(
    "Reception of the cameras now.",
    "Réception des caméras en ce moment.",
    epilog=examples("vigie stream list --state waiting", "vigie --json stream watch"),
)

_STATE: Final = "STREAM_STATE_"
Cameras = Annotated[
    list[str] | None, typer.Argument(help=tr("Cameras; default: all.", "Caméras ; défaut : tout."))
]


def _stub(session: Session) -> Any:
    return session.stub(pb_grpc.StreamServiceStub)


def _camera(stream: pb.Stream) -> str:
    return stream.name.removeprefix("cameras/").removesuffix("/stream")


def _cause(stream: pb.Stream) -> str:
    return cause_text(stream.cause) if stream.cause != types_pb2.GAP_CAUSE_UNSPECIFIED else ""


def _state(stream: pb.Stream) -> str:
    state = enum_text(events_pb2.StreamState, stream.state, _STATE)
    return f"{state} ({tr('stale', 'périmé')})" if stream.stale else state


def _rates(stream: pb.Stream) -> str:
    if not stream.width:
        return ""
    rate, bits = stream.frame_rate_millihertz / 1000, stream.bit_rate_bps / 1e6
    return f"{stream.width}x{stream.height} {rate:.3g}/s {bits:.2f} Mbit/s"


def _row(stream: pb.Stream) -> Sequence[str]:
    told = "  ".join(filter(None, (_cause(stream), stream.detail)))
    return (
        _camera(stream), _state(stream), local_time(stream.last_frame_time), _rates(stream), told,
    )  # fmt: skip


@command(app, "get", "Montrer la réception d'une caméra.")
def get(context: typer.Context, camera: opt.Camera) -> None:
    """Show the reception of one camera."""
    session = session_of(context)
    request = pb.GetStreamRequest(name=f"{opt.camera_name(camera).removesuffix('/stream')}/stream")
    found = session.call(_stub(session).GetStream, request)
    if session.as_json:
        session.show_json(found)
        return
    offset = found.camera_clock_offset_us / 1e6
    show_fields(
        session.console,
        found.name,
        (
            (tr("state", "état"), _state(found)),
            ("cause", _cause(found)),
            (tr("detail", "détail"), found.detail),
            (tr("attempts", "essais"), str(found.failed_attempts or "")),
            (tr("last frame", "dernière image"),
             local_time(found.last_frame_time, milliseconds=True)),
            ("run", found.run),
            (tr("run began", "début"), local_time(found.run_start_time, milliseconds=True)),
            ("codec", found.codec),
            (tr("picture", "image"), _rates(found)),
            (tr("camera clock", "horloge caméra"),
             f"{offset:+.3f} s" if found.has_camera_clock else ""),
            ("instance", found.instance),
            (tr("as of", "au"), local_time(found.update_time)),
        ),
    )  # fmt: skip


@command(app, "list", "Lister la réception des caméras.")
def list_streams(
    context: typer.Context,
    cameras: Cameras = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help=", ".join(words_of(events_pb2.StreamState, _STATE)),
            autocompletion=completing(events_pb2.StreamState, _STATE),
        ),
    ] = None,
    limit: opt.Limit = 0,
) -> None:
    """List the reception of cameras."""
    session = session_of(context)
    request = pb.ListStreamsRequest(
        cameras=[opt.camera_name(camera) for camera in cameras or []],
        states=[enum_of(events_pb2.StreamState, _STATE, word) for word in state or []],
    )
    found = pages(session, _stub(session).ListStreams, request, "streams", limit)
    columns = (
        tr("camera", "caméra"), tr("state", "état"), tr("last frame", "dernière image"),
        tr("picture", "image"), "cause",
    )  # fmt: skip
    show_list(session, found, columns, _row)


@command(app, "watch", "Suivre la réception : l'état de toutes, puis chaque changement.")
def watch(
    context: typer.Context,
    cameras: Cameras = None,
    once: Annotated[
        bool, typer.Option(help=tr("End when all are told.", "Finir une fois toutes dites."))
    ] = False,
    heartbeats: Annotated[
        bool, typer.Option(help=tr("Also what has not changed.", "Aussi l'inchangé."))
    ] = False,
    resume_token: Annotated[
        str, typer.Option(help=tr("Go on after this token (--json).", "Reprendre après ce jeton."))
    ] = "",
) -> None:
    """Follow the reception: the state of all, then every change, until Ctrl-C."""
    session = session_of(context)
    request = pb.WatchStreamsRequest(
        cameras=[opt.camera_name(camera) for camera in cameras or []],
        resume_token=resume_token,
        include_heartbeats=heartbeats,
    )
    answers = session.stream(_stub(session).WatchStreams, request)
    with contextlib.closing(answers):
        for answer in answers:
            if session.as_json:
                session.show_json(answer)
            elif answer.HasField("stream"):
                line = "  ".join((local_time(answer.stream.update_time), *_row(answer.stream)))
                session.console.print(plain(line), markup=False, soft_wrap=True)
            if once and answer.is_checkpoint:
                return
