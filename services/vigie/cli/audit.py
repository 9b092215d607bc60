"""The access log: who accessed what, when, why, and what was decided."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vigie.audit.v1 import audit_service_pb2 as pb
from vigie.audit.v1 import audit_service_pb2_grpc as pb_grpc
from vigie.audit.v1 import events_pb2
from vigie.cli import options as opt
from vigie.cli.arguments import resource
from vigie.cli.commands import command, examples, new_app
from vigie.cli.exits import Exit
from vigie.cli.files import writing
from vigie.cli.language import tr
from vigie.cli.output import local_time, show_fields, size
from vigie.cli.resources import completing, enum_of, pages, show_list, words_of
from vigie.cli.resumable import ResumableFile
from vigie.cli.session import Session, fail, session_of
from vigie.cli.words import enum_text
from vigie.common.v1 import access_pb2
from vigie.platform.clock import from_us

app = new_app(
    "The access log: who accessed what, when, why; reading it is itself recorded.",
    "Le journal des accès : qui a accédé à quoi, quand, pourquoi ; sa lecture y est inscrite.",
    epilog=examples(
        "vigie audit search --camera cam-rambla-01 --from -24h --kind communication",
        "vigie audit search --subject a-martin --decision refused",
        "vigie audit export --from 2026-01-01 --to 2026-02-01 --format csv -o january.csv",
    ),
)

_DECISION: Final = "DECISION_"
_KIND: Final = "RECORD_KIND_"
_PHASE: Final = "ACCESS_PHASE_"
_FORMATS: Final = {"jsonl": pb.EXPORT_FORMAT_JSON_LINES, "csv": pb.EXPORT_FORMAT_CSV}

Subject = Annotated[str, typer.Option(help=tr("Who (subject).", "Qui (identifiant)."))]
Agency = Annotated[str, typer.Option(help=tr("Agency.", "Service."))]
Camera = Annotated[str, typer.Option(help=tr("Camera accessed.", "Caméra consultée."))]
Object = Annotated[
    str, typer.Option("--object", help=tr("Resource name accessed.", "Ressource consultée."))
]
Zone = Annotated[str, typer.Option(help=tr("Zone accessed.", "Zone consultée."))]
Method = Annotated[str, typer.Option(help=tr("Method, e.g. GetClip.", "Méthode, p. ex. GetClip."))]
FootageFrom = Annotated[
    str, typer.Option(help=tr("Footage accessed: begin.", "Images consultées : début."))
]
FootageTo = Annotated[
    str, typer.Option(help=tr("Footage accessed: end.", "Images consultées : fin."))
]
Decision = Annotated[
    str,
    typer.Option(
        help=tr("allowed or refused.", "allowed (permis) ou refused (refusé)."),
        autocompletion=completing(events_pb2.Decision, _DECISION),
    ),
]
DecisionReason = Annotated[
    str,
    typer.Option(
        "--reason", help=tr("E.g. PERMISSION_DENIED.", "Motif, p. ex. PERMISSION_DENIED.")
    ),
]
Kind = Annotated[
    list[str] | None,
    typer.Option(
        help=", ".join(words_of(access_pb2.RecordKind, _KIND)),
        autocompletion=completing(access_pb2.RecordKind, _KIND),
    ),
]
PurposeWords = Annotated[
    str, typer.Option("--purpose", help=tr("Words of the purpose.", "Mots du motif invoqué."))
]
Request = Annotated[
    str, typer.Option("--request", help=tr("Identifier of a request.", "Identifiant d'appel."))
]
Phase = Annotated[
    str,
    typer.Option(
        help=tr("opened or closed (what was delivered).", "opened ou closed (ce qui fut remis)."),
        autocompletion=completing(events_pb2.AccessPhase, _PHASE),
    ),
]


def _stub(session: Session) -> Any:
    return session.stub(pb_grpc.AuditServiceStub)


def _filter(
    *,
    start: str,
    end: str,
    footage_from: str,
    footage_to: str,
    camera: str,
    object_name: str,
    decision: str,
    kinds: list[str] | None,
    phase: str,
    same: dict[str, str],
) -> pb.AccessFilter:
    """The criteria; ``same`` are the fields whose text goes as it is."""
    if camera and object_name:
        raise typer.BadParameter(
            tr("--camera or --object, not both", "--camera ou --object, pas les deux")
        )
    found = pb.AccessFilter(
        object=resource("cameras", camera) if camera else object_name,
        kinds=[enum_of(access_pb2.RecordKind, _KIND, word) for word in kinds or []],
    )
    for field, text in same.items():
        setattr(found, field, text)
    if decision:
        found.decision = enum_of(events_pb2.Decision, _DECISION, decision)
    if phase:
        found.phase = enum_of(events_pb2.AccessPhase, _PHASE, phase)
    if start:
        found.access_window.CopyFrom(opt.window_of(start, end))
    if footage_from:
        found.footage_window.CopyFrom(opt.window_of(footage_from, footage_to))
    return found


def _row(access: pb.Access) -> Sequence[str]:
    record = access.record
    decision = enum_text(events_pb2.Decision, record.decision, _DECISION)
    if record.phase == events_pb2.ACCESS_PHASE_CLOSED:
        decision = f"{tr('delivered', 'remis')} {size(record.delivered_bytes)}"
    return (
        local_time(record.time),
        record.subject,
        record.method.rpartition("/")[2],
        ", ".join(name.removeprefix("cameras/") for name in record.objects),
        " ".join(filter(None, (decision, record.decision_reason))),
        " ".join(filter(None, (record.purpose, record.case_reference))),
    )


@command(app, "search", "Chercher des accès, les plus récents d'abord.")
def search(
    context: typer.Context,
    start: opt.From = "",
    end: opt.To = "now",
    subject: Subject = "",
    agency: Agency = "",
    camera: Camera = "",
    object_name: Object = "",
    zone: Zone = "",
    method: Method = "",
    footage_from: FootageFrom = "",
    footage_to: FootageTo = "now",
    decision: Decision = "",
    reason: DecisionReason = "",
    kind: Kind = None,
    purpose: PurposeWords = "",
    case: opt.Case = "",
    request: Request = "",
    phase: Phase = "",
    oldest_first: Annotated[
        bool, typer.Option(help=tr("Oldest first.", "Les plus anciens d'abord."))
    ] = False,
    limit: opt.Limit = 100,
) -> None:
    """Search accesses, newest first."""
    session = session_of(context)
    criteria = _filter(
        start=start, end=end, camera=camera, object_name=object_name,
        footage_from=footage_from, footage_to=footage_to, decision=decision, kinds=kind,
        phase=phase,
        same={
            "subject": subject, "agency": agency, "zone": zone, "method": method,
            "decision_reason": reason, "purpose_text": purpose, "case_reference": case,
            "request_id": request,
        },
    )  # fmt: skip
    message = pb.SearchAccessesRequest(
        filter=criteria, order_by="time" if oldest_first else "time desc"
    )
    columns = (
        tr("time", "date"), tr("who", "qui"), tr("method", "méthode"), tr("object", "objet"),
        tr("decision", "décision"), tr("purpose", "motif"),
    )  # fmt: skip
    found = pages(session, _stub(session).SearchAccesses, message, "accesses", limit)
    show_list(session, found, columns, _row)


@command(app, "get", "Montrer un accès en entier.")
def get(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help=tr("Access (its identifier).", "Accès."))],
) -> None:
    """Show one access whole."""
    session = session_of(context)
    request = pb.GetAccessRequest(name=resource("accesses", name))
    found = session.call(_stub(session).GetAccess, request)
    if session.as_json:
        session.show_json(found)
        return
    record = found.record
    window = ""
    if record.window_end_us:
        begin, end = from_us(record.window_start_us), from_us(record.window_end_us)
        window = f"{local_time(begin)} → {local_time(end)}"
    delivered = ""
    if record.phase == events_pb2.ACCESS_PHASE_CLOSED:
        delivered = f"{size(record.delivered_bytes)}  {record.end_status}"
    show_fields(
        session.console,
        found.name,
        (
            (tr("time", "date"), local_time(record.time, milliseconds=True)),
            (tr("phase", "moment"), enum_text(events_pb2.AccessPhase, record.phase, _PHASE)),
            (tr("who", "qui"), f"{record.subject}  {record.display_name}"),
            (tr("agency", "service"), record.agency),
            (tr("roles", "rôles"), ", ".join(record.roles)),
            (tr("from", "depuis"), record.peer),
            (tr("method", "méthode"), record.method),
            (tr("kind", "nature"), enum_text(access_pb2.RecordKind, record.kind, _KIND)),
            ("permission", record.permission),
            (tr("objects", "objets"), ", ".join(record.objects)),
            ("zones", ", ".join(record.zones)),
            (tr("footage", "images"), window),
            (tr("purpose", "motif"), record.purpose),
            (tr("case", "procédure"), record.case_reference),
            (tr("decision", "décision"),
             enum_text(events_pb2.Decision, record.decision, _DECISION)),
            (tr("reason", "raison"), record.decision_reason),
            (tr("delivered", "remis"), delivered),
            (tr("request", "appel"), record.request_id),
            (tr("in the log", "au journal"), f"{found.log_partition}/{found.log_offset}"),
            ("SHA-256", found.record_sha256),
        ),
    )  # fmt: skip


@command(app, "export", "Exporter des accès dans un fichier ; reprend un export interrompu.")
def export(
    context: typer.Context,
    output: Annotated[
        Path, typer.Option("--output", "-o", help=tr("File; - : standard output.", "Fichier."))
    ],
    form: Annotated[str, typer.Option("--format", help="jsonl, csv")] = "jsonl",
    start: opt.From = "",
    end: opt.To = "now",
    subject: Subject = "",
    agency: Agency = "",
    camera: Camera = "",
    object_name: Object = "",
    zone: Zone = "",
    method: Method = "",
    decision: Decision = "",
    kind: Kind = None,
    case: opt.Case = "",
) -> None:
    """Export accesses into a file; an export that was cut goes on where it stopped."""
    session = session_of(context)
    if form not in _FORMATS:
        raise typer.BadParameter(f"--format {form}: {', '.join(_FORMATS)}")
    criteria = _filter(
        start=start, end=end, camera=camera, object_name=object_name, footage_from="",
        footage_to="", decision=decision, kinds=kind, phase="",
        same={
            "subject": subject, "agency": agency, "zone": zone, "method": method,
            "case_reference": case,
        },
    )  # fmt: skip
    request = pb.ExportAccessesRequest(filter=criteria, format=_FORMATS[form])
    if str(output) == "-":
        with writing(output) as stream:
            for answer in session.stream(_stub(session).ExportAccesses, request):
                stream.write(answer.data)
        return
    # "now" and "-1h" are other instants at each attempt: what was typed tells one export from
    # another, and the request of the first attempt is the one that goes on.
    typed = [form, start, end, subject, agency, camera, object_name, zone, method, decision, case]
    count = _export_into(session, output, request, "|".join((*typed, *(kind or ()))))
    if session.as_json:
        session.show_json({"path": str(output), "record_count": count})
    else:
        session.errors.print(f"{output}  {count} {tr('records', 'accès')}", markup=False)


def _export_into(
    session: Session, output: Path, request: pb.ExportAccessesRequest, label: str
) -> int:
    """Write the export, resuming one of the same criteria; returns the number of records."""
    with ResumableFile(output, request, label) as part:
        complete = False
        for answer in session.stream(_stub(session).ExportAccesses, part.request):
            part.write(answer.data, answer.resume_token, answer.record_count)
            complete = answer.complete
        if not complete:
            raise fail(
                tr("the export ended early; the same command goes on",
                   "l'export s'est arrêté trop tôt ; la même commande le reprend"),
                Exit.UNAVAILABLE,
            )  # fmt: skip
        part.finish()
        return part.record_count
