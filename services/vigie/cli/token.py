"""Tokens of the embedded development issuer."""

import os
from pathlib import Path
from typing import Annotated

import typer

from vigie.cli import options as opt
from vigie.cli.arguments import parse_duration
from vigie.cli.commands import command, examples, new_app
from vigie.cli.installation import data_directory, read_config, telling
from vigie.cli.language import tr
from vigie.cli.session import session_of

app = new_app(
    "Tokens of the development issuer of this machine.",
    "Jetons de l'émetteur de développement de cette machine.",
    epilog=examples(
        "export VIGIE_TOKEN=$(vigie token create a-martin)",
        "vigie token create a-martin --for 30m --output martin.token",
    ),
)


@command(
    app,
    "create",
    "Créer un jeton pour une personne du fichier des personnes, sans le serveur ; qui peut lire "
    "la clé du répertoire de données peut être n'importe qui.",
)
def create(
    context: typer.Context,
    subject: Annotated[
        str, typer.Argument(help=tr("Person, as in the people file.", "Personne désignée."))
    ],
    duration: Annotated[
        str, typer.Option("--for", help=tr("How long it is good.", "Durée de validité."))
    ] = "8h",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=tr("New file, readable by you only.", "Fichier."))
    ] = None,
    config: opt.ConfigFile = None,
    data: opt.Data = None,
) -> None:  # fmt: skip
    """Create a token for a person of the people file, without the server.

    Whoever can read the key in the data directory can be anybody: for trials and demonstrations.
    """
    from vigie.access.module import development_issuer
    from vigie.access.settings import AccessConfig
    from vigie.platform.clock import SystemWallClock

    session = session_of(context)
    ttl = parse_duration(duration).total_seconds()
    if ttl <= 0:
        raise typer.BadParameter(tr("--for must be longer than nothing", "--for est nul"))
    with telling():
        found = read_config(config, data)
        access = found.section(AccessConfig)
        if not access.development_issuer:
            raise typer.BadParameter(
                tr("this installation does not accept tokens of the development issuer "
                   "(access.development_issuer = false)",
                   "cette installation n'accepte pas les jetons de l'émetteur de développement "
                   "(access.development_issuer = false)")
            )  # fmt: skip
        issuer = development_issuer(access, data_directory(found), SystemWallClock())
        token = issuer.create_token(subject, ttl)
        _warn_unknown(context, access.people_file, subject)
    if output is not None:
        _write(output, token)
        session.errors.print(f"{output}", markup=False)
    elif session.as_json:
        session.show_json({"subject": subject, "token": token, "seconds": round(ttl)})
    else:
        print(token)


def _warn_unknown(context: typer.Context, people_file: Path, subject: str) -> None:
    """Say so when the token will be refused: its subject is not designated."""
    from vigie.access.people import PeopleFileError, parse_people

    errors = session_of(context).errors
    try:
        people = parse_people(people_file.read_text(encoding="utf-8"))
    except OSError as error:
        why = f"{people_file}: {error.strerror}"
    except (PeopleFileError, ValueError) as error:
        why = f"{people_file}: {error}"
    else:
        if subject in people.people:
            return
        why = tr(f"{subject} is not in {people_file}", f"{subject} n'est pas dans {people_file}")
    errors.print(
        tr(f"{why}: the token will be refused", f"{why} : le jeton sera refusé"),
        style="yellow", markup=False, soft_wrap=True,
    )  # fmt: skip


def _write(path: Path, token: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise typer.BadParameter(f"--output {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(token + "\n")
