"""The configuration: what is in force, whether it is right, what there is to set."""

import os
from typing import Annotated, Any

import typer

from vigie.cli import options as opt
from vigie.cli.commands import command, examples, new_app
from vigie.cli.exits import Exit
from vigie.cli.installation import read_config, telling
from vigie.cli.language import tr
from vigie.cli.session import Session, session_of
from vigie.platform.config import Config, ConfigError, load_config, reference, render

app = new_app(
    "The configuration: one TOML file and the environment.",
    "La configuration : un fichier TOML et l'environnement.",
    epilog=examples(
        "vigie config check --config vigie.toml",
        "VIGIE_GRPC__LISTEN='[\"0.0.0.0:7443\"]' vigie config show",
    ),
)


@command(app, "show", "Ce qui est en vigueur, chaque clé avec son origine ; sans les secrets.")
def show(context: typer.Context, config: opt.ConfigFile = None) -> None:
    """What is in force, each key with where it was set; secrets are not shown."""
    session = session_of(context)
    with telling():
        found = read_config(config)
    if session.as_json:
        session.show_json(_document(found))
    else:
        print(render(found), end="")


def _document(found: Config) -> dict[str, Any]:
    sections = {name: part.model_dump(mode="json") for name, part in found.sections.items()}
    return {"sections": sections, "origins": dict(found.origins)}


@command(app, "check", "Vérifier ; dit chaque erreur, où, et comment la corriger (code 7).")
def check(
    context: typer.Context,
    config: opt.ConfigFile = None,
    strict: Annotated[
        bool, typer.Option(help=tr("Doubts are mistakes.", "Les doutes sont des erreurs."))
    ] = False,
) -> None:
    """Check it; says each mistake, where it is and how to mend it (exit code 7)."""
    from vigie.app import SECTIONS

    session = session_of(context)
    try:
        found = load_config(config, SECTIONS, os.environ)
    except ConfigError as error:
        _tell(session, "error", [str(problem) for problem in error.problems], "red")
        raise typer.Exit(Exit.CHECK_FAILED) from error
    doubts = [str(suspicion) for suspicion in found.suspicions]
    _tell(session, "doubt", doubts, "yellow")
    if doubts and strict:
        raise typer.Exit(Exit.CHECK_FAILED)
    if not session.as_json:
        name = str(config) if config else tr("defaults and environment", "défauts, environnement")
        session.console.print(f"[bold green]✓[/] {tr('valid', 'valide')}: ", end="")
        session.console.print(name, markup=False)
    elif not doubts:
        session.show_json({"level": "valid", "message": ""})


def _tell(session: Session, level: str, lines: list[str], style: str) -> None:
    for line in lines:
        if session.as_json:
            session.show_json({"level": level, "message": line})
        else:
            session.console.print(line, style=style, markup=False, soft_wrap=True)


@command(app, "reference", "Toutes les clés : type, unité, valeur par défaut, sens (Markdown).")
def show_reference() -> None:
    """Every key: type, unit, default, meaning (Markdown)."""
    from vigie.app import SECTIONS

    print(reference(SECTIONS), end="")
