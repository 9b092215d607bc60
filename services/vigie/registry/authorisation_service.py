"""``vigie.registry.v1.AuthorisationService``."""

from collections.abc import Sequence
from typing import Any

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.grpc.call import current_call
from vigie.platform.paging import PAGE_BYTES, query_of
from vigie.registry import authorisationstore, authority, names
from vigie.registry.authorisationbook import AuthorisationBook, identifier_for, not_found
from vigie.registry.authorisationscope import zones_named
from vigie.registry.desk import Desk, page_size
from vigie.registry.model import AuthorisationRecord
from vigie.registry.v1.authorisations_pb2 import (
    Authorisation,
    CreateAuthorisationRequest,
    GetAuthorisationRequest,
    ListAuthorisationsRequest,
    ListAuthorisationsResponse,
    RevokeAuthorisationRequest,
    UpdateAuthorisationRequest,
)
from vigie.registry.v1.authorisations_pb2_grpc import AuthorisationServiceServicer


class AuthorisationServicer(AuthorisationServiceServicer):
    """Serves authorisations: admits the caller, then leaves the work to the rules."""

    def __init__(self, desk: Desk, book: AuthorisationBook) -> None:
        self._desk = desk
        self._book = book

    async def CreateAuthorisation(
        self, request: CreateAuthorisationRequest, context: Any
    ) -> Authorisation:
        """See the contract."""
        call = current_call()
        async with self._desk.database.reading() as connection:
            zones = await zones_named(connection, request.authorisation)
        name = names.authorisation_name(identifier_for(request))
        await call.admit(objects=[name], zones=_sorted(zones))

        async def work(connection: AsyncConnection) -> Authorisation:
            return await self._book.create(connection, request, call.caller.subject, zones)

        return await self._desk.repeats.once(call, request, Authorisation, work)

    async def GetAuthorisation(
        self, request: GetAuthorisationRequest, context: Any
    ) -> Authorisation:
        """See the contract; cameras of zones the caller may not read are left out."""
        call = current_call()
        record, zones = await self._find(request.name)
        if record is None:
            await call.admit(objects=[request.name], zones=None)
            raise not_found(names.identifier(request.name))
        allowed = call.zones_allowed()
        readable = [zone for zone in zones if zone in allowed]
        # One of its zones is enough; with none of them the refusal names the first.
        await call.admit(objects=[request.name], zones=readable or zones[:1])
        async with self._desk.database.reading() as connection:
            return await self._book.read(connection, record, allowed)

    async def ListAuthorisations(
        self, request: ListAuthorisationsRequest, context: Any
    ) -> ListAuthorisationsResponse:
        """See the contract."""
        call = current_call()
        await call.admit(objects=["authorisations/-"])
        query = query_of(request)
        cursor = self._desk.tokens.open_page(request.page_token, query)
        size = page_size(request.page_size)
        now_us = self._desk.wall_clock.now_us()
        allowed = call.zones_allowed()
        answer, size_bytes = ListAuthorisationsResponse(), 0
        async with self._desk.database.reading() as connection:
            found = await authorisationstore.find_all(
                connection, after=cursor["after"] if cursor else None
            )
            scopes = await authorisationstore.scopes(connection, [r.authorisation for r in found])
            for record in found:
                name = record.authorisation
                zones = scopes[name].concerned
                if not allowed.everywhere and not any(zone in allowed for zone in zones):
                    continue
                if request.states and authority.state_of(record, now_us) not in request.states:
                    continue
                read = await self._book.read(connection, record, allowed)
                # Looked for in what the answer tells: a camera that is left out is in none.
                covers = record.in_force(now_us) and request.camera in read.covered_cameras
                if request.camera and not covers:
                    continue
                size_bytes += read.ByteSize()
                full = len(answer.authorisations) == size or size_bytes > PAGE_BYTES
                if full and answer.authorisations:
                    last = names.identifier(answer.authorisations[-1].name)
                    answer.next_page_token = self._desk.tokens.seal({"after": last}, query)
                    break
                answer.authorisations.append(read)
        return answer

    async def UpdateAuthorisation(
        self, request: UpdateAuthorisationRequest, context: Any
    ) -> Authorisation:
        """See the contract; asks for the permission in the zones of before and after."""
        call = current_call()
        name = request.authorisation.name
        record, zones = await self._find(name)
        if record is None:
            await call.admit(objects=[name], zones=None)
            raise not_found(names.identifier(name))
        async with self._desk.database.reading() as connection:
            named = await zones_named(connection, request.authorisation)
        admitted = None if named is None else named | frozenset(zones)
        await call.admit(objects=[name], zones=_sorted(admitted))

        async def work(connection: AsyncConnection) -> Authorisation:
            return await self._book.update(
                connection, record, request, call.caller.subject, admitted
            )

        return await self._desk.repeats.once(call, request, Authorisation, work)

    async def RevokeAuthorisation(
        self, request: RevokeAuthorisationRequest, context: Any
    ) -> Authorisation:
        """See the contract."""
        call = current_call()
        record, zones = await self._find(request.name)
        if record is None:
            await call.admit(objects=[request.name], zones=None)
            raise not_found(names.identifier(request.name))
        await call.admit(objects=[request.name], zones=zones)

        async def work(connection: AsyncConnection) -> Authorisation:
            return await self._book.revoke(connection, record, request, call.caller.subject, zones)

        return await self._desk.repeats.once(call, request, Authorisation, work)

    async def _find(self, name: str) -> tuple[AuthorisationRecord | None, Sequence[str]]:
        """An authorisation and the zones it concerns, sorted."""
        identifier = names.identifier(name)
        async with self._desk.database.reading() as connection:
            record = await authorisationstore.get(connection, identifier)
            scopes = await authorisationstore.scopes(connection, [identifier])
        return record, sorted(scopes[identifier].concerned)


def _sorted(zones: frozenset[str] | None) -> list[str] | None:
    return None if zones is None else sorted(zones)
