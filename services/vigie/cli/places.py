"""Communes, zones and sites."""

from typing import Annotated, Any

import typer

from vigie.cli import options as opt
from vigie.cli.arguments import identifier, resource
from vigie.cli.commands import command, examples, new_app
from vigie.cli.language import tr
from vigie.cli.output import local_time, show_fields
from vigie.cli.resources import fill, fill_changes, pages, position_of, position_text, show_list
from vigie.cli.session import Session, session_of
from vigie.registry.v1 import zones_pb2 as pb
from vigie.registry.v1 import zones_pb2_grpc as pb_grpc

commune_app = new_app(
    "Communes.",
    "Communes.",
    epilog=examples("vigie commune create 63113 --name Clermont-Ferrand", "vigie commune list"),
)
zone_app = new_app(
    "Zones of communes: the unit of permissions.",
    "Zones des communes : l'unité des permissions.",
    epilog=examples(
        "vigie zone create zae-brezet --commune 63113 --name 'ZAE du Brézet'",
        "vigie zone list --commune 63113",
    ),
)
site_app = new_app(
    "Sites of zones: masts, facades, crossroads that carry cameras.",
    "Sites des zones : mâts, façades, carrefours qui portent des caméras.",
    epilog=examples(
        "vigie site create mat-12 --zone zae-brezet --name 'Mât 12' --position 45.79,3.13",
    ),
)

Insee = Annotated[str, typer.Argument(help=tr("INSEE code, e.g. 63113.", "Code INSEE."))]
Zone = Annotated[str, typer.Argument(help=tr("Zone, e.g. zae-brezet.", "Zone, p. ex. zae-brezet."))]
Site = Annotated[str, typer.Argument(help=tr("Site, e.g. mat-12.", "Site, p. ex. mat-12."))]
OfCommune = Annotated[
    str, typer.Option("--commune", help=tr("INSEE code of the commune.", "Commune (code INSEE)."))
]
OfZone = Annotated[str, typer.Option("--zone", help=tr("Zone it lies in.", "Zone."))]
NewName = Annotated[str, typer.Option("--name", help=tr("Name for people.", "Nom affiché."))]
Address = Annotated[
    str | None, typer.Option(help=tr("Postal address or place.", "Adresse ou lieu."))
]


def _stub(session: Session) -> Any:
    return session.stub(pb_grpc.ZoneServiceStub)


def _show(session: Session, found: Any) -> None:
    if session.as_json:
        session.show_json(found)
        return
    fields = [
        (tr("name", "nom"), found.display_name),
        (tr("commune", "commune"), identifier(getattr(found, "commune", ""))),
        ("zone", identifier(getattr(found, "zone", ""))),
        (tr("description", "description"), getattr(found, "description", "")),
        (tr("address", "adresse"), getattr(found, "address", "")),
        (tr("position", "position"), position_text(found) if isinstance(found, pb.Site) else ""),
        (tr("changed", "modifié"), local_time(found.update_time)),
        ("etag", found.etag),
    ]
    show_fields(session.console, found.name, fields)


def _deleted(session: Session, name: str) -> None:
    if session.as_json:
        session.show_json({"deleted": name})
    else:
        session.console.print(f"{name} {tr('deleted', 'supprimé')}", markup=False)


@command(commune_app, "create", "Inscrire une commune.")
def create_commune(
    context: typer.Context, insee: Insee, name: NewName, request_id: opt.RequestId = ""
) -> None:
    """Enter a commune."""
    session = session_of(context)
    request = pb.CreateCommuneRequest(
        insee_code=identifier(insee), commune=pb.Commune(display_name=name), request_id=request_id
    )
    _show(session, session.call(_stub(session).CreateCommune, request))


@command(commune_app, "get", "Montrer une commune.")
def get_commune(context: typer.Context, insee: Insee) -> None:
    """Show a commune."""
    session = session_of(context)
    request = pb.GetCommuneRequest(name=resource("communes", insee))
    _show(session, session.call(_stub(session).GetCommune, request))


@command(commune_app, "list", "Lister les communes.")
def list_communes(context: typer.Context, limit: opt.Limit = 0) -> None:
    """List communes."""
    session = session_of(context)
    found = pages(session, _stub(session).ListCommunes, pb.ListCommunesRequest(), "communes", limit)
    columns = ("INSEE", tr("name", "nom"))
    show_list(session, found, columns, lambda each: (each.insee_code, each.display_name))


@command(commune_app, "update", "Renommer une commune.")
def update_commune(
    context: typer.Context,
    insee: Insee,
    name: opt.DisplayName = None,
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """Rename a commune."""
    session = session_of(context)
    commune = pb.Commune(name=resource("communes", insee), etag=etag)
    mask = fill_changes(commune, {"display_name": name})
    request = pb.UpdateCommuneRequest(commune=commune, update_mask=mask, request_id=request_id)
    _show(session, session.call(_stub(session).UpdateCommune, request))


@command(commune_app, "delete", "Retirer une commune sans zone.")
def delete_commune(
    context: typer.Context, insee: Insee, etag: opt.Etag = "", request_id: opt.RequestId = ""
) -> None:
    """Remove a commune without zones."""
    session = session_of(context)
    name = resource("communes", insee)
    request = pb.DeleteCommuneRequest(name=name, etag=etag, request_id=request_id)
    session.call(_stub(session).DeleteCommune, request)
    _deleted(session, name)


@command(zone_app, "create", "Inscrire une zone.")
def create_zone(
    context: typer.Context,
    zone: Zone,
    commune: OfCommune,
    name: NewName,
    description: opt.Description = None,
    request_id: opt.RequestId = "",
) -> None:
    """Enter a zone."""
    session = session_of(context)
    entered = pb.Zone(commune=resource("communes", commune), display_name=name)
    fill(entered, {"description": description})
    request = pb.CreateZoneRequest(zone_id=identifier(zone), zone=entered, request_id=request_id)
    _show(session, session.call(_stub(session).CreateZone, request))


@command(zone_app, "get", "Montrer une zone.")
def get_zone(context: typer.Context, zone: Zone) -> None:
    """Show a zone."""
    session = session_of(context)
    request = pb.GetZoneRequest(name=resource("zones", zone))
    _show(session, session.call(_stub(session).GetZone, request))


@command(zone_app, "list", "Lister les zones.")
def list_zones(context: typer.Context, commune: OfCommune = "", limit: opt.Limit = 0) -> None:
    """List zones."""
    session = session_of(context)
    request = pb.ListZonesRequest(commune=resource("communes", commune) if commune else "")
    columns = (
        "zone",
        tr("commune", "commune"),
        tr("name", "nom"),
        tr("description", "description"),
    )
    show_list(
        session,
        pages(session, _stub(session).ListZones, request, "zones", limit),
        columns,
        lambda each: (
            identifier(each.name), identifier(each.commune), each.display_name, each.description,
        ),
    )  # fmt: skip


@command(zone_app, "update", "Modifier une zone.")
def update_zone(
    context: typer.Context,
    zone: Zone,
    name: opt.DisplayName = None,
    description: opt.Description = None,
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """Change a zone."""
    session = session_of(context)
    changed = pb.Zone(name=resource("zones", zone), etag=etag)
    mask = fill_changes(changed, {"display_name": name, "description": description})
    request = pb.UpdateZoneRequest(zone=changed, update_mask=mask, request_id=request_id)
    _show(session, session.call(_stub(session).UpdateZone, request))


@command(zone_app, "delete", "Retirer une zone sans caméra ni passé.")
def delete_zone(
    context: typer.Context, zone: Zone, etag: opt.Etag = "", request_id: opt.RequestId = ""
) -> None:
    """Remove a zone that never had a camera."""
    session = session_of(context)
    name = resource("zones", zone)
    request = pb.DeleteZoneRequest(name=name, etag=etag, request_id=request_id)
    session.call(_stub(session).DeleteZone, request)
    _deleted(session, name)


@command(site_app, "create", "Inscrire un site.")
def create_site(
    context: typer.Context,
    site: Site,
    zone: OfZone,
    name: NewName,
    address: Address = None,
    position: opt.Position = None,
    request_id: opt.RequestId = "",
) -> None:
    """Enter a site."""
    session = session_of(context)
    entered = pb.Site(zone=resource("zones", zone), display_name=name)
    fill(entered, {"address": address, "position": position_of(position)})
    request = pb.CreateSiteRequest(site_id=identifier(site), site=entered, request_id=request_id)
    _show(session, session.call(_stub(session).CreateSite, request))


@command(site_app, "get", "Montrer un site.")
def get_site(context: typer.Context, site: Site) -> None:
    """Show a site."""
    session = session_of(context)
    request = pb.GetSiteRequest(name=resource("sites", site))
    _show(session, session.call(_stub(session).GetSite, request))


@command(site_app, "list", "Lister les sites.")
def list_sites(context: typer.Context, zone: OfZone = "", limit: opt.Limit = 0) -> None:
    """List sites."""
    session = session_of(context)
    request = pb.ListSitesRequest(zone=resource("zones", zone) if zone else "")
    columns = ("site", "zone", tr("name", "nom"), tr("address", "adresse"), "position")
    show_list(
        session,
        pages(session, _stub(session).ListSites, request, "sites", limit),
        columns,
        lambda each: (
            identifier(each.name), identifier(each.zone), each.display_name, each.address,
            position_text(each),
        ),
    )  # fmt: skip


@command(site_app, "update", "Modifier un site.")
def update_site(
    context: typer.Context,
    site: Site,
    name: opt.DisplayName = None,
    address: Address = None,
    position: opt.Position = None,
    etag: opt.Etag = "",
    request_id: opt.RequestId = "",
) -> None:
    """Change a site."""
    session = session_of(context)
    changed = pb.Site(name=resource("sites", site), etag=etag)
    values = {"display_name": name, "address": address, "position": position_of(position)}
    mask = fill_changes(changed, values)
    request = pb.UpdateSiteRequest(site=changed, update_mask=mask, request_id=request_id)
    _show(session, session.call(_stub(session).UpdateSite, request))


@command(site_app, "delete", "Retirer un site sans caméra.")
def delete_site(
    context: typer.Context, site: Site, etag: opt.Etag = "", request_id: opt.RequestId = ""
) -> None:
    """Remove a site without cameras."""
    session = session_of(context)
    name = resource("sites", site)
    request = pb.DeleteSiteRequest(name=name, etag=etag, request_id=request_id)
    session.call(_stub(session).DeleteSite, request)
    _deleted(session, name)
