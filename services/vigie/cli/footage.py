"""Timelines, completeness, playback, clips, snapshots, live pictures."""

import contextlib
from pathlib import Path
from typing import IO, Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from vigie.cli import options as opt
from vigie.cli.arguments import parse_duration, parse_instant
from vigie.cli.commands import command, new_app
from vigie.cli.exits import Exit
from vigie.cli.files import check_new, writing
from vigie.cli.language import tr
from vigie.cli.output import local_time, percent, seconds, show_table, size
from vigie.cli.session import Session, session_of
from vigie.cli.timeline_view import cause_text, draw
from vigie.ingest.v1 import live_pb2, live_pb2_grpc
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock, from_us
from vigie.recording.v1 import playback_pb2, playback_pb2_grpc, recording_pb2, recording_pb2_grpc

app = new_app("Footage.", "Images.")
Output = Annotated[
    Path,
    typer.Option("--output", "-o", help=tr("File to write; - : standard output.", "Fichier.")),
]
Cameras = Annotated[list[str], typer.Argument(help=tr("Cameras.", "Caméras."))]


@command(app, "timeline", "Ce qui est enregistré, et ce qui manque avec sa cause.")
def timeline(
    context: typer.Context,
    cameras: Cameras,
    start: opt.From = "-1h",
    end: opt.To = "now",
    resolution: Annotated[
        str, typer.Option(help=tr("Merge what is shorter, e.g. 10s.", "Fusionner en deçà de 10s."))
    ] = "",
) -> None:
    """What is recorded, and what is missing with its cause."""
    session = session_of(context)
    window = opt.window_of(start, end)
    request = recording_pb2.GetTimelineRequest(
        cameras=[opt.camera_name(camera) for camera in cameras], window=window
    )
    if resolution:
        request.resolution.FromTimedelta(parse_duration(resolution))
    stub = session.stub(recording_pb2_grpc.RecordingServiceStub)
    merged: dict[str, recording_pb2.CameraTimeline] = {}
    while True:
        answer = session.call(stub.GetTimeline, request)
        if session.as_json:
            session.show_json(answer)
        for found in answer.timelines:
            known = merged.setdefault(
                found.camera, recording_pb2.CameraTimeline(camera=found.camera)
            )
            known.entries.extend(found.entries)
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    if not session.as_json:
        draw(session.console, window, list(merged.values()))


@command(app, "completeness", "Durées attendues, présentes et manquantes, par caméra et zone.")
def completeness(
    context: typer.Context,
    cameras: Annotated[
        list[str] | None,
        typer.Argument(help=tr("Cameras; default: all.", "Caméras ; défaut : toutes.")),
    ] = None,
    zone: Annotated[list[str] | None, typer.Option(help=tr("Whole zones.", "Zones."))] = None,
    start: opt.From = "-24h",
    end: opt.To = "now",
) -> None:
    """Expected, stored and missing seconds, by camera and zone."""
    session = session_of(context)
    stub = session.stub(recording_pb2_grpc.RecordingServiceStub)
    request = recording_pb2.GetCompletenessRequest(
        cameras=[opt.camera_name(camera) for camera in cameras or []],
        zones=[name if "/" in name else f"zones/{name}" for name in zone or []],
        window=opt.window_of(start, end),
    )
    answer = session.call(stub.GetCompleteness, request)
    if session.as_json:
        session.show_json(answer)
        return
    rows = []
    for line in (*answer.zones, *answer.cameras):
        expected, stored = line.expected.ToMicroseconds(), line.stored.ToMicroseconds()
        causes = ", ".join(
            f"{cause_text(each.cause)} {seconds(each.duration.ToMicroseconds())}"
            for each in (*line.missing, *line.excluded)
        )
        share = percent(stored, expected, 3)
        rows.append((line.name, share, seconds(stored), seconds(expected), causes))
    names = (tr("name", "nom"), "%", tr("stored", "présent"), tr("expected", "attendu"), "causes")
    show_table(session.console, names, rows)


@command(app, "segments", "Les segments enregistrés d'une caméra, avec leurs empreintes.")
def segments(
    context: typer.Context, camera: opt.Camera, start: opt.From = "-1h", end: opt.To = "now"
) -> None:
    """The stored segments of a camera, with their digests."""
    session = session_of(context)
    stub = session.stub(recording_pb2_grpc.RecordingServiceStub)
    request = recording_pb2.ListSegmentsRequest(
        camera=opt.camera_name(camera), window=opt.window_of(start, end), page_size=500
    )
    rows: list[tuple[str, ...]] = []
    while True:
        answer = session.call(stub.ListSegments, request)
        for each in answer.segments:
            if session.as_json:
                session.show_json(each)
            rows.append(
                (local_time(each.start_time, milliseconds=True), each.object_key,
                 size(each.size_bytes), each.sha256[:16] + "…", str(len(each.holds)))
            )  # fmt: skip
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    if not session.as_json:
        show_table(session.console, (tr("start", "début"), "object", "", "SHA-256", "holds"), rows)


@command(app, "play", "Lire les images enregistrées dans un fichier ; dit séquences et lacunes.")
def play(
    context: typer.Context,
    camera: opt.Camera,
    output: Output,
    start: opt.From = "-1m",
    end: opt.To = "now",
    purpose: opt.PurposeText = "",
    case: opt.Case = "",
) -> None:
    """Stream stored footage into a file as it is stored; tells runs and gaps on the way.

    Exit code 4, and no file, when nothing is stored of this window.
    """
    session = session_of(context)
    window = opt.window_of(start, end)
    stub = session.stub(playback_pb2_grpc.PlaybackServiceStub)
    request = playback_pb2.PlayRequest(
        camera=opt.camera_name(camera),
        start_time=window.start_time,
        end_time=window.end_time,
        purpose=opt.purpose_of(purpose, case),
    )
    check_new(output)
    with contextlib.ExitStack() as files:
        stream: IO[bytes] | None = None
        for message in session.stream(stub.Play, request):
            kind = message.WhichOneof("payload")
            if kind == "header":
                # Not before: a file without footage would be in the way of the next attempt.
                stream = stream or files.enter_context(writing(output))
                stream.write(message.header.initialization)
                _note(session, f"run {message.header.run} {message.header.codec}")
            elif kind == "fragment" and stream is not None:
                stream.write(message.fragment.data)
            elif kind == "gap":
                length = _length(message.gap.start_time, message.gap.end_time)
                _note(session, f"{tr('gap', 'lacune')} {length} {cause_text(message.gap.cause)}")
            elif kind == "end":
                _note(session, f"{message.end.fragment_count} fragments, "
                               f"{size(message.end.size_bytes)}")  # fmt: skip
    if stream is None:
        _note(session, tr("nothing is stored of this window",
                          "rien n'est enregistré pour cette période"))  # fmt: skip
        raise typer.Exit(Exit.NOT_FOUND)


@command(
    app, "clip", "Enregistrer un MP4 d'exactement cette période (plusieurs si le codec change)."
)
def clip(
    context: typer.Context,
    camera: opt.Camera,
    output: Output,
    start: opt.From = "-1m",
    end: opt.To = "now",
    purpose: opt.PurposeText = "",
    case: opt.Case = "",
) -> None:
    """Save one playable MP4 of exactly this window (several when the codec changed in it)."""
    session = session_of(context)
    stub = session.stub(playback_pb2_grpc.PlaybackServiceStub)
    request = playback_pb2.GetClipRequest(
        camera=opt.camera_name(camera),
        window=opt.window_of(start, end),
        purpose=opt.purpose_of(purpose, case),
    )
    check_new(output)
    with contextlib.ExitStack() as files:
        stream: IO[bytes] | None = None
        for message in session.stream(stub.GetClip, request):
            kind = message.WhichOneof("payload")
            if kind == "file":
                number = message.file.number
                path = output if number == 0 else output.with_stem(f"{output.stem}-{number}")
                stream = files.enter_context(writing(path))
                begins = local_time(message.file.start_time, milliseconds=True)
                _note(session, f"{path}  {size(message.file.size_bytes)}  {begins}")
            elif kind == "data" and stream is not None:
                stream.write(message.data)
            elif kind == "file_end":
                _note(session, f"SHA-256 {message.file_end.sha256}")
            elif kind == "end" and session.as_json:
                session.show_json(message.end)


@command(app, "snapshot", "Enregistrer en JPEG l'image visible à un instant.")
def snapshot(
    context: typer.Context,
    camera: opt.Camera,
    output: Output,
    at: Annotated[str, typer.Option(help=tr("Instant.", "Instant."))] = "-1m",
    width: Annotated[int, typer.Option(help=tr("Greatest width.", "Largeur maximale."))] = 0,
    purpose: opt.PurposeText = "",
    case: opt.Case = "",
) -> None:
    """Save the picture that was on display at an instant as a JPEG."""
    session = session_of(context)
    stub = session.stub(playback_pb2_grpc.PlaybackServiceStub)
    request = playback_pb2.GetSnapshotRequest(
        camera=opt.camera_name(camera), max_width=width, purpose=opt.purpose_of(purpose, case)
    )
    request.time.FromDatetime(parse_instant(at, from_us(SystemWallClock().now_us())))
    check_new(output)
    answer = session.call(stub.GetSnapshot, request)
    with writing(output) as stream:
        stream.write(answer.image)
    if session.as_json:
        answer.image = b""
        session.show_json(answer)
    else:
        _note(session, f"{output}  {answer.width} x {answer.height}  "
                       f"{local_time(answer.frame_time, milliseconds=True)}")  # fmt: skip


@command(
    app, "live", "Voir en direct : MP4 fragmenté vers un fichier ou un lecteur (-o - | ffplay -)."
)
def live(
    context: typer.Context,
    camera: opt.Camera,
    output: Output,
    duration: Annotated[
        str, typer.Option("--for", help=tr("Stop after, e.g. 30s.", "Arrêter après, p. ex. 30s."))
    ] = "",
    purpose: opt.PurposeText = "",
    case: opt.Case = "",
) -> None:
    """Watch live: fragmented MP4 into a file or a player (-o - | ffplay -)."""
    session = session_of(context)
    stub = session.stub(live_pb2_grpc.LiveServiceStub)
    request = live_pb2.WatchLiveRequest(
        camera=opt.camera_name(camera), purpose=opt.purpose_of(purpose, case)
    )
    clock = SystemMonotonicClock()
    limit_us = parse_duration(duration).total_seconds() * 1e6 if duration else None
    begun_us = clock.now_us()
    with (
        writing(output) as stream,
        contextlib.closing(session.stream(stub.WatchLive, request)) as (messages),
    ):
        for message in messages:
            kind = message.WhichOneof("message")
            if kind in {"header", "chunk"}:
                stream.write(getattr(message, kind).data)
                stream.flush()
            elif kind == "skipped":
                _note(session, f"{tr('skipped', 'images sautées')} {message.skipped.frame_count}")
            elif kind == "state":
                _note(session, f"{message.state.detail} {cause_text(message.state.cause)}")
            whole = kind != "chunk" or not message.chunk.more
            if limit_us is not None and whole and clock.now_us() - begun_us >= limit_us:
                return


def _length(start: Timestamp, end: Timestamp) -> str:
    return seconds(end.ToMicroseconds() - start.ToMicroseconds())


def _note(session: Session, text: str) -> None:
    """For people only, and never into the footage."""
    if not session.as_json:
        session.errors.print(text, markup=False)
