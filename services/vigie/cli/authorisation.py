"""Prefectoral authorisations."""

from typing import Annotated, Any, Final

import typer

from vigie.cli import options as opt
from vigie.cli.arguments import identifier, parse_instant, resource
from vigie.cli.commands import command, examples, new_app
from vigie.cli.language import tr
from vigie.cli.output import local_time, show_fields
from vigie.cli.resources import completing, enum_of, fill, fill_changes, pages, show_list, words_of
from vigie.cli.session import Session, session_of
from vigie.cli.words import enum_text
from vigie.platform.clock import SystemWallClock, from_us
from vigie.registry.v1 import authorisations_pb2 as pb
from vigie.registry.v1 import authorisations_pb2_grpc as pb_grpc

app = new_app(
    "Prefectoral authorisations: without one in force a camera does not record.",
    "Autorisations préfectorales : sans autorisation en vigueur, une caméra n'enregistre pas.",
    epilog=examples(
        "vigie authorisation create --number 2026-0123 --prefecture Puy-de-Dôme \\\n"
        "    --signed 2026-01-05 --valid-from 2026-01-10 --valid-until 2031-01-10 \\\n"
        "    --purpose persons-and-property --zone zae-brezet --retention-days 15",
        "vigie authorisation list --state expiring",
    ),
)

_PURPOSE: Final = "AUTHORISATION_PURPOSE_"
_STATE: Final = "AUTHORISATION_STATE_"

Authorisation = Annotated[
    str, typer.Argument(help=tr("Authorisation (its identifier).", "Autorisation."))
]
Purposes = Annotated[
    list[str] | None,
    typer.Option(
        "--purpose",
        help=tr("Purpose of CSI L251-2, repeatable: ", "Finalité du CSI L251-2, répétable : ")
        + ", ".join(words_of(pb.AuthorisationPurpose, _PURPOSE)),
        autocompletion=completing(pb.AuthorisationPurpose, _PURPOSE),
    ),
]
Cameras = Annotated[
    list[str] | None,
    typer.Option("--camera", help=tr("Camera it names, repeatable.", "Caméra, répétable.")),
]
Zones = Annotated[
    list[str] | None,
    typer.Option("--zone", help=tr("Zone of its perimeter, repeatable.", "Zone, répétable.")),
]
Days = Annotated[
    int | None,
    typer.Option(
        "--retention-days", min=0, max=31,
        help=tr("Retention it allows, 1 to 31; 0: one calendar month.",
                "Durée de conservation, 1 à 31 ; 0 : un mois."),
    ),
]  # fmt: skip
Recipients = Annotated[
    list[str] | None,
    typer.Option("--recipient", help=tr("Agency that may receive.", "Service destinataire.")),
]
Signed = Annotated[str | None, typer.Option(help=tr("Day it was signed.", "Jour de signature."))]
ValidFrom = Annotated[
    str | None,
    typer.Option(help=tr("First day (00:00 local) or instant.", "Premier jour (0 h) ou instant.")),
]
ValidUntil = Annotated[
    str | None,
    typer.Option(help=tr("First day or instant no longer.", "Premier jour où elle ne vaut plus.")),
]
Number = Annotated[str | None, typer.Option(help=tr("Number of the order.", "Numéro de l'arrêté."))]
Prefecture = Annotated[
    str | None, typer.Option(help=tr("Prefecture that signed.", "Préfecture signataire."))
]


def _stub(session: Session) -> Any:
    return session.stub(pb_grpc.AuthorisationServiceStub)


def _name(text: str) -> str:
    return resource("authorisations", text)


def _values(
    *,
    number: str | None,
    prefecture: str | None,
    purposes: list[str] | None,
    cameras: list[str] | None,
    zones: list[str] | None,
    retention_days: int | None,
    recipients: list[str] | None,
) -> dict[str, Any]:
    """What was given; lists that were not given are left as they are."""
    words = [enum_of(pb.AuthorisationPurpose, _PURPOSE, word) for word in purposes or []]
    return {
        "number": number,
        "prefecture": prefecture,
        "purposes": words or None,
        "cameras": [resource("cameras", each) for each in cameras or []] or None,
        "zones": [resource("zones", each) for each in zones or []] or None,
        "retention_days": retention_days,
        "recipients": recipients or None,
    }


def _set_times(
    message: pb.Authorisation, signed: str | None, begins: str | None, ends: str | None
) -> list[str]:
    """Put the instants that were given into the message; returns their fields."""
    now = from_us(SystemWallClock().now_us())
    given = {"sign_time": signed, "valid_from": begins, "valid_until": ends}
    for field, text in given.items():
        if text is not None:
            getattr(message, field).FromDatetime(parse_instant(text, now))
    return [field for field, text in given.items() if text is not None]


def _show(session: Session, found: pb.Authorisation) -> None:
    if session.as_json:
        session.show_json(found)
        return
    purposes = ", ".join(
        pb.AuthorisationPurpose.Name(each).removeprefix(_PURPOSE).lower().replace("_", "-")
        for each in found.purposes
    )
    days = found.retention_days
    show_fields(
        session.console,
        found.name,
        (
            (tr("order", "arrêté"), f"{found.number}  {found.prefecture}"),
            (tr("state", "état"), enum_text(pb.AuthorisationState, found.state, _STATE)),
            (tr("signed", "signée"), local_time(found.sign_time)),
            (tr("valid", "vaut"),
             f"{local_time(found.valid_from)} → {local_time(found.valid_until)}"),
            (tr("renewal due", "à renouveler dès"), local_time(found.renewal_due_time)),
            (tr("revoked", "abrogée"),
             f"{local_time(found.revoke_time)}  {found.revoke_reason}"
             if found.HasField("revoke_time") else ""),
            (tr("purposes", "finalités"), purposes),
            ("zones", _ids(found.zones)),
            (tr("cameras", "caméras"), _ids(found.cameras)),
            (tr("covers", "couvre"), _ids(found.covered_cameras)),
            (tr("lapsed", "ne couvre plus"), _ids(found.lapsed_cameras)),
            (tr("in other zones", "hors de vos zones"), str(found.hidden_camera_count or "")),
            (tr("retention", "conservation"),
             f"{days} {tr('days', 'jours')}" if days else tr("one calendar month", "un mois")),
            (tr("recipients", "destinataires"), ", ".join(found.recipients)),
            ("etag", found.etag),
        ),
    )  # fmt: skip


def _ids(names: Any) -> str:
    return ", ".join(identifier(name) for name in names)


@command(app, "create", "Inscrire un arrêté préfectoral ; les caméras couvertes l'apprennent.")
def create(
    context: typer.Context,
    number: Annotated[str, typer.Option(help=tr("Number of the order.", "Numéro de l'arrêté."))],
    prefecture: Annotated[
        str, typer.Option(help=tr("Prefecture that signed.", "Préfecture signataire."))
    ],
    valid_from: Annotated[
        str, typer.Option(help=tr("First day (00:00 local) or instant.", "Premier jour."))
    ],
    valid_until: Annotated[
        str, typer.Option(help=tr("First day or instant no longer.", "Premier jour exclu."))
    ],
    purpose: Purposes = None,
    camera: Cameras = None,
    zone: Zones = None,
    signed: Signed = None,
    retention_days: Days = None,
    recipient: Recipients = None,
    authorisation_id: Annotated[
        str, typer.Option("--id", help=tr("Default: from the number.", "Défaut : du numéro."))
    ] = "",
    request_id: opt.RequestId = "",
) -> None:
    """Enter a prefectoral order; the cameras it covers are told at once."""
    session = session_of(context)
    entered = pb.Authorisation()
    fill(
        entered,
        _values(
            number=number, prefecture=prefecture, purposes=purpose, cameras=camera, zones=zone,
            retention_days=retention_days, recipients=recipient,
        ),
    )  # fmt: skip
    _set_times(entered, signed, valid_from, valid_until)
    request = pb.CreateAuthorisationRequest(
        authorisation_id=authorisation_id, authorisation=entered, request_id=request_id
    )
    _show(session, session.call(_stub(session).CreateAuthorisation, request))


@command(app, "get", "Montrer une autorisation et les caméras qu'elle couvre.")
def get(context: typer.Context, name: Authorisation) -> None:
    """Show an authorisation and the cameras it covers."""
    session = session_of(context)
    request = pb.GetAuthorisationRequest(name=_name(name))
    _show(session, session.call(_stub(session).GetAuthorisation, request))


@command(app, "list", "Lister les autorisations.")
def list_authorisations(
    context: typer.Context,
    camera: Annotated[
        str, typer.Option(help=tr("Only those that cover it now.", "Celles qui la couvrent."))
    ] = "",
    state: Annotated[
        list[str] | None,
        typer.Option(
            help=", ".join(words_of(pb.AuthorisationState, _STATE)),
            autocompletion=completing(pb.AuthorisationState, _STATE),
        ),
    ] = None,
    limit: opt.Limit = 0,
) -> None:
    """List authorisations."""
    session = session_of(context)
    request = pb.ListAuthorisationsRequest(
        camera=opt.camera_name(camera) if camera else "",
        states=[enum_of(pb.AuthorisationState, _STATE, word) for word in state or []],
    )
    columns = (
        tr("authorisation", "autorisation"), tr("order", "arrêté"), tr("state", "état"),
        tr("valid until", "vaut jusqu'au"), tr("cameras", "caméras"), "zones",
    )  # fmt: skip
    show_list(
        session,
        pages(session, _stub(session).ListAuthorisations, request, "authorisations", limit),
        columns,
        lambda each: (
            identifier(each.name),
            each.number,
            enum_text(pb.AuthorisationState, each.state, _STATE),
            local_time(each.valid_until),
            str(len(each.covered_cameras)),
            _ids(each.zones),
        ),
    )


@command(app, "update", "Corriger une autorisation ou inscrire un arrêté modificatif.")
def update(
    context: typer.Context,
    name: Authorisation,
    number: Number = None,
    prefecture: Prefecture = None,
    purpose: Purposes = None,
    camera: Cameras = None,
    zone: Zones = None,
    signed: Signed = None,
    valid_from: ValidFrom = None,
    valid_until: ValidUntil = None,
    retention_days: Days = None,
    recipient: Recipients = None,
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """Correct an authorisation or record an amending order; a list replaces the one there was."""
    session = session_of(context)
    changed = pb.Authorisation(name=_name(name), etag=etag)
    times = _set_times(changed, signed, valid_from, valid_until)
    values = _values(
        number=number, prefecture=prefecture, purposes=purpose, cameras=camera, zones=zone,
        retention_days=retention_days, recipients=recipient,
    )  # fmt: skip
    mask = fill(changed, values) if times else fill_changes(changed, values)
    mask.paths.extend(times)
    request = pb.UpdateAuthorisationRequest(
        authorisation=changed, update_mask=mask, request_id=request_id
    )
    _show(session, session.call(_stub(session).UpdateAuthorisation, request))


@command(app, "revoke", "Mettre fin à une autorisation pour toujours, maintenant.")
def revoke(
    context: typer.Context,
    name: Authorisation,
    reason: opt.Reason,
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """End an authorisation for good, now."""
    session = session_of(context)
    request = pb.RevokeAuthorisationRequest(
        name=_name(name), reason=reason, etag=etag, request_id=request_id
    )
    _show(session, session.call(_stub(session).RevokeAuthorisation, request))
