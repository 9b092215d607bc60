"""The consistency of an installation: checking it, rebuilding its index."""

import asyncio
from typing import Annotated

import typer

from vigie.cli import options as opt
from vigie.cli.arguments import parse_duration
from vigie.cli.commands import command, examples, new_app
from vigie.cli.exits import Exit
from vigie.cli.installation import looked_at, opened, read_config, telling
from vigie.cli.language import tr
from vigie.cli.output import local_time, plain, show_table
from vigie.cli.session import Session, session_of
from vigie.ingest.config import IngestConfig
from vigie.platform.clock import from_us
from vigie.platform.config import Config
from vigie.platform.database import migrate
from vigie.platform.eventlog import Quarantine
from vigie.recording.config import RecordingConfig
from vigie.recording.fsck.report import Report, Severity
from vigie.recording.fsck.run import FsckOptions, Installation, run_fsck
from vigie.recording.index.tables import MIGRATIONS
from vigie.recording.reindex import Reindexer, ReindexReport

app = new_app(
    "The index of the recordings.",
    "L'index des enregistrements.",
    epilog=examples("vigie recording reindex --data vigie-data"),
)
checks = new_app("Checks.", "Contrôles.")

_US: int = 1_000_000
_SHOWN = 200


@command(
    checks,
    "fsck",
    "Vérifier qu'aucune image n'est perdue, sans trace, ni conservée trop longtemps ; ne change "
    "rien, aussi pendant que le produit tourne ; code 7 s'il y a une anomalie.",
)
def fsck(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option(help=tr("Read and hash every object.", "Relire chaque objet."))
    ] = False,
    grace: Annotated[
        str, typer.Option(help=tr("Leave out what is younger.", "Ignorer le plus récent."))
    ] = "2m",
    config: opt.ConfigFile = None,
    data: opt.Data = None,
) -> None:
    """Check that no footage is lost, unaccounted for, or kept too long (exit code 7).

    Changes nothing; works on the data of this machine, also while the product runs.
    """
    session = session_of(context)
    grace_us = round(parse_duration(grace).total_seconds() * _US)

    def progress(name: str) -> None:
        if not session.as_json and session.errors.is_terminal:
            session.errors.print(f"{name} …", style="dim", markup=False)

    with telling():
        options = FsckOptions(deep=deep, grace_us=grace_us, progress=progress)
        report = asyncio.run(_fsck(read_config(config, data), options))
    if session.as_json:
        session.show_json(report.as_dict())
    else:
        _show(session, report)
    if not report.clean:
        raise typer.Exit(Exit.CHECK_FAILED)


async def _fsck(config: Config, options: FsckOptions) -> Report:
    ingest = config.section(IngestConfig)
    async with looked_at(config) as found:
        spool = ingest.spool_directory or found.directory / "spool"
        installation = Installation(
            database=found.database,
            store=found.store,
            event_log=found.event_log,
            wall_clock=found.clock,
            quarantine=Quarantine(found.database, found.clock),
            spool=spool if spool.is_dir() else None,
            prefix=ingest.key_prefix,
            legal_time_zone=config.section(RecordingConfig).legal_time_zone,
        )
        return await run_fsck(installation, options)


def _show(session: Session, report: Report) -> None:
    console = session.console
    for finding in report.findings[:_SHOWN]:
        style = "bold red" if finding.severity is Severity.ERROR else "yellow"
        console.print(f"{finding.invariant} {finding.severity}", style=style, end="  ")
        console.print(plain(finding.what), markup=False)
        place = "  ".join(f"{name} {value}" for name, value in finding.where.items())
        console.print(f"    {plain(place)}", style="dim", markup=False, soft_wrap=True)
        console.print(f"    → {finding.remedy}", markup=False)
    more = max(0, len(report.findings) - _SHOWN) + report.suppressed
    if more:
        console.print(tr(f"… and {more} more (--json)", f"… et {more} autres (--json)"))
    until = local_time(from_us(report.bound_us))
    if report.clean:
        sound = tr("sound, up to", "sain, jusqu'au")
        checks_run = f"{len(report.checked)} {tr('checks', 'contrôles')}"
        console.print(f"[bold green]✓[/] {sound} {until}  ({checks_run})")
    else:
        errors = sum(each.severity is Severity.ERROR for each in report.findings)
        text = tr(f"{errors} errors, up to {until}", f"{errors} anomalies, jusqu'au {until}")
        console.print(f"[bold red]✗[/] {text}")


@command(
    app,
    "reindex",
    "Reconstruire l'index à partir du stockage seul ; le produit doit être arrêté. L'index en "
    "place ne change qu'à la fin, d'un coup ; code 7 si un objet n'a pu être indexé.",
)
def reindex(context: typer.Context, config: opt.ConfigFile = None, data: opt.Data = None) -> None:
    """Rebuild the index from the bucket alone, with the product stopped (exit code 7).

    The index in place changes at the very end, all at once; code 7 when an object could not be
    indexed.
    """
    session = session_of(context)
    with telling():
        report = asyncio.run(_reindex(read_config(config, data)))
    if session.as_json:
        session.show_json(
            {"segments": report.segments, "run_ends": report.run_ends, "parsed": report.parsed,
             "refused": report.refused}
        )  # fmt: skip
    else:
        _show_reindex(session, report)
    if report.refused:
        raise typer.Exit(Exit.CHECK_FAILED)


async def _reindex(config: Config) -> ReindexReport:
    async with opened(config) as found:
        await migrate(
            found.database, MIGRATIONS
        )  # the database may be new: the bucket alone counts
        prefix = config.section(IngestConfig).key_prefix
        return await Reindexer(found.database, found.store, prefix=prefix).rebuild()


def _show_reindex(session: Session, report: ReindexReport) -> None:
    session.console.print(
        tr(f"{report.segments} segments, {report.run_ends} run ends"
           f" ({report.parsed} read from their content)",
           f"{report.segments} segments, {report.run_ends} fins de séquence"
           f" ({report.parsed} lus dans leur contenu)")
    )  # fmt: skip
    if report.refused:
        columns = (tr("object", "objet"), tr("not indexed because", "non indexé car"))
        show_table(session.console, columns, sorted(report.refused.items()))
