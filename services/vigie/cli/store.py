"""The object store: making its bucket, and looking whether it does what footage needs."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from vigie.cli import options as opt
from vigie.cli.commands import command, examples, new_app
from vigie.cli.exits import Exit
from vigie.cli.installation import telling
from vigie.cli.language import tr
from vigie.cli.output import show_table
from vigie.cli.session import Session, session_of
from vigie.platform.clock import SystemWallClock, WallClock
from vigie.platform.config import ConfigSection, load_config
from vigie.platform.objectstore.s3.settings import S3Config

if TYPE_CHECKING:
    from vigie.platform.objectstore.s3.bucket import BucketReport
    from vigie.platform.objectstore.s3.requests import Requests

app = new_app(
    "The object store (S3).",
    "Le stockage d'objets (S3).",
    epilog=examples("vigie store init --config vigie.toml", "vigie --json store check"),
)
_FRENCH: Final = {
    "clock": "horloge",
    "versioning": "versions",
    "default-retention": "rétention par défaut",
    "object-lock": "verrou d'objet",
    "conditional-writes": "écritures conditionnelles",
    "checksums": "sommes de contrôle",
    "listing-order": "ordre des listes",
    "listing-attributes": "attributs des listes",
    "lifecycle": "cycle de vie",
    "encryption": "chiffrement",
}
_STATES: Final = {"ok": "ok", "missing": "manque", "degraded": "dégradé", "unknown": "inconnu"}


@command(
    app,
    "check",
    "Essayer ce que le stockage S3 sait faire ; code 7 s'il manque ce qu'il faut aux images.",
)
def check(context: typer.Context, config: opt.ConfigFile = None) -> None:
    """Try what the S3 store can do (exit code 7 when it lacks what footage needs)."""
    from vigie.platform.objectstore.s3.bucket import look

    _report(session_of(context), _settings(config), look)


@command(
    app,
    "init",
    "Créer et préparer le compartiment (versions, verrou d'objet, sans rétention par défaut, "
    "envois inachevés, chiffrement), puis l'essayer ; code 7 s'il ne convient pas.",
)
def init(context: typer.Context, config: opt.ConfigFile = None) -> None:
    """Make the bucket and prepare it, then try it (exit code 7 when it does not suit).

    Versions, Object Lock, no default retention, a rule for unfinished uploads, encryption where
    the store offers it. Repeating it changes nothing; it needs an administrator's credentials.
    """
    from vigie.platform.objectstore.s3.bucket import prepare

    _report(session_of(context), _settings(config), prepare)


def _settings(config_file: Path | None) -> S3Config:
    """The section of S3.

    Raises:
        typer.BadParameter: no S3 store is configured.
    """
    from vigie.app import SECTIONS

    with telling():
        sections: dict[str, type[ConfigSection]] = {**SECTIONS, "s3": S3Config}
        settings = load_config(config_file, sections, os.environ).section(S3Config)
    if settings.endpoint is None:
        raise typer.BadParameter(
            tr("no S3 store is configured (s3.endpoint): objects are kept in a directory",
               "aucun stockage S3 configuré (s3.endpoint) : les objets sont dans un répertoire")
        )  # fmt: skip
    return settings


def _report(
    session: Session,
    settings: S3Config,
    work: "Callable[[Requests, WallClock], Awaitable[BucketReport]]",
) -> None:
    from vigie.platform.objectstore.s3.opening import requests_for

    async def reported() -> "BucketReport":
        requests = requests_for(settings, SystemWallClock())
        try:
            return await work(requests, SystemWallClock())
        finally:
            await requests.close()

    with telling():
        report = asyncio.run(reported())
    if session.as_json:
        session.show_json(_document(report))
    else:
        _show(session, report)
    if not report.suitable:
        raise typer.Exit(Exit.CHECK_FAILED)


def _document(report: "BucketReport") -> dict[str, object]:
    return {
        "store": report.place,
        "installation": report.installation,
        "created": report.created,
        "suitable": report.suitable,
        "capabilities": [
            {"name": one.name, "state": str(one.state), "detail": one.detail}
            for one in report.findings
        ],
    }


def _show(session: Session, report: "BucketReport") -> None:
    console = session.console
    if report.created:
        console.print(tr("bucket created", "compartiment créé"))
    title = f"{report.place}  ({report.installation})"
    columns = (tr("capability", "capacité"), tr("state", "état"), tr("meaning", "signification"))
    rows = [
        (
            tr(one.name, _FRENCH.get(one.name, one.name)),
            tr(one.state, _STATES[one.state]),
            one.detail,
        )
        for one in report.findings
    ]
    show_table(console, columns, rows, title=title)
    if report.suitable:
        console.print(f"[bold green]✓[/] {tr('suits footage', 'convient aux images')}")
    else:
        words = tr("does not suit footage", "ne convient pas aux images")
        console.print(f"[bold red]✗[/] {words}")
