"""``vigie.registry.v1.AuthorisationService``."""

from collections.abc import Sequence
from typing import Any

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.grpc.call import current_call
from vigie.platform.paging import PAGE_BYTES, query_of
from vigie.registry import authorisationstore, authority, camerastore, coverage, names
from vigie.registry.authorisationbook import AuthorisationBook, identifier_for, not_found
from vigie.registry.desk import Desk, page_size
from vigie.registry.model import AuthorisationRecord, Scope
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
        zones = await self._zones_named(request.authorisation)
        name = names.authorisation_name(identifier_for(request))
        await call.admit(objects=[name], zones=zones)

        async def work(connection: AsyncConnection) -> Authorisation:
            return await self._book.create(connection, request, call.caller.subject)

        return await self._desk.repeats.once(call, request, Authorisation, work)

    async def GetAuthorisation(
        self, request: GetAuthorisationRequest, context: Any
    ) -> Authorisation:
        """See the contract."""
        call = current_call()
        record, zones = await self._find(request.name)
        if record is None:
            await call.admit(objects=[request.name], zones=None)
            raise not_found(names.identifier(request.name))
        readable = [zone for zone in zones if zone in call.zones_allowed()]
        # One of its zones is enough; with none of them the refusal names the first.
        await call.admit(objects=[request.name], zones=readable or zones[:1])
        async with self._desk.database.reading() as connection:
            return await self._book.read(connection, record)

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
                zones = _zones_of(scopes[name])
                if not allowed.everywhere and not any(zone in allowed for zone in zones):
                    continue
                if request.states and authority.state_of(record, now_us) not in request.states:
                    continue
                covered = await coverage.cameras_in_scope(connection, name)
                if request.camera and names.identifier(request.camera) not in covered:
                    continue
                message = await self._book.read(connection, record)
                size_bytes += message.ByteSize()
                full = len(answer.authorisations) == size or size_bytes > PAGE_BYTES
                if full and answer.authorisations:
                    last = names.identifier(answer.authorisations[-1].name)
                    answer.next_page_token = self._desk.tokens.seal({"after": last}, query)
                    break
                answer.authorisations.append(message)
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
        named = await self._zones_named(request.authorisation)
        await call.admit(objects=[name], zones=sorted({*zones, *named}))

        async def work(connection: AsyncConnection) -> Authorisation:
            return await self._book.update(connection, record, request, call.caller.subject)

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
            return await self._book.revoke(connection, record, request, call.caller.subject)

        return await self._desk.repeats.once(call, request, Authorisation, work)

    async def _find(self, name: str) -> tuple[AuthorisationRecord | None, Sequence[str]]:
        """An authorisation and the zones it concerns, sorted."""
        identifier = names.identifier(name)
        async with self._desk.database.reading() as connection:
            record = await authorisationstore.get(connection, identifier)
            scopes = await authorisationstore.scopes(connection, [identifier])
        return record, _zones_of(scopes[identifier])

    async def _zones_named(self, message: Authorisation) -> list[str]:
        """The zones a message concerns: its perimeter, and where its cameras stand."""
        zones = {names.identifier(name) for name in message.zones}
        cameras = [names.identifier(name) for name in message.cameras]
        async with self._desk.database.reading() as connection:
            found = await camerastore.get_many(connection, cameras)
        return sorted(zones | {record.zone for record in found.values()})


def _zones_of(scope: Scope) -> list[str]:
    return sorted({*scope.zones, *scope.cameras.values()})
