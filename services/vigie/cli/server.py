"""Running the product: `vigie up`, `vigie demo`."""

import asyncio
from pathlib import Path
from typing import Annotated

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


def up(context: typer.Context, config: ConfigFile = None) -> None:
    """Run the whole product in one process, on embedded defaults, until SIGTERM or Ctrl-C."""
    from vigie.serve import run_all

    code = asyncio.run(run_all(config, session_of(context).errors))
    raise typer.Exit(code)


def serve(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help=tr("What to run: all.", "Cible : all."))],
    config: ConfigFile = None,
) -> None:
    """Run one target as a process. All contexts live in the target `all` for now."""
    if target != "all":
        message = tr(
            f"{target}: no such target; the only one is all (contexts do not run apart yet)",
            f"{target} : cible inconnue ; la seule est all (pas encore de contextes séparés)",
        )
        raise fail(message, Exit.USAGE)
    up(context, config)


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
