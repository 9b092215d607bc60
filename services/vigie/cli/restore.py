"""After a restore of services apart: the event log and the databases brought to agree."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from vigie.cli import options as opt
from vigie.cli.commands import command, examples, new_app
from vigie.cli.exits import Exit
from vigie.cli.installation import read_config, telling
from vigie.cli.language import tr
from vigie.cli.onrecord import record_locally
from vigie.cli.output import show_table
from vigie.cli.session import Session, session_of
from vigie.restoring import (
    Behind,
    Refilled,
    bring_forward,
    look_back,
    open_restored,
    refill,
)

app = new_app(
    "After a restore on Kafka and PostgreSQL: the log and the databases brought to agree. Every "
    "service must be stopped. Without --apply nothing is changed.",
    "Après une restauration sur Kafka et PostgreSQL : accorder le journal et les bases. Tous les "
    "services doivent être arrêtés. Sans --apply, rien n'est modifié.",
    epilog=examples(
        "vigie restore databases --config vigie.toml",
        "vigie restore databases --apply --reason 'copie du 12 mai' --config vigie.toml",
        "vigie restore log --apply --reason 'perte du cluster' --config vigie.toml",
    ),
)

Apply = Annotated[bool, typer.Option("--apply", help=tr("Do it.", "Le faire."))]
Why = Annotated[str, typer.Option("--reason", help=tr("Why; kept on record.", "Motif ; consigné."))]


@command(
    app,
    "log",
    "Le journal est perdu, ses sujets sont neufs : leur redire ce que savent les bases, puis faire "
    "reprendre les lecteurs au début. Code 7 s'il reste à faire.",
)
def log(
    context: typer.Context, apply: Apply = False, reason: Why = "", config: opt.ConfigFile = None
) -> None:
    """The log is lost, its topics are new: tell them what the databases know (exit code 7).

    Consumers begin at the beginning of the new topics. May be repeated, also after it broke off.
    Code 7: something is to be told, and --apply was not given.
    """
    session = session_of(context)
    _needs_reason(apply=apply, reason=reason)
    with telling():
        found = asyncio.run(_log(config, reason if apply else None))
    _show_log(session, found, applied=apply)
    if not apply and any(each.told for each in found):
        raise typer.Exit(Exit.CHECK_FAILED)


async def _log(config_file: Path | None, reason: str | None) -> list[Refilled]:
    async with open_restored(read_config(config_file)) as restored:
        if reason is not None:
            await record_locally(restored.event_log, restored.clock, "restore/log", ["log"], reason)
        return await refill(restored, apply=reason is not None)


def _show_log(session: Session, found: list[Refilled], *, applied: bool) -> None:
    if session.as_json:
        for each in found:
            session.show_json(
                {"topic": each.topic, "found": each.found, "missing": each.told,
                 "told": each.told if applied else 0}
            )  # fmt: skip
        return
    last = tr("told", "redits") if applied else tr("would be told", "à redire")
    columns = (tr("topic", "sujet"), tr("events found", "événements trouvés"), last)
    rows = [(each.topic, str(each.found), str(each.told)) for each in found]
    show_table(session.console, columns, rows)


@command(
    app,
    "databases",
    "Les bases sont plus anciennes que le journal : montrer ce qu'elles ne savent plus, et faire "
    "que la prochaine parole du registre soit la plus récente. Code 7 s'il reste à faire.",
)
def databases(
    context: typer.Context, apply: Apply = False, reason: Why = "", config: opt.ConfigFile = None
) -> None:
    """The databases are older than the log: show what they know no more (exit code 7).

    With --apply the next change of a camera in the registry counts as the newest again, and what
    the log has already is not published a second time. What the log says of a camera stays in
    force until somebody changes the camera. Code 7: something is to be done, by this or by people.
    """
    session = session_of(context)
    _needs_reason(apply=apply, reason=reason)
    with telling():
        behind = asyncio.run(_databases(config, reason if apply else None))
    _show_behind(session, behind)
    lost = any(own is None for own, _ in behind.cameras.values()) or behind.holds
    if lost or (not apply and (behind.cameras or behind.published)):
        raise typer.Exit(Exit.CHECK_FAILED)


async def _databases(config_file: Path | None, reason: str | None) -> Behind:
    async with open_restored(read_config(config_file)) as restored:
        behind = await look_back(restored)
        if reason is not None:
            names = [f"cameras/{camera}" for camera in behind.cameras] or ["databases"]
            await record_locally(
                restored.event_log, restored.clock, "restore/databases", names, reason
            )
            await bring_forward(restored, behind)
        return behind


def _show_behind(session: Session, behind: Behind) -> None:
    rows = [
        (
            f"cameras/{camera}",
            tr("not in the registry", "absente du registre")
            if own is None
            else tr(f"revision {own}", f"révision {own}"),
            tr(f"revision {newest}", f"révision {newest}"),
            tr("create it anew, then run this again", "la recréer, puis relancer ceci")
            if own is None
            else tr("enter the changes since the copy", "ressaisir les changements"),
        )
        for camera, (own, newest) in behind.cameras.items()
    ]
    rows += [
        (
            f"holds/{hold}",
            tr("no request", "aucune demande"),
            tr("in force", "en vigueur"),
            tr("ask who requested it", "demander à qui l'a requis"),
        )
        for hold in behind.holds
    ]
    outbox = sum(map(len, behind.published.values()))
    if session.as_json:
        session.show_json(
            {
                "cameras": [
                    {"camera": camera, "registry_revision": own, "log_revision": newest}
                    for camera, (own, newest) in behind.cameras.items()
                ],
                "holds": behind.holds,
                "published_already": outbox,
            }
        )
        return
    columns = (tr("what", "quoi"), tr("databases", "bases"), tr("log", "journal"), "→")
    if rows:
        show_table(session.console, columns, rows)
    if outbox:
        text = tr(f"{outbox} events wait that the log has already",
                  f"{outbox} événements en attente que le journal a déjà")  # fmt: skip
        session.console.print(text)
    if not rows and not outbox:
        agreed = tr("the databases know all that was told", "les bases savent tout ce qui fut dit")
        session.console.print(agreed)


def _needs_reason(*, apply: bool, reason: str) -> None:
    if apply and not reason:
        raise typer.BadParameter(
            tr("--apply needs --reason: it is put on record", "--apply demande --reason : consigné")
        )
