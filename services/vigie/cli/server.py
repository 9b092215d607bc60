"""Running the product: `vigie up`, `vigie demo`."""

import asyncio
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vigie.cli.exits import Exit
from vigie.cli.language import tr
from vigie.cli.session import fail, session_of

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", envvar="VIGIE_CONFIG", help=tr("Configuration file.", "Configuration.")
    ),
]


_TARGETS: Final = (
    "all",
    "registry",
    "access",
    "ingest",
    "recording",
    "evidence",
    "audit",
    "gateway",
)
_ADDRESS: Final = r"HOST:PORT"


def up(context: typer.Context, config: ConfigFile = None) -> None:
    """Run the whole product in one process, on embedded defaults, until SIGTERM or Ctrl-C."""
    _run(context, "all", config, {})


def serve(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            help=tr(f"What to run: {', '.join(_TARGETS)}.", f"Cible : {', '.join(_TARGETS)}."),
        ),
    ],
    config: ConfigFile = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar=_ADDRESS,
            help=tr("Address for other services.", "Adresse pour les autres services."),
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar=_ADDRESS,
            help=tr("Address of health and metrics.", "Adresse de santé et de mesures."),
        ),
    ] = None,
) -> None:
    """Run one target as a process: everything, one service, or the gateway to all of them."""
    if target not in _TARGETS:
        close = difflib.get_close_matches(target, _TARGETS, n=1)
        hint = tr(f"; did you mean {close[0]}?", f" ; {close[0]} ?") if close else ""
        known = ", ".join(_TARGETS)
        message = tr(
            f"{target}: no such target{hint} (there are: {known})",
            f"{target} : cible inconnue{hint} (il y a : {known})",
        )
        raise fail(message, Exit.USAGE)
    overrides: dict[str, dict[str, Any]] = {
        "services": {"listen": listen},
        "http": {"listen": http},
    }
    if target == "gateway":
        overrides = {
            "grpc": {"listen": None if listen is None else (listen,)},
            "http": {"listen": http},
        }
    _run(context, target, config, overrides)


def _run(
    context: typer.Context,
    target: str,
    config: Path | None,
    overrides: Mapping[str, Mapping[str, Any]],
) -> None:
    from vigie.serve import run_target

    code = asyncio.run(run_target(target, config, session_of(context).errors, overrides))
    raise typer.Exit(code)


def demo(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Option(help=tr("Where it works; emptied first.", "Dossier ; vidé d'abord."))
    ] = Path("demo-data"),
    stay: Annotated[
        bool | None,
        typer.Option(help=tr("Stay up afterwards (default: in a terminal).", "Rester ensuite.")),
    ] = None,
) -> None:
    """Run the main job with simulated cameras, from first frame to verified evidence."""
    from vigie.demo.story import StageError, run_demo

    try:
        passed = asyncio.run(run_demo(folder, session_of(context).console, stay=stay))
    except StageError as error:
        raise fail(str(error)) from error
    if not passed:
        raise typer.Exit(Exit.CHECK_FAILED)
