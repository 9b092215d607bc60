"""AccessService: what the caller may do, what can be permitted at all, who is designated."""

from typing import Any

from vigie.access.directory import Directory
from vigie.access.people import Assignment, Person
from vigie.access.permissions import PERMISSIONS, PermissionSpec, roles_with
from vigie.access.v1 import access_service_pb2 as pb
from vigie.access.v1.access_service_pb2_grpc import AccessServiceServicer
from vigie.platform.clock import WallClock
from vigie.platform.grpc.call import Caller, ZoneSet, current_call
from vigie.platform.paging import Tokens, page_size_of, query_of

_STATES = {
    "active": pb.PERSON_STATE_ACTIVE,
    "suspended": pb.PERSON_STATE_SUSPENDED,
    "not yet": pb.PERSON_STATE_NOT_YET,
    "ended": pb.PERSON_STATE_ENDED,
}


def zone_names(zones: ZoneSet) -> list[str]:
    """Resource names of the zones, sorted."""
    return [f"zones/{name}" for name in sorted(zones.names)]


class AccessServicer(AccessServiceServicer):
    """See `protos/vigie/access/v1/access_service.proto`."""

    def __init__(self, directory: Directory, tokens: Tokens, wall_clock: WallClock) -> None:
        self._directory = directory
        self._tokens = tokens
        self._wall_clock = wall_clock

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Any) -> pb.WhoAmIResponse:
        """See the contract."""
        del request, context
        call = current_call()
        caller = call.caller
        response = pb.WhoAmIResponse(
            subject=caller.subject,
            display_name=caller.display_name,
            agency=f"agencies/{caller.agency}" if caller.agency else "",
            agency_display_name=self._agency_name(caller.agency),
            roles=caller.roles,
            grants=_grants(caller),
            service=caller.service,
        )
        if call.token_expires_at_us is not None:
            response.token_expire_time.FromMicroseconds(call.token_expires_at_us)
        return response

    async def ListPermissions(
        self, request: pb.ListPermissionsRequest, context: Any
    ) -> pb.ListPermissionsResponse:
        """See the contract."""
        del context
        query = query_of(request)
        cursor = self._tokens.open_page(request.page_token, query)
        after = str(cursor["after"]) if cursor else ""
        size = page_size_of(request.page_size, default=100, most=1000)
        rest = [item for item in PERMISSIONS if item.name > after]
        token = ""
        if len(rest) > size:
            token = self._tokens.seal({"after": rest[size - 1].name}, query)
        return pb.ListPermissionsResponse(
            permissions=[_permission(item) for item in rest[:size]], next_page_token=token
        )

    async def ListPeople(
        self, request: pb.ListPeopleRequest, context: Any
    ) -> pb.ListPeopleResponse:
        """See the contract. Who holds the permission for some zones sees who acts in those."""
        del context
        call = current_call()
        query = query_of(request)
        cursor = self._tokens.open_page(request.page_token, query, subject=call.caller.subject)
        await call.admit(objects=[request.agency] if request.agency else ["people/-"])
        after = str(cursor["after"]) if cursor else ""
        size = page_size_of(request.page_size, default=50, most=500)
        agency = request.agency.removeprefix("agencies/")
        zones = call.zones_allowed()
        rest = [
            (subject, person)
            for subject, person in sorted(self._directory.people.people.items())
            if subject > after
            and (not agency or person.agency == agency)
            and _acts_within(person, zones)
        ]
        token = ""
        if len(rest) > size:
            token = self._tokens.seal(
                {"after": rest[size - 1][0]}, query, subject=call.caller.subject
            )
        people = [self._person(subject, person) for subject, person in rest[:size]]
        return pb.ListPeopleResponse(people=people, next_page_token=token)

    def _agency_name(self, identifier: str) -> str:
        agency = self._directory.people.agencies.get(identifier)
        return agency.name if agency else ""

    def _person(self, subject: str, person: Person) -> pb.Person:
        state = person.state(self._wall_clock.now_us())
        message = pb.Person(
            name=f"people/{subject}",
            display_name=person.name,
            agency=f"agencies/{person.agency}",
            agency_display_name=self._agency_name(person.agency),
            roles=[_assignment(item) for item in person.all_assignments()],
            state=_STATES[state.value],
            suspension_reason=person.suspension_reason if person.suspended else "",
        )
        if person.from_ is not None:
            message.start_time.FromDatetime(person.from_)
        if person.until is not None:
            message.end_time.FromDatetime(person.until)
        return message


def _acts_within(person: Person, zones: ZoneSet) -> bool:
    if zones.everywhere:
        return True
    sets = [item.zone_set() for item in person.all_assignments()]
    return any(item.everywhere or item.names & zones.names for item in sets)


def _assignment(item: Assignment) -> pb.RoleAssignment:
    zones = item.zone_set()
    return pb.RoleAssignment(role=item.role, everywhere=zones.everywhere, zones=zone_names(zones))


def _grants(caller: Caller) -> list[pb.Grant]:
    return [
        pb.Grant(permission=name, everywhere=zones.everywhere, zones=zone_names(zones))
        for name, zones in sorted(caller.grants.items())
    ]


def _permission(spec: PermissionSpec) -> pb.Permission:
    return pb.Permission(
        name=f"permissions/{spec.name}",
        description_en=spec.description_en,
        description_fr=spec.description_fr,
        roles=roles_with(spec.name),
        internal=spec.internal,
    )
