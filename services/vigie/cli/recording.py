"""The index of the recordings: rebuilding it."""

import asyncio
from typing import Annotated

import typer

from vigie.cli import options as opt
from vigie.cli.commands import command, examples, new_app
from vigie.cli.exits import Exit
from vigie.cli.installation import opened, read_config, telling
from vigie.cli.language import tr
from vigie.cli.onrecord import put_on_record
from vigie.cli.output import show_table
from vigie.cli.session import Session, session_of
from vigie.ingest.config import IngestConfig
from vigie.platform.config import Config
from vigie.platform.database import migrate
from vigie.recording.index.tables import MIGRATIONS
from vigie.recording.reindex import Reindexer, ReindexReport

app = new_app(
    "The index of the recordings.",
    "L'index des enregistrements.",
    epilog=examples("vigie recording reindex --data vigie-data"),
)


@command(
    app,
    "reindex",
    "Reconstruire l'index à partir du stockage seul ; le produit doit être arrêté. D'abord la "
    "chronologie, d'après les noms, qui remplace l'ancienne d'un coup ; puis les empreintes, que "
    "le produit complète s'il y a interruption ; code 7 si un objet n'a pu être indexé.",
)
def reindex(
    context: typer.Context,
    reason: Annotated[
        str, typer.Option(help=tr("Why; kept on record.", "Motif ; consigné."))
    ] = "the index is rebuilt",
    timeline_only: Annotated[
        bool,
        typer.Option(
            "--timeline-only",
            help=tr(
                "End once the timeline is there; the product takes in the rest while it runs.",
                "S'arrêter dès que la chronologie est là ; le produit indexe le reste en marche.",
            ),
        ),
    ] = False,
    config: opt.ConfigFile = None,
    data: opt.Data = None,
) -> None:
    """Rebuild the index from the bucket alone, with the product stopped (exit code 7).

    First the timeline, from the names of the objects; it takes the place of the old one all at
    once. Then digests and media times, from the objects themselves; whatever interrupts that, the
    product goes on with it. Code 7 when an object could not be indexed.
    """
    session = session_of(context)
    with telling():
        report = asyncio.run(
            _reindex(read_config(config, data), reason, timeline_only=timeline_only)
        )
    if session.as_json:
        session.show_json(
            {"listed": report.listed, "segments": report.segments, "run_ends": report.run_ends,
             "parsed": report.parsed, "pending_hours": report.pending, "refused": report.refused}
        )  # fmt: skip
    else:
        _show_reindex(session, report)
    if report.refused:
        raise typer.Exit(Exit.CHECK_FAILED)


async def _reindex(config: Config, reason: str, *, timeline_only: bool) -> ReindexReport:
    async with opened(config) as found:
        await migrate(
            found.database, MIGRATIONS
        )  # the database may be new: the bucket alone counts
        await put_on_record(found, "recording/reindex", ["index"], reason)
        prefix = config.section(IngestConfig).key_prefix
        reindexer = Reindexer(found.database, found.store, prefix=prefix)
        report = await reindexer.rebuild(timeline_only=timeline_only)
        if found.mark is not None:
            await found.mark.caught_up()
        return report


def _show_reindex(session: Session, report: ReindexReport) -> None:
    session.console.print(
        tr(f"{report.listed} segments on the timeline, {report.run_ends} run ends;"
           f" {report.segments} indexed ({report.parsed} read from their content)",
           f"{report.listed} segments sur la chronologie, {report.run_ends} fins de séquence ;"
           f" {report.segments} indexés ({report.parsed} lus dans leur contenu)")
    )  # fmt: skip
    if report.pending:
        session.console.print(
            tr(f"{report.pending} hours of cameras are left: the product indexes them while it"
               " runs, and whatever is asked for at once",
               f"{report.pending} heures de caméra restent : le produit les indexe en marche, et"
               " sans attendre ce qui est demandé")
        )  # fmt: skip
    if report.refused:
        columns = (tr("object", "objet"), tr("not indexed because", "non indexé car"))
        show_table(session.console, columns, sorted(report.refused.items()))
