"""The schema of the database: brought up to date, or looked at."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from vigie.cli import options as opt
from vigie.cli.commands import command, examples, new_app
from vigie.cli.exits import Exit
from vigie.cli.installation import read_config, telling
from vigie.cli.language import tr
from vigie.cli.output import show_table
from vigie.cli.session import Session, session_of
from vigie.platform.database import DatabaseConfig, MigrationOutcome
from vigie.platform.database.settings import parse_url
from vigie.platform.errors import VigieError
from vigie.platform.reasons import CONFIG_INVALID

app = new_app(
    "The schema of the PostgreSQL database.",
    "Le schéma de la base PostgreSQL.",
    epilog=examples(
        "vigie migrate --administrator postgres --password-file postgres.password",
        "vigie migrate --check",
    ),
)

_REFUSED: Final = frozenset({"28P01", "28000"})
"""SQLSTATE of a password or a role that the server does not take."""
MISSING: Final = "missing"
PENDING: Final = "pending"
CURRENT: Final = "current"
NEWER: Final = "newer"
_FRENCH: Final = {
    MISSING: "absent",
    PENDING: "à faire",
    CURRENT: "à jour",
    NEWER: "plus récent que ce programme",
}


@command(
    app,
    "migrate",
    "Créer ou mettre à jour schémas, rôles, droits et tables de la base PostgreSQL. Se lance avant "
    "les services d'une nouvelle version, pendant que ceux de la précédente tournent ; peut être "
    "relancé sans risque. --check dit seulement ce qui reste à faire (code 7).",
)
def migrate(
    context: typer.Context,
    config: opt.ConfigFile = None,
    check: Annotated[
        bool,
        typer.Option("--check", help=tr("Only say what is pending.", "Dire ce qui reste à faire.")),
    ] = False,
    administrator: Annotated[
        str | None,
        typer.Option(
            envvar="VIGIE_DATABASE_ADMINISTRATOR",
            help=tr(
                "Role that may make roles and schemas; default: the user of database.url.",
                "Rôle autorisé à créer rôles et schémas ; défaut : celui de database.url.",
            ),
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(help=tr("File with its password.", "Fichier de son mot de passe.")),
    ] = None,
) -> None:
    """Make or update schemas, roles, rights and tables of the PostgreSQL database.

    Run it before the services of a new version are started, while those of the version before
    still run; running it again is harmless. --check only says what is pending (exit code 7).
    """
    session = session_of(context)
    with telling():
        section = read_config(config).section(DatabaseConfig)
        if section.url is None:
            _embedded(session)
            return
        role = administrator or parse_url(section.url).user
        if role is None:
            raise typer.BadParameter(
                tr("database.url names no user: give --administrator",
                   "database.url ne nomme personne : donner --administrator")
            )  # fmt: skip
        file = password_file or (section.password_file if administrator is None else None)
        found = asyncio.run(_run(session, section, role, file, check=check))
    pending = _show(session, found, check=check)
    if check and pending:
        raise typer.Exit(Exit.CHECK_FAILED)


async def _run(
    session: Session, section: DatabaseConfig, role: str, file: Path | None, *, check: bool
) -> list[tuple[str, MigrationOutcome]]:
    from vigie.platform.database.postgresql.administration import Administration
    from vigie.schemas import SCHEMAS

    def tell(line: str) -> None:
        session.errors.print(line, markup=False, style="dim")

    administration = Administration(section, role, file, tell=tell)
    try:
        outcomes = await (administration.state if check else administration.apply)(SCHEMAS)
    except VigieError as error:
        if error.metadata.get("code") in _REFUSED:
            # What is wrong is what was said, not the server: trying again does not help.
            raise VigieError(CONFIG_INVALID, error.message) from error
        raise
    schemas = [context for context, chains in SCHEMAS.items() for _ in chains]
    return list(zip(schemas, outcomes, strict=True))


def _embedded(session: Session) -> None:
    """The embedded database belongs to one process, which migrates it when it starts."""
    if session.as_json:
        session.show_json({"embedded": True})
        return
    session.console.print(
        tr("no database.url is set: the embedded database is brought up to date at every start",
           "database.url absent : la base embarquée est mise à jour à chaque démarrage")
    )  # fmt: skip


def standing(outcome: MigrationOutcome, *, check: bool) -> str:
    """Where tables stand: of `schema_state` when ``check``, else of `migrate`."""
    if not check or outcome.before == outcome.after:
        return CURRENT
    if outcome.before is None:
        return MISSING
    assert outcome.after is not None
    return PENDING if outcome.before < outcome.after else NEWER


def _show(
    session: Session, found: list[tuple[str, MigrationOutcome]], *, check: bool
) -> list[MigrationOutcome]:
    """Print what was found; those that are not as this program needs them."""
    columns = (
        tr("schema", "schéma"), tr("tables", "tables"), tr("before", "avant"),
        tr("needed", "requis") if check else tr("now", "maintenant"), tr("state", "état"),
    )  # fmt: skip
    rows, pending = [], []
    for schema, outcome in found:
        state = standing(outcome, check=check)
        if state in {MISSING, PENDING}:
            pending.append(outcome)
        if session.as_json:
            session.show_json(
                {"schema": schema, "tables": outcome.context, "before": outcome.before,
                 "after": outcome.after, "state": state}
            )  # fmt: skip
        rows.append(
            (schema, outcome.context, outcome.before or "-", outcome.after or "-",
             tr(state, _FRENCH[state]))
        )  # fmt: skip
    if not session.as_json:
        show_table(session.console, columns, rows)
    return pending
