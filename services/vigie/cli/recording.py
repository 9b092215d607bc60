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
    "Reconstruire l'index à partir du stockage seul ; le produit doit être arrêté. L'index en "
    "place ne change qu'à la fin, d'un coup ; code 7 si un objet n'a pu être indexé.",
)
def reindex(
    context: typer.Context,
    reason: Annotated[
        str, typer.Option(help=tr("Why; kept on record.", "Motif ; consigné."))
    ] = "the index is rebuilt",
    config: opt.ConfigFile = None,
    data: opt.Data = None,
) -> None:
    """Rebuild the index from the bucket alone, with the product stopped (exit code 7).

    The index in place changes at the very end, all at once; code 7 when an object could not be
    indexed.
    """
    session = session_of(context)
    with telling():
        report = asyncio.run(_reindex(read_config(config, data), reason))
    if session.as_json:
        session.show_json(
            {"segments": report.segments, "run_ends": report.run_ends, "parsed": report.parsed,
             "refused": report.refused}
        )  # fmt: skip
    else:
        _show_reindex(session, report)
    if report.refused:
        raise typer.Exit(Exit.CHECK_FAILED)


async def _reindex(config: Config, reason: str) -> ReindexReport:
    async with opened(config) as found:
        await migrate(
            found.database, MIGRATIONS
        )  # the database may be new: the bucket alone counts
        await put_on_record(found, "recording/reindex", ["index"], reason)
        prefix = config.section(IngestConfig).key_prefix
        report = await Reindexer(found.database, found.store, prefix=prefix).rebuild()
        if found.mark is not None:
            await found.mark.caught_up()
        return report


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
