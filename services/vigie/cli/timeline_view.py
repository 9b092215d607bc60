"""Draws timelines in the terminal: one bar a camera, then the gaps with their causes."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from vigie.cli.language import tr
from vigie.cli.output import local_time, percent, seconds, show_table
from vigie.common.v1 import types_pb2
from vigie.recording.v1 import recording_pb2 as pb

_STYLES: Final = {
    pb.TIMELINE_ENTRY_KIND_SPAN: ("█", "green"),
    pb.TIMELINE_ENTRY_KIND_GAP: ("░", "red"),
    pb.TIMELINE_ENTRY_KIND_PENDING: ("▒", "yellow"),
    pb.TIMELINE_ENTRY_KIND_FUTURE: (" ", "dim"),
}
_NARROWEST_BAR: Final = 20

CAUSE_TEXTS: Final = {
    "CAMERA_UNREACHABLE": ("camera unreachable", "caméra injoignable"),
    "CREDENTIALS_REFUSED": ("credentials refused", "identifiants refusés"),
    "CAMERA_SILENT": ("camera silent", "caméra muette"),
    "CLOSED_BY_CAMERA": ("closed by the camera", "fermée par la caméra"),
    "PACKETS_LOST": ("packets lost", "paquets perdus"),
    "STREAM_UNSUPPORTED": ("stream unsupported", "flux non pris en charge"),
    "CLOCK_JUMP": ("clock jump", "saut d'horloge"),
    "INGEST_DOWN": ("reception down", "réception arrêtée"),
    "SPOOL_FULL": ("spool full", "disque tampon plein"),
    "STORE_REFUSED": ("store refused", "stockage refusé"),
    "NOT_AUTHORISED": ("not authorised", "non autorisée"),
    "SUSPENDED": ("suspended", "suspendue"),
    "NOT_IN_SERVICE": ("not in service", "hors service"),
    "DESTROYED": ("destroyed", "détruit"),
}


def cause_text(cause: types_pb2.GapCause.ValueType) -> str:
    """A gap cause in the reader's language, with its stable name."""
    name = types_pb2.GapCause.Name(cause).removeprefix("GAP_CAUSE_")
    return f"{name} ({tr(*CAUSE_TEXTS[name])})" if name in CAUSE_TEXTS else name


def draw(
    console: Console, window: types_pb2.TimeWindow, timelines: Sequence[pb.CameraTimeline]
) -> None:
    """Bars of the whole window, then a table of the gaps."""
    begin, end = window.start_time.ToMicroseconds(), window.end_time.ToMicroseconds()
    names = [timeline.camera.removeprefix("cameras/") for timeline in timelines]
    widest = max(map(len, names), default=0)
    width = max(_NARROWEST_BAR, min(console.width, 120) - widest - 12)
    console.print(
        f"{local_time(window.start_time)} → {local_time(window.end_time)}"
        f"  ({seconds(end - begin)})",
        style="bold",
    )
    for name, timeline in zip(names, timelines, strict=True):
        line = Text(f"{name:<{widest}} ")
        line.append_text(_bar(timeline, begin, end, width))
        line.append(f" {_share(timeline):>8}")
        console.print(line)
    legend = Text()
    for kind, words in (
        (pb.TIMELINE_ENTRY_KIND_SPAN, tr("stored", "enregistré")),
        (pb.TIMELINE_ENTRY_KIND_PENDING, tr("being stored", "en cours")),
        (pb.TIMELINE_ENTRY_KIND_GAP, tr("gap", "lacune")),
    ):
        mark, style = _STYLES[kind]
        legend.append(f"{mark} ", style)
        legend.append(f"{words}   ", "dim")
    console.print(legend)
    _gaps(console, timelines)


def _bar(timeline: pb.CameraTimeline, begin: int, end: int, width: int) -> Text:
    """Each cell shows the worst that happens in it: a gap is never drawn over."""
    rank = [
        pb.TIMELINE_ENTRY_KIND_FUTURE,
        pb.TIMELINE_ENTRY_KIND_SPAN,
        pb.TIMELINE_ENTRY_KIND_PENDING,
        pb.TIMELINE_ENTRY_KIND_GAP,
    ]
    cells = [0] * width
    for entry in timeline.entries:
        start = entry.start_time.ToMicroseconds() - begin
        stop = entry.end_time.ToMicroseconds() - begin
        first = start * width // (end - begin)
        last = min(width - 1, max(first, -(-stop * width // (end - begin)) - 1))
        level = rank.index(entry.kind) if entry.kind in rank else 0
        for cell in range(first, last + 1):
            cells[cell] = max(cells[cell], level)
    bar = Text()
    for level in cells:
        bar.append(*_STYLES[rank[level]])
    return bar


def _share(timeline: pb.CameraTimeline) -> str:
    """Stored time in percent of what is past and not pending."""
    sums = dict.fromkeys(_STYLES, 0)
    for entry in timeline.entries:
        length = entry.end_time.ToMicroseconds() - entry.start_time.ToMicroseconds()
        sums[entry.kind] = sums.get(entry.kind, 0) + length
    stored = sums[pb.TIMELINE_ENTRY_KIND_SPAN]
    return percent(stored, stored + sums[pb.TIMELINE_ENTRY_KIND_GAP])


def _gaps(console: Console, timelines: Sequence[pb.CameraTimeline]) -> None:
    rows = [
        (
            timeline.camera.removeprefix("cameras/"),
            local_time(entry.start_time, milliseconds=True),
            seconds(entry.end_time.ToMicroseconds() - entry.start_time.ToMicroseconds()),
            cause_text(entry.cause),
            entry.detail,
        )
        for timeline in timelines
        for entry in timeline.entries
        if entry.kind == pb.TIMELINE_ENTRY_KIND_GAP
    ]
    if rows:
        columns = (
            tr("camera", "caméra"),
            tr("from", "de"),
            tr("duration", "durée"),
            "cause",
            tr("detail", "détail"),
        )
        show_table(console, columns, rows)
