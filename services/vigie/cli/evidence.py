"""Evidence requests, their packages, and their offline verification."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from cryptography import x509
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from vigie.cli import options as opt
from vigie.cli.arguments import resource
from vigie.cli.commands import command, examples, new_app
from vigie.cli.exits import Exit
from vigie.cli.language import tr
from vigie.cli.output import local_time, percent, seconds, show_table, size
from vigie.cli.session import Session, fail, session_of
from vigie.cli.timeline_view import cause_text
from vigie.cli.words import enum_text
from vigie.evidence.v1 import evidence_service_pb2 as pb
from vigie.evidence.v1 import evidence_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from vigie.evidence.verify import Verification

app = new_app(
    "Requests for evidence and their packages.",
    "Demandes de preuve et leurs paquets.",
    epilog=examples(
        "vigie evidence request cam-rambla-01 --from 14:00 --to +5m --case 2026/00123 \\\n"
        "    --purpose 'vol avec violence' --legal-basis 'CPP 77-1-1, réquisition 2026/45'",
        "vigie evidence approve REQUEST --reason 'conforme'",
        "vigie evidence download REQUEST && vigie evidence verify package.zip",
    ),
)
Request = Annotated[str, typer.Argument(help=tr("Request (its identifier).", "Demande."))]
Reason = Annotated[str, typer.Option(help=tr("Why; kept in the custody.", "Motif ; tracé."))]
_SETTLED = frozenset(
    {pb.EVIDENCE_STATE_READY, pb.EVIDENCE_STATE_REFUSED, pb.EVIDENCE_STATE_CANCELLED,
     pb.EVIDENCE_STATE_FAILED, pb.EVIDENCE_STATE_EXPIRED}
)  # fmt: skip


def _stub(session: Session) -> Any:
    return session.stub(pb_grpc.EvidenceServiceStub)


def _name(text: str) -> str:
    return resource("evidenceRequests", text)


@command(app, "request", "Demander une preuve ; les images sont aussitôt mises sous séquestre.")
def request(
    context: typer.Context,
    cameras: Annotated[list[str], typer.Argument(help=tr("Cameras.", "Caméras."))],
    start: opt.From,
    end: opt.To,
    purpose: opt.PurposeText,
    case: opt.Case,
    legal_basis: Annotated[
        str, typer.Option(help=tr("Article and requisition number.", "Article et réquisition."))
    ],
    request_id: Annotated[
        str, typer.Option(help=tr("UUID; repeating it asks once.", "UUID ; idempotence."))
    ] = "",
) -> None:
    """Ask for evidence; the footage is put under a hold at once."""
    session = session_of(context)
    message = pb.CreateEvidenceRequestRequest(
        cameras=[opt.camera_name(camera) for camera in cameras],
        window=opt.window_of(start, end),
        purpose=purpose,
        case_reference=case,
        legal_basis=legal_basis,
        request_id=request_id,
    )
    _show(session, session.call(_stub(session).CreateEvidenceRequest, message))


@command(app, "list", "Lister les demandes, les plus récentes d'abord.")
def list_requests(context: typer.Context, case: opt.Case = "") -> None:
    """List requests, newest first."""
    session = session_of(context)
    message = pb.ListEvidenceRequestsRequest(case_reference=case, page_size=200)
    rows = []
    while True:
        answer = session.call(_stub(session).ListEvidenceRequests, message)
        for each in answer.evidence_requests:
            if session.as_json:
                session.show_json(each)
            rows.append(
                (each.name.rpartition("/")[2], _state(each), each.case_reference,
                 each.requester_display_name or each.requester, local_time(each.create_time))
            )  # fmt: skip
        if not answer.next_page_token:
            break
        message.page_token = answer.next_page_token
    if not session.as_json:
        columns = (
            tr("request", "demande"), tr("state", "état"), tr("case", "procédure"),
            tr("by", "par"), tr("asked", "demandée"),
        )  # fmt: skip
        show_table(session.console, columns, rows)


@command(app, "get", "Montrer une demande et sa chaîne de conservation.")
def get(context: typer.Context, name: Request) -> None:
    """Show a request and its chain of custody."""
    session = session_of(context)
    answer = session.call(
        _stub(session).GetEvidenceRequest, pb.GetEvidenceRequestRequest(name=_name(name))
    )
    _show(session, answer)


@command(app, "approve", "Approuver la demande d'un autre ; son paquet est alors fabriqué.")
def approve(context: typer.Context, name: Request, reason: Reason, etag: opt.Etag = "") -> None:
    """Approve somebody else's request; its package is then built."""
    session = session_of(context)
    message = pb.ApproveEvidenceRequestRequest(name=_name(name), reason=reason, etag=etag)
    _show(session, session.call(_stub(session).ApproveEvidenceRequest, message))


@command(app, "refuse", "Refuser la demande d'un autre ; le séquestre est levé.")
def refuse(context: typer.Context, name: Request, reason: Reason, etag: opt.Etag = "") -> None:
    """Refuse somebody else's request; the hold is released."""
    session = session_of(context)
    message = pb.RefuseEvidenceRequestRequest(name=_name(name), reason=reason, etag=etag)
    _show(session, session.call(_stub(session).RefuseEvidenceRequest, message))


@command(app, "cancel", "Retirer sa propre demande ; le séquestre est levé.")
def cancel(context: typer.Context, name: Request, etag: opt.Etag = "") -> None:
    """Withdraw your own request; the hold is released."""
    session = session_of(context)
    message = pb.CancelEvidenceRequestRequest(name=_name(name), etag=etag)
    _show(session, session.call(_stub(session).CancelEvidenceRequest, message))


@command(app, "watch", "Suivre les demandes à mesure qu'elles changent.")
def watch(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help=tr("One request; else all.", "Une demande."))] = "",
    until_settled: Annotated[
        bool, typer.Option(help=tr("End when it is decided or READY.", "Finir une fois réglée."))
    ] = False,
) -> None:
    """Follow requests as they change."""
    session = session_of(context)
    message = pb.WatchEvidenceRequestsRequest(name=_name(name) if name else "")
    answers = session.stream(_stub(session).WatchEvidenceRequests, message)
    with contextlib.closing(answers):
        for answer in answers:
            if answer.WhichOneof("event") != "evidence_request":
                continue
            found = answer.evidence_request
            if session.as_json:
                session.show_json(found)
            else:
                progress = f" {found.progress_permille / 10:.0f} %" if name else ""
                session.console.print(f"{found.name.rpartition('/')[2]} {_state(found)}{progress}")
            if until_settled and found.state in _SETTLED:
                if found.state != pb.EVIDENCE_STATE_READY:
                    raise typer.Exit(Exit.CONFLICT)
                return


@command(app, "download", "Télécharger un paquet ; reprend là où un essai s'est arrêté.")
def download(
    context: typer.Context,
    name: Request,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=tr("File.", "Fichier."))
    ] = None,
) -> None:
    """Download a package; goes on where an earlier attempt stopped."""
    session = session_of(context)
    found = session.call(
        _stub(session).GetEvidenceRequest, pb.GetEvidenceRequestRequest(name=_name(name))
    )
    # Only the name: a file is never written where somebody else says.
    target = output or Path(Path(found.package.file_name).name or "package.zip")
    if target.exists():
        raise fail(tr(f"{target} exists already", f"{target} existe déjà"), Exit.CONFLICT)
    partial = target.with_name(target.name + ".part")
    have = partial.stat().st_size if partial.exists() else 0
    message = pb.DownloadPackageRequest(
        name=found.name, offset_bytes=have, sha256=found.package.sha256
    )
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=session.errors,
        disable=session.as_json,
    )  # fmt: skip
    with bar, partial.open("ab") as stream:
        task = bar.add_task(target.name, total=found.package.size_bytes, completed=have)
        for answer in session.stream(_stub(session).DownloadPackage, message):
            stream.write(answer.data)
            bar.update(task, advance=len(answer.data))
        stream.flush()
        os.fsync(stream.fileno())
    _settle(partial, target, found.package.sha256)
    if session.as_json:
        session.show_json({"path": str(target), "sha256": found.package.sha256})
    else:
        session.console.print(f"{target}  SHA-256 {found.package.sha256}", markup=False)


def _settle(partial: Path, target: Path, sha256: str) -> None:
    """Give the file its name once it is known to be whole."""
    from vigie.evidence.builder import package_sha256

    if package_sha256(partial) != sha256:
        partial.unlink()
        raise fail(tr(f"{target}: damaged on the way, download it again",
                      f"{target} : altéré en route, télécharger à nouveau"))  # fmt: skip
    partial.rename(target)


@command(app, "verify", "Vérifier un paquet hors ligne ; nomme la première anomalie.")
def verify(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help=tr("ZIP or unpacked folder.", "ZIP ou dossier."))],
    certificate: Annotated[
        Path | None,
        typer.Option(help=tr("Signer you trust (PEM).", "Signataire reconnu (PEM).")),
    ] = None,
) -> None:
    """Verify a package offline; names the first thing that is wrong."""
    from vigie.evidence.rejection import REJECTIONS, RejectedError
    from vigie.evidence.verify import verify_package

    session = session_of(context)
    trusted = []
    if certificate is not None:
        try:
            trusted = x509.load_pem_x509_certificates(certificate.read_bytes())
        except (OSError, ValueError) as error:
            raise typer.BadParameter(f"--certificate {certificate}: {error}") from error
    try:
        found = verify_package(path, trusted=trusted)
    except RejectedError as error:
        if session.as_json:
            session.show_json({"valid": False, "reason": error.reason, "detail": error.detail})
        else:
            session.console.print(f"[bold red]✗ {tr('REFUSED', 'REFUSÉ')}[/]  {error.reason}")
            session.console.print(
                f"  {tr(*REJECTIONS[error.reason])}: {error.detail}", markup=False
            )
        raise typer.Exit(Exit.CHECK_FAILED) from error
    _show_valid(session, found)


def _show_valid(session: Session, found: "Verification") -> None:
    if session.as_json:
        session.show_json(
            {"valid": True, "trusted": found.trusted, "signer": found.signature.fingerprint,
             "files": found.file_count, "size_bytes": found.size_bytes,
             "request": found.manifest.request.name}
        )  # fmt: skip
        return
    session.console.print(
        f"[bold green]✓ {tr('VALID', 'VALIDE')}[/]  {found.file_count} "
        f"{tr('files', 'fichiers')}, {size(found.size_bytes)}"
    )
    for camera in found.manifest.cameras:
        share = percent(camera.stored_us, camera.requested_us, 3)
        session.console.print(f"  {camera.camera}: {share}", markup=False)
    session.console.print(f"  {tr('signer', 'signataire')}: {found.signature.fingerprint}")
    if not found.trusted:
        session.console.print(
            tr("  Compare this fingerprint with the published one, or give --certificate.",
               "  Comparez cette empreinte à celle publiée, ou donnez --certificate."),
            style="yellow",
        )  # fmt: skip


def _state(found: pb.EvidenceRequest) -> str:
    return enum_text(pb.EvidenceState, found.state, "EVIDENCE_STATE_")


def _show(session: Session, found: pb.EvidenceRequest) -> None:
    if session.as_json:
        session.show_json(found)
        return
    console = session.console
    console.print(f"[bold]{found.name}[/]  {_state(found)}  etag {found.etag}")
    console.print(
        f"  {local_time(found.window.start_time)} → {local_time(found.window.end_time)}  "
        f"{', '.join(found.cameras)}", markup=False,
    )  # fmt: skip
    console.print(f"  {found.purpose} · {found.case_reference} · {found.legal_basis}", markup=False)
    if found.failure:
        console.print(f"  {found.failure}: {found.failure_detail}", style="red", markup=False)
    for missing in found.missing:
        console.print(
            f"  {tr('missing', 'manque')} {missing.camera} {seconds(missing.duration_us)} "
            f"{cause_text(missing.cause)}", markup=False,
        )  # fmt: skip
    if found.HasField("package"):
        console.print(f"  {size(found.package.size_bytes)}  SHA-256 {found.package.sha256}")
    for step in found.custody:
        console.print(
            f"  {local_time(step.time)}  {step.action:<12} {step.display_name}  {step.detail}",
            style="dim", markup=False,
        )  # fmt: skip
