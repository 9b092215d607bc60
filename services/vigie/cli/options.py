"""Options that several commands share."""

from typing import Annotated

import typer

from vigie.cli.arguments import parse_window, resource
from vigie.cli.language import tr
from vigie.common.v1 import types_pb2
from vigie.platform.clock import SystemWallClock, from_us

Camera = Annotated[
    str, typer.Argument(help=tr("Camera, e.g. cam-lagarenne-01.", "Caméra, p. ex. cam-x-01."))
]
From = Annotated[
    str,
    typer.Option(
        "--from",
        help=tr(
            "Begin: 2026-03-01T14:05:00Z, 14:05:00 (local, today), -5m.",
            "Début : 2026-03-01T14:05:00Z, 14:05:00 (heure locale, aujourd'hui), -5m.",
        ),
    ),
]
To = Annotated[
    str,
    typer.Option("--to", help=tr("End: the same, or +30s, or now.", "Fin : idem, +30s, ou now.")),
]
PurposeText = Annotated[
    str,
    typer.Option(
        "--purpose",
        help=tr("Why you look at it; kept on record.", "Motif de la consultation ; tracé."),
    ),
]
Case = Annotated[
    str,
    typer.Option("--case", help=tr("Procedure or incident number.", "Numéro de procédure.")),
]


def window_of(start: str, end: str) -> types_pb2.TimeWindow:
    """The window two options say, now being now."""
    return parse_window(start, end, from_us(SystemWallClock().now_us()))


def purpose_of(text: str, case: str) -> types_pb2.Purpose:
    """The purpose two options say."""
    return types_pb2.Purpose(text=text, case_reference=case)


def camera_name(text: str) -> str:
    """``cameras/{camera}``."""
    return resource("cameras", text)
