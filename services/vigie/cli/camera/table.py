"""Cameras as CSV: in, all or none, and out."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from vigie.cli import options as opt
from vigie.cli.camera.common import app, stub_of
from vigie.cli.commands import command
from vigie.cli.exits import Exit
from vigie.cli.files import read_bytes, writing
from vigie.cli.language import tr
from vigie.cli.output import show_table
from vigie.cli.session import Session, session_of
from vigie.registry.v1 import cameras_pb2 as pb


@command(app, "import", "Inscrire ou modifier des caméras depuis un CSV : toutes ou aucune.")
def import_cameras(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(help=tr("CSV file; - : standard input.", "Fichier CSV ; - : entrée."))
    ],
    dry_run: Annotated[
        bool,
        typer.Option(help=tr("Only look; show every mistake.", "Ne rien modifier ; tout dire.")),
    ] = False,
    update: Annotated[
        bool,
        typer.Option(help=tr("Also change cameras that exist.", "Modifier aussi les existantes.")),
    ] = False,
    request_id: opt.RequestId = "",
) -> None:
    """Enter or change cameras from CSV: all of them or, when anything is wrong, none."""
    session = session_of(context)
    request = pb.ImportCamerasRequest(
        csv=read_bytes(path),
        # Looking first gives every mistake at once. A call that may be a repetition is not looked
        # at first: what it has entered already would be a mistake.
        dry_run=dry_run or not request_id,
        mode=pb.IMPORT_MODE_CREATE_OR_UPDATE if update else pb.IMPORT_MODE_CREATE_ONLY,
        request_id="" if dry_run else request_id,
    )
    answer = session.call(stub_of(session).ImportCameras, request)
    if answer.dry_run and not dry_run and not answer.mistake_count:
        request.dry_run = False
        answer = session.call(stub_of(session).ImportCameras, request)
    if session.as_json:
        session.show_json(answer)
    else:
        _show(session, answer)
    if answer.mistake_count:
        raise typer.Exit(Exit.USAGE)


def _show(session: Session, answer: pb.ImportCamerasResponse) -> None:
    if answer.mistake_count:
        columns = (
            tr("row", "ligne"), tr("column", "colonne"), tr("reason", "motif"),
            tr("what", "quoi"),
        )  # fmt: skip
        rows = [
            (str(each.row or "-"), each.column or "-", each.reason, each.message)
            for each in answer.mistakes
        ]
        show_table(session.console, columns, rows)
        session.errors.print(
            tr(f"{answer.mistake_count} mistakes; nothing was changed",
               f"{answer.mistake_count} erreurs ; rien n'a été modifié"),
            style="red",
        )  # fmt: skip
        return
    created, updated = len(answer.created_cameras), len(answer.updated_cameras)
    session.console.print(
        tr(f"{created} entered, {updated} changed, {answer.unchanged_count} as they were",
           f"{created} inscrites, {updated} modifiées, {answer.unchanged_count} inchangées")
        + (tr(" (dry run)", " (à blanc)") if answer.dry_run else "")
    )  # fmt: skip


@command(app, "export", "Écrire des caméras en CSV, sans mots de passe.")
def export_cameras(
    context: typer.Context,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help=tr("File; - : standard output.", "Fichier.")),
    ] = Path("-"),
    expression: Annotated[
        str, typer.Option("--filter", help=tr("As for list.", "Comme pour list."))
    ] = "",
) -> None:  # fmt: skip
    """Write cameras as CSV in the form `import` reads, without credentials."""
    session = session_of(context)
    request = pb.ExportCamerasRequest(filter=expression)
    answers = session.stream(stub_of(session).ExportCameras, request)
    with contextlib.closing(answers), writing(output) as stream:
        for answer in answers:
            stream.write(answer.csv)
