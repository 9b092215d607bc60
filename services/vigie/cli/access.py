"""Rights: one's own, the catalogue of permissions, the people designated."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from vigie.access.v1 import access_service_pb2 as pb
from vigie.access.v1 import access_service_pb2_grpc as pb_grpc
from vigie.cli import options as opt
from vigie.cli.arguments import identifier, resource
from vigie.cli.commands import command, examples, new_app
from vigie.cli.language import tr
from vigie.cli.output import local_time, show_fields, show_table
from vigie.cli.resources import pages, show_list
from vigie.cli.session import Session, session_of
from vigie.cli.words import enum_text

app = new_app(
    "Rights: your own, the catalogue of permissions, the people designated.",
    "Droits : les siens, le catalogue des permissions, les personnes désignées.",
    epilog=examples("vigie access whoami", "vigie access people --agency police-municipale"),
)
_STATE: Final = "PERSON_STATE_"


def _stub(session: Session) -> Any:
    return session.stub(pb_grpc.AccessServiceStub)


def _where(everywhere: bool, zones: Sequence[str]) -> str:
    if everywhere:
        return tr("everywhere", "partout")
    return ", ".join(identifier(zone) for zone in zones)


@command(app, "whoami", "Qui l'on est pour le produit, et ce que l'on peut où.")
def whoami(context: typer.Context) -> None:
    """Who you are to the product, and what you may do where."""
    session = session_of(context)
    found = session.call(_stub(session).WhoAmI, pb.WhoAmIRequest())
    if session.as_json:
        session.show_json(found)
        return
    show_fields(
        session.console,
        found.subject,
        (
            (tr("name", "nom"), found.display_name),
            (tr("agency", "service"), found.agency_display_name or identifier(found.agency)),
            (tr("roles", "rôles"), ", ".join(found.roles)),
            (tr("token ends", "fin du jeton"), local_time(found.token_expire_time)),
        ),
    )
    rows = [(grant.permission, _where(grant.everywhere, grant.zones)) for grant in found.grants]
    show_table(session.console, ("permission", "zones"), rows)


@command(app, "permissions", "Le catalogue des permissions, et les rôles qui les portent.")
def permissions(context: typer.Context, limit: opt.Limit = 0) -> None:
    """The catalogue of permissions, and the roles that carry each."""
    session = session_of(context)
    found = pages(
        session, _stub(session).ListPermissions, pb.ListPermissionsRequest(), "permissions", limit
    )
    columns = ("permission", tr("what it allows", "ce qu'elle permet"), tr("roles", "rôles"))
    show_list(
        session,
        found,
        columns,
        lambda each: (
            identifier(each.name),
            tr(each.description_en, each.description_fr),
            tr("services only", "services seulement") if each.internal else ", ".join(each.roles),
        ),
    )


@command(app, "people", "Les personnes désignées, leurs rôles et leurs zones.")
def people(
    context: typer.Context,
    agency: Annotated[str, typer.Option(help=tr("Only this agency.", "Ce service."))] = "",
    limit: opt.Limit = 0,
) -> None:
    """The people designated, their roles and zones."""
    session = session_of(context)
    request = pb.ListPeopleRequest(agency=resource("agencies", agency) if agency else "")
    columns = (
        tr("person", "personne"), tr("name", "nom"), tr("agency", "service"),
        tr("state", "état"), tr("roles", "rôles"), tr("until", "jusqu'au"),
    )  # fmt: skip
    show_list(
        session,
        pages(session, _stub(session).ListPeople, request, "people", limit),
        columns,
        lambda each: (
            identifier(each.name),
            each.display_name,
            each.agency_display_name or identifier(each.agency),
            " ".join(
                filter(
                    None,
                    (enum_text(pb.PersonState, each.state, _STATE), each.suspension_reason),
                )
            ),
            "\n".join(f"{role.role}: {_where(role.everywhere, role.zones)}" for role in each.roles),
            local_time(each.end_time),
        ),
    )
