"""Options that several commands share."""

from pathlib import Path
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


Etag = Annotated[
    str,
    typer.Option(help=tr("Only if it is still this version.", "Seulement si version inchangée.")),
]
RequestId = Annotated[
    str,
    typer.Option(help=tr("UUID; repeating the call is harmless.", "UUID ; répétition sans effet.")),
]
Limit = Annotated[
    int,
    typer.Option(min=0, help=tr("At most this many; 0: all.", "Au plus ce nombre ; 0 : tout.")),
]
Reason = Annotated[
    str,
    typer.Option(help=tr("Why; kept in the history.", "Motif ; conservé dans l'historique.")),
]
DisplayName = Annotated[
    str | None, typer.Option("--name", help=tr("Name for people.", "Nom affiché."))
]
Description = Annotated[
    str | None, typer.Option(help=tr("Free text; '' clears it.", "Texte libre ; '' efface."))
]
Position = Annotated[
    str | None,
    typer.Option(
        metavar="LAT,LON",
        help=tr("WGS 84 degrees, e.g. 45.79,3.11.", "Degrés WGS 84, p. ex. 45.79,3.11."),
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help=tr(
            "Data directory; default: as configured.", "Répertoire de données ; défaut : configuré."
        ),
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="VIGIE_CONFIG",
        help=tr("Configuration file (TOML).", "Fichier de configuration (TOML)."),
    ),
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
