"""``vigie.registry.v1.ZoneService``: communes, zones, sites."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from sqlalchemy import ColumnElement, RowMapping, Table, and_, true

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.grpc.call import ZoneSet, current_call
from vigie.platform.paging import fitting, query_of
from vigie.registry import names, places
from vigie.registry.desk import Desk, page_size
from vigie.registry.placebook import COMMUNE, SITE, ZONE, PlaceBook, zones_of_commune
from vigie.registry.repeats import Admission
from vigie.registry.tables import sites, zones
from vigie.registry.v1.zones_pb2 import (
    Commune,
    CreateCommuneRequest,
    CreateSiteRequest,
    CreateZoneRequest,
    DeleteCommuneRequest,
    DeleteSiteRequest,
    DeleteZoneRequest,
    GetCommuneRequest,
    GetSiteRequest,
    GetZoneRequest,
    ListCommunesRequest,
    ListCommunesResponse,
    ListSitesRequest,
    ListSitesResponse,
    ListZonesRequest,
    ListZonesResponse,
    Site,
    UpdateCommuneRequest,
    UpdateSiteRequest,
    UpdateZoneRequest,
    Zone,
)
from vigie.registry.v1.zones_pb2_grpc import ZoneServiceServicer

Place = TypeVar("Place", Commune, Zone, Site)
ListRequest = ListCommunesRequest | ListZonesRequest | ListSitesRequest


class ZoneServicer(ZoneServiceServicer):
    """Serves the ground: admits the caller, then leaves the work to the rules."""

    def __init__(self, desk: Desk, book: PlaceBook) -> None:
        self._desk = desk
        self._book = book

    # --- communes ------------------------------------------------------------------------------

    async def CreateCommune(self, request: CreateCommuneRequest, context: Any) -> Commune:
        """See the contract; a commune is in no zone, so the permission is needed everywhere."""
        call = current_call()
        await call.admit(objects=[names.commune_name(request.insee_code)], zones=None)

        async def work(connection: AsyncConnection) -> Commune:
            return await self._book.create_commune(connection, request)

        return await self._desk.repeats.once(call, request, Commune, work)

    async def GetCommune(self, request: GetCommuneRequest, context: Any) -> Commune:
        """See the contract."""
        await current_call().admit(objects=[request.name])
        async with self._desk.database.reading() as connection:
            row = await self._book.load(connection, COMMUNE, names.identifier(request.name))
        return self._book.commune(row)

    async def ListCommunes(
        self, request: ListCommunesRequest, context: Any
    ) -> ListCommunesResponse:
        """See the contract."""
        await current_call().admit(objects=["communes/-"])
        found, token = await self._page(COMMUNE.table, self._book.commune, true(), request)
        return ListCommunesResponse(communes=found, next_page_token=token)

    async def UpdateCommune(self, request: UpdateCommuneRequest, context: Any) -> Commune:
        """See the contract."""
        call = current_call()
        admission = await self._admit_to_commune(request.commune.name, request)

        async def work(connection: AsyncConnection) -> Commune:
            return await self._book.update_commune(connection, request)

        return await self._desk.repeats.once(call, request, Commune, work, admission=admission)

    async def DeleteCommune(self, request: DeleteCommuneRequest, context: Any) -> Empty:
        """See the contract."""
        call = current_call()
        await call.admit(objects=[request.name], zones=None)

        async def work(connection: AsyncConnection) -> Empty:
            await self._book.delete(connection, COMMUNE, request.name, request.etag)
            return Empty()

        return await self._desk.repeats.once(call, request, Empty, work)

    # --- zones ---------------------------------------------------------------------------------

    async def CreateZone(self, request: CreateZoneRequest, context: Any) -> Zone:
        """See the contract."""
        call = current_call()
        await call.admit(objects=[names.zone_name(request.zone_id)], zones=[request.zone_id])

        async def work(connection: AsyncConnection) -> Zone:
            return await self._book.create_zone(connection, request)

        return await self._desk.repeats.once(call, request, Zone, work)

    async def GetZone(self, request: GetZoneRequest, context: Any) -> Zone:
        """See the contract."""
        zone = names.identifier(request.name)
        await current_call().admit(objects=[request.name], zones=[zone])
        async with self._desk.database.reading() as connection:
            return self._book.zone(await self._book.load(connection, ZONE, zone))

    async def ListZones(self, request: ListZonesRequest, context: Any) -> ListZonesResponse:
        """See the contract."""
        call = current_call()
        await call.admit(objects=["zones/-"])
        allowed = call.zones_allowed()
        condition = _standing_in(allowed, zones.c.zone)
        if request.commune:
            condition = and_(condition, zones.c.commune == names.identifier(request.commune))
        found, token = await self._page(ZONE.table, self._book.zone, condition, request)
        return ListZonesResponse(zones=found, next_page_token=token)

    async def UpdateZone(self, request: UpdateZoneRequest, context: Any) -> Zone:
        """See the contract."""
        call = current_call()
        zone = names.identifier(request.zone.name)
        await call.admit(objects=[request.zone.name], zones=[zone])

        async def work(connection: AsyncConnection) -> Zone:
            return await self._book.update_zone(connection, request)

        return await self._desk.repeats.once(call, request, Zone, work)

    async def DeleteZone(self, request: DeleteZoneRequest, context: Any) -> Empty:
        """See the contract."""
        call = current_call()
        await call.admit(objects=[request.name], zones=[names.identifier(request.name)])

        async def work(connection: AsyncConnection) -> Empty:
            await self._book.delete(connection, ZONE, request.name, request.etag)
            return Empty()

        return await self._desk.repeats.once(call, request, Empty, work)

    # --- sites ---------------------------------------------------------------------------------

    async def CreateSite(self, request: CreateSiteRequest, context: Any) -> Site:
        """See the contract."""
        call = current_call()
        zone = names.identifier(request.site.zone)
        await call.admit(objects=[names.site_name(request.site_id)], zones=[zone] if zone else ())

        async def work(connection: AsyncConnection) -> Site:
            return await self._book.create_site(connection, request)

        return await self._desk.repeats.once(call, request, Site, work)

    async def GetSite(self, request: GetSiteRequest, context: Any) -> Site:
        """See the contract."""
        await self._admit_to_site(request.name, request)
        async with self._desk.database.reading() as connection:
            row = await self._book.load(connection, SITE, names.identifier(request.name))
        return self._book.site(row)

    async def ListSites(self, request: ListSitesRequest, context: Any) -> ListSitesResponse:
        """See the contract."""
        call = current_call()
        await call.admit(objects=["sites/-"])
        allowed = call.zones_allowed()
        condition = _standing_in(allowed, sites.c.zone)
        if request.zone:
            condition = and_(condition, sites.c.zone == names.identifier(request.zone))
        found, token = await self._page(SITE.table, self._book.site, condition, request)
        return ListSitesResponse(sites=found, next_page_token=token)

    async def UpdateSite(self, request: UpdateSiteRequest, context: Any) -> Site:
        """See the contract."""
        call = current_call()
        admission = await self._admit_to_site(request.site.name, request)

        async def work(connection: AsyncConnection) -> Site:
            return await self._book.update_site(connection, request)

        return await self._desk.repeats.once(call, request, Site, work, admission=admission)

    async def DeleteSite(self, request: DeleteSiteRequest, context: Any) -> Empty:
        """See the contract."""
        call = current_call()
        admission = await self._admit_to_site(request.name, request)

        async def work(connection: AsyncConnection) -> Empty:
            await self._book.delete(connection, SITE, request.name, request.etag)
            return Empty()

        return await self._desk.repeats.once(call, request, Empty, work, admission=admission)

    # --- private -------------------------------------------------------------------------------

    async def _admit_to_commune(self, name: str, request: Message) -> Admission:
        """Admit the caller to every zone of a commune (everywhere, when it has none)."""

        async def zones_now() -> list[str] | None:
            async with self._desk.database.reading() as connection:
                return await zones_of_commune(connection, names.identifier(name)) or None

        return await self._admit(name, request, zones_now)

    async def _admit_to_site(self, name: str, request: Message) -> Admission:
        """Admit the caller to the zone of a site (everywhere, when there is no such site)."""

        async def zones_now() -> list[str] | None:
            async with self._desk.database.reading() as connection:
                row = await places.fetch(connection, sites, names.identifier(name))
            return [row["zone"]] if row else None

        return await self._admit(name, request, zones_now)

    async def _admit(
        self, name: str, request: Message, zones_now: Callable[[], Awaitable[list[str] | None]]
    ) -> Admission:
        """Admit the caller: to a request that was done, where he was admitted then."""
        call = current_call()
        admission = await self._desk.repeats.admission(call, request)
        if admission is None:
            admission = Admission(await zones_now())
        await call.admit(objects=[name], zones=admission.zones)
        return admission

    async def _page(
        self,
        table: Table,
        message: Callable[[RowMapping], Place],
        condition: ColumnElement[bool],
        request: ListRequest,
    ) -> tuple[Sequence[Place], str]:
        """What stands on one page, and the token of the next."""
        query = query_of(request)
        cursor = self._desk.tokens.open_page(request.page_token, query)
        size = page_size(request.page_size)
        async with self._desk.database.reading() as connection:
            rows = await places.page(
                connection,
                table,
                condition,
                after=cursor["after"] if cursor else None,
                limit=size + 1,
            )
        found = fitting([message(row) for row in rows[:size]])
        if len(found) == len(rows):
            return found, ""
        first_column = next(iter(table.primary_key.columns)).name
        last = rows[len(found) - 1][first_column]
        return found, self._desk.tokens.seal({"after": last}, query)


def _standing_in(allowed: ZoneSet, zone: ColumnElement[str]) -> ColumnElement[bool]:
    return true() if allowed.everywhere else zone.in_(sorted(allowed.names))
