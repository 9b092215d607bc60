"""The consistency of an installation: checking it, and mending what may be mended."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vigie.cli import options as opt
from vigie.cli.arguments import parse_duration
from vigie.cli.commands import command, new_app
from vigie.cli.exits import Exit
from vigie.cli.fsck_packages import EVIDENCE, check_packages
from vigie.cli.installation import Opened, looked_at, opened, read_config, telling
from vigie.cli.language import tr
from vigie.cli.onrecord import put_on_record
from vigie.cli.output import local_time, plain
from vigie.cli.session import Session, session_of
from vigie.ingest.config import IngestConfig
from vigie.platform.clock import SystemMonotonicClock, from_us
from vigie.platform.config import Config
from vigie.platform.database import DatabaseConfig, migrate
from vigie.platform.eventlog import Quarantine
from vigie.platform.metrics import MetricsRegistry
from vigie.recording.config import RecordingConfig
from vigie.recording.fsck import (
    Doing,
    FsckOptions,
    Installation,
    Parts,
    Plan,
    Planner,
    RepairReport,
    Report,
    Severity,
    repair,
    run_fsck,
)
from vigie.recording.fsck.summary import FILE, write_summary
from vigie.recording.holdkeeper import HoldKeeper
from vigie.recording.index.tables import MIGRATIONS
from vigie.recording.metrics import RecordingMetrics

app = new_app("Checks.", "Contrôles.")
_Outcome = tuple[Report, Plan | None, RepairReport | None]
_US: int = 1_000_000
_SHOWN = 200


_Deep = Annotated[
    bool, typer.Option(help=tr("Read and hash every object.", "Relire chaque objet."))
]
_Grace = Annotated[
    str, typer.Option(help=tr("Leave out what is younger.", "Ignorer le plus récent."))
]
_Repair = Annotated[
    bool,
    typer.Option("--repair", help=tr("Say what would be mended.", "Dire ce qui serait réparé.")),
]
_Apply = Annotated[
    bool,
    typer.Option(
        "--apply",
        help=tr("With --repair: mend it; product stopped.", "Avec --repair : réparer ; arrêté."),
    ),
]
_Packages = Annotated[
    bool,
    typer.Option(
        "--packages",
        help=tr("Packages of evidence alone.", "Les paquets de preuve seuls."),
    ),
]
_Why = Annotated[
    str, typer.Option(help=tr("Of --apply; kept on record.", "De --apply ; consigné."))
]


@command(
    app,
    "fsck",
    "Vérifier qu'aucune image n'est perdue, sans trace, ni conservée trop longtemps ; ne change "
    "rien sans `--apply`, aussi pendant que le produit tourne ; code 7 s'il y a une anomalie.",
)
def fsck(
    context: typer.Context,
    deep: _Deep = False,
    grace: _Grace = "2m",
    mend: _Repair = False,
    apply: _Apply = False,
    reason: _Why = "",
    packages: _Packages = False,
    config: opt.ConfigFile = None,
    data: opt.Data = None,
) -> None:
    """Check that no footage is lost, unaccounted for, or kept too long (exit code 7).

    Changes nothing without --apply; works on the data of this machine, also while the product
    runs. --repair says what would be mended and what is left to people, and why; with --apply and
    a --reason it is done, the product being stopped, each step on record before it is done.
    --packages looks at the packages of evidence alone; with the embedded database they are looked
    at in any case, with PostgreSQL only so, for it is with evidence's credentials.
    """
    if apply and not (mend and reason):
        raise typer.BadParameter(tr("--apply needs --repair and --reason",
                                    "--apply demande --repair et --reason"))  # fmt: skip
    if packages and mend:
        raise typer.BadParameter(tr("packages are never mended by fsck",
                                    "fsck ne répare jamais les paquets de preuve"))  # fmt: skip
    session = session_of(context)
    grace_us = round(parse_duration(grace).total_seconds() * _US)

    def progress(name: str) -> None:
        if not session.as_json and session.errors.is_terminal:
            session.errors.print(f"{name} …", style="dim", markup=False)

    options = FsckOptions(deep=deep, grace_us=grace_us, progress=progress)
    with telling():
        settings = read_config(config, data)
        if packages:
            outcome = _packages(settings, options)
        elif apply:
            outcome = _mended(settings, options, reason)
        else:
            outcome = _checked(settings, options, planned=mend)
        report, plan, done = asyncio.run(outcome)
    if session.as_json:
        session.show_json(_document(report, plan, done))
    else:
        _show(session, report)
        if plan is not None:
            _show_plan(session, plan, done)
    if not report.clean:
        raise typer.Exit(Exit.CHECK_FAILED)


async def _checked(config: Config, options: FsckOptions, *, planned: bool) -> _Outcome:
    async with looked_at(config, own_tables=True) as found:
        report = await _run(config, found, options)
        _leave(found, report)
        if not planned:
            return report, None, None
        planner = Planner(found.database, found.store, found.event_log)
        return report, await planner.plan(report.findings), None


async def _mended(config: Config, options: FsckOptions, reason: str) -> _Outcome:
    """Check, mend, check again; the report is that of the second check."""
    async with opened(config) as found:
        await migrate(found.database, MIGRATIONS)
        installation = _installation(config, found)
        before = await run_fsck(installation, options)
        plan = await Planner(found.database, found.store, found.event_log).plan(before.findings)
        keeper = HoldKeeper(
            found.database,
            found.store,
            found.clock,
            SystemMonotonicClock(),
            RecordingMetrics(MetricsRegistry()),
        )
        parts = Parts(found.database, found.store, found.event_log, found.clock, keeper)

        async def record(doing: Doing, targets: Sequence[str]) -> None:
            await put_on_record(found, f"fsck/repair/{doing.name.lower()}", targets, reason)

        done = await repair(parts, plan, record)
        report = await _run(config, found, options)
        _leave(found, report)
        return report, plan, done


async def _run(config: Config, found: Opened, options: FsckOptions) -> Report:
    report = await run_fsck(_installation(config, found), options)
    if config.section(DatabaseConfig).url is None:  # one file has the tables of all contexts
        await check_packages(found, options, report)
    return report


async def _packages(config: Config, options: FsckOptions) -> _Outcome:
    async with looked_at(config, EVIDENCE, own_tables=True) as found:
        report = Report(found.clock.now_us() - options.grace_us, options.deep)
        await check_packages(found, options, report)
        return report, None, None


def _leave(found: Opened, report: Report) -> None:
    """Leave the counts for the product's metrics; who may only read leaves none."""
    with contextlib.suppress(PermissionError):
        write_summary(found.directory / FILE, report, found.clock.now_us())


def _installation(config: Config, found: Opened) -> Installation:
    ingest = config.section(IngestConfig)
    spool: Path = ingest.spool_directory or found.directory / "spool"
    return Installation(
        database=found.database,
        store=found.store,
        event_log=found.event_log,
        wall_clock=found.clock,
        quarantine=Quarantine(found.database, found.clock, found.event_log),
        numbering=found.numbering,
        mark=found.mark,
        spool=spool if spool.is_dir() else None,
        prefix=ingest.key_prefix,
        legal_time_zone=config.section(RecordingConfig).legal_time_zone,
    )


def _document(report: Report, plan: Plan | None, done: RepairReport | None) -> dict[str, Any]:
    document = report.as_dict()
    if plan is not None:
        document["repair"] = {
            "applied": done is not None,
            "steps": [{"doing": step.doing.name, "target": step.target} for step in plan.steps],
            "failed": [] if done is None else [
                {"doing": step.doing.name, "target": step.target, "why": why}
                for step, why in done.failed
            ],
            "left": [
                {"invariant": finding.invariant, "what": finding.what, "where": finding.where,
                 "why": why}
                for finding, why in plan.left
            ],
        }  # fmt: skip
    return document


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


def _show_plan(session: Session, plan: Plan, done: RepairReport | None) -> None:
    console = session.console
    heading = tr("would be mended", "serait réparé") if done is None else tr("mended", "réparé")
    failed = {} if done is None else {(step.doing, step.target): why for step, why in done.failed}
    if plan.steps:
        console.print(f"\n[bold]{heading}[/]")
    for step in plan.steps[:_SHOWN]:
        why = failed.get((step.doing, step.target))
        sign = "✗" if why else "·" if done is None else "✓"
        console.print(f"{sign} {step.doing.value}", markup=False)
        console.print(f"    {plain(step.target)}", style="dim", markup=False, soft_wrap=True)
        if why:
            console.print(f"    {plain(why)}", style="red", markup=False)
    if len(plan.steps) > _SHOWN:
        console.print(tr("… and more (--json)", "… et d'autres (--json)"))
    if plan.left:
        console.print(f"\n[bold]{tr('left to people', 'laissé aux personnes')}[/]")
    for finding, reason in plan.left[:_SHOWN]:
        console.print(plain(f"· {finding.invariant} {finding.what}"), markup=False)
        console.print(f"    {plain(reason)}", style="dim", markup=False)
    if plan.steps and done is None:
        console.print(
            tr("to mend it, stop the product, then: vigie fsck --repair --apply --reason …",
               "pour réparer, arrêter le produit, puis : vigie fsck --repair --apply --reason …")
        )  # fmt: skip
