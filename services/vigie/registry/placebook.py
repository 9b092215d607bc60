"""What can be done with communes, zones and sites: the rules, inside an open transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Table, select

from vigie.platform.aip import check_etag, etag_of, mask_paths
from vigie.platform.clock import WallClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import ReasonSpec, VigieError
from vigie.registry import convert, names, places, reasons
from vigie.registry.model import Position
from vigie.registry.tables import (
    authorisation_cameras,
    authorisation_zones,
    camera_revisions,
    cameras,
    communes,
    sites,
    zones,
)
from vigie.registry.v1.zones_pb2 import (
    Commune,
    CreateCommuneRequest,
    CreateSiteRequest,
    CreateZoneRequest,
    Site,
    UpdateCommuneRequest,
    UpdateSiteRequest,
    UpdateZoneRequest,
    Zone,
)


@dataclass(frozen=True, slots=True)
class PlaceKind:
    """What communes, zones and sites have in common.

    Attributes:
        word: how people call one.
        table: where they are.
        absent: reason when there is none.
        present: reason when there is one already.
        occupied: reason when it cannot be deleted.
        occupants: columns that hold its identifier as long as something is in it, and what.
    """

    word: str
    table: Table
    absent: ReasonSpec
    present: ReasonSpec
    occupied: ReasonSpec
    occupants: tuple[tuple[ColumnElement[Any], str], ...]


COMMUNE: Final = PlaceKind(
    "commune",
    communes,
    reasons.COMMUNE_NOT_FOUND,
    reasons.COMMUNE_EXISTS,
    reasons.COMMUNE_NOT_EMPTY,
    ((zones.c.commune, "has zones"),),
)
ZONE: Final = PlaceKind(
    "zone",
    zones,
    reasons.ZONE_NOT_FOUND,
    reasons.ZONE_EXISTS,
    reasons.ZONE_NOT_EMPTY,
    (
        (sites.c.zone, "has sites"),
        (cameras.c.zone, "has cameras"),
        (camera_revisions.c.zone, "had cameras, and footage belongs to the zone of its time"),
        (authorisation_zones.c.zone, "lies in the perimeter of an authorisation"),
        (authorisation_cameras.c.zone, "is where an authorisation named a camera"),
    ),
)
SITE: Final = PlaceKind(
    "site",
    sites,
    reasons.SITE_NOT_FOUND,
    reasons.SITE_EXISTS,
    reasons.SITE_NOT_EMPTY,
    ((cameras.c.site, "has cameras"),),
)


class PlaceBook:
    """Communes, zones and sites and their rules.

    Args:
        wall_clock: tells when a change happens.
    """

    def __init__(self, wall_clock: WallClock) -> None:
        self._wall_clock = wall_clock

    async def create_commune(
        self, connection: AsyncConnection, request: CreateCommuneRequest
    ) -> Commune:
        """Enter a commune.

        Raises:
            VigieError: COMMUNE_EXISTS, FIELD_REQUIRED.
        """
        values = {"display_name": request.commune.display_name}
        return self.commune(await self._create(connection, COMMUNE, request.insee_code, values))

    async def create_zone(self, connection: AsyncConnection, request: CreateZoneRequest) -> Zone:
        """Enter a zone.

        Raises:
            VigieError: ZONE_EXISTS, COMMUNE_NOT_FOUND, FIELD_REQUIRED.
        """
        commune = names.identifier(request.zone.commune)
        await self._require(connection, COMMUNE, commune, field="zone.commune")
        values = {
            "commune": commune,
            "display_name": request.zone.display_name,
            "description": request.zone.description,
        }
        return self.zone(await self._create(connection, ZONE, request.zone_id, values))

    async def create_site(self, connection: AsyncConnection, request: CreateSiteRequest) -> Site:
        """Enter a site.

        Raises:
            VigieError: SITE_EXISTS, ZONE_NOT_FOUND, FIELD_REQUIRED.
        """
        zone = names.identifier(request.site.zone)
        await self._require(connection, ZONE, zone, field="site.zone")
        values = {
            "zone": zone,
            "display_name": request.site.display_name,
            "address": request.site.address,
            **_position(request.site),
        }
        return self.site(await self._create(connection, SITE, request.site_id, values))

    async def update_commune(
        self, connection: AsyncConnection, request: UpdateCommuneRequest
    ) -> Commune:
        """Change a commune.

        Raises:
            VigieError: COMMUNE_NOT_FOUND, ETAG_MISMATCH, FIELD_MASK_INVALID, FIELD_REQUIRED.
        """
        fields: dict[str, Callable[[], dict[str, Any]]] = {
            "display_name": lambda: {"display_name": request.commune.display_name}
        }
        return self.commune(
            await self._update(connection, COMMUNE, request.commune, request, fields)
        )

    async def update_zone(self, connection: AsyncConnection, request: UpdateZoneRequest) -> Zone:
        """Change a zone.

        Raises:
            VigieError: ZONE_NOT_FOUND, ETAG_MISMATCH, FIELD_MASK_INVALID, FIELD_REQUIRED.
        """
        fields: dict[str, Callable[[], dict[str, Any]]] = {
            "display_name": lambda: {"display_name": request.zone.display_name},
            "description": lambda: {"description": request.zone.description},
        }
        return self.zone(await self._update(connection, ZONE, request.zone, request, fields))

    async def update_site(self, connection: AsyncConnection, request: UpdateSiteRequest) -> Site:
        """Change a site.

        Raises:
            VigieError: SITE_NOT_FOUND, ETAG_MISMATCH, FIELD_MASK_INVALID, FIELD_REQUIRED.
        """
        fields: dict[str, Callable[[], dict[str, Any]]] = {
            "display_name": lambda: {"display_name": request.site.display_name},
            "address": lambda: {"address": request.site.address},
            "position": lambda: _position(request.site),
        }
        return self.site(await self._update(connection, SITE, request.site, request, fields))

    async def delete(
        self, connection: AsyncConnection, kind: PlaceKind, name: str, etag: str
    ) -> None:
        """Remove a place in which nothing is.

        Raises:
            VigieError: …_NOT_FOUND, …_NOT_EMPTY, ETAG_MISMATCH.
        """
        identifier = names.identifier(name)
        row = await self.load(connection, kind, identifier)
        check_etag(etag, _etag(row))
        for column, what in kind.occupants:
            if await places.any_row(connection, column, identifier):
                raise VigieError(kind.occupied, f"{kind.word} {identifier} {what}", field="name")
        await places.remove(connection, kind.table, identifier)

    async def load(
        self, connection: AsyncConnection, kind: PlaceKind, identifier: str
    ) -> RowMapping:
        """A row that must be there.

        Raises:
            VigieError: …_NOT_FOUND.
        """
        return await self._require(connection, kind, identifier, field="name")

    def commune(self, row: RowMapping) -> Commune:
        """The message for a row."""
        return Commune(
            name=names.commune_name(row["insee"]), insee_code=row["insee"], **_common(row)
        )

    def zone(self, row: RowMapping) -> Zone:
        """The message for a row."""
        return Zone(
            name=names.zone_name(row["zone"]),
            commune=names.commune_name(row["commune"]),
            description=row["description"],
            **_common(row),
        )

    def site(self, row: RowMapping) -> Site:
        """The message for a row."""
        position = None
        if row["latitude_degrees"] is not None:
            position = Position(row["latitude_degrees"], row["longitude_degrees"])
        return Site(
            name=names.site_name(row["site"]),
            zone=names.zone_name(row["zone"]),
            address=row["address"],
            position=convert.geo_point(position),
            **_common(row),
        )

    async def _create(
        self,
        connection: AsyncConnection,
        kind: PlaceKind,
        identifier: str,
        values: dict[str, Any],
    ) -> RowMapping:
        if await places.fetch(connection, kind.table, identifier) is not None:
            raise VigieError(
                kind.present, f"there is a {kind.word} {identifier} already", field="name"
            )
        _check_name(kind, values)
        now_us = self._wall_clock.now_us()
        key = next(iter(kind.table.primary_key.columns)).name
        row = {**values, key: identifier, "version": 1, "created_us": now_us, "updated_us": now_us}
        await places.add(connection, kind.table, row)
        return await self.load(connection, kind, identifier)

    async def _update(
        self,
        connection: AsyncConnection,
        kind: PlaceKind,
        message: Commune | Zone | Site,
        request: UpdateCommuneRequest | UpdateZoneRequest | UpdateSiteRequest,
        fields: dict[str, Callable[[], dict[str, Any]]],
    ) -> RowMapping:
        identifier = names.identifier(message.name)
        row = await self.load(connection, kind, identifier)
        check_etag(message.etag, _etag(row), field=f"{kind.word}.etag")
        values: dict[str, Any] = {}
        for path in mask_paths(request.update_mask, message, tuple(fields)):
            values |= fields[path]()
        if all(row[name] == value for name, value in values.items()):
            return row
        _check_name(kind, values)
        values["version"] = row["version"] + 1
        values["updated_us"] = self._wall_clock.now_us()
        await places.change(connection, kind.table, identifier, values)
        return await self.load(connection, kind, identifier)

    async def _require(
        self, connection: AsyncConnection, kind: PlaceKind, identifier: str, *, field: str
    ) -> RowMapping:
        row = await places.fetch(connection, kind.table, identifier)
        if row is None:
            what = f"there is no {kind.word} {identifier}" if identifier else "none is given"
            raise VigieError(kind.absent, what, field=field)
        return row


async def zones_of_commune(connection: AsyncConnection, insee: str) -> list[str]:
    """The zones of a commune, sorted."""
    statement = select(zones.c.zone).where(zones.c.commune == insee).order_by(zones.c.zone)
    return list((await connection.execute(statement)).scalars())


def _common(row: RowMapping) -> dict[str, Any]:
    return {
        "display_name": row["display_name"],
        "create_time": convert.timestamp(row["created_us"]),
        "update_time": convert.timestamp(row["updated_us"]),
        "etag": _etag(row),
    }


def _etag(row: RowMapping) -> str:
    """Also the time of creation: a place may be deleted and entered again."""
    return etag_of(row["display_name"], row["version"], row["created_us"])


def _position(message: Site) -> dict[str, Any]:
    given = message.HasField("position")
    return {
        "latitude_degrees": message.position.latitude_degrees if given else None,
        "longitude_degrees": message.position.longitude_degrees if given else None,
    }


def _check_name(kind: PlaceKind, values: dict[str, Any]) -> None:
    if "display_name" in values and not values["display_name"].strip():
        raise VigieError(
            reasons.FIELD_REQUIRED, f"a {kind.word} has a name", field=f"{kind.word}.display_name"
        )
