"""The people file: agencies, people, roles, zones; read strictly.

[agencies.police-municipale]
name = "Police municipale"

[people.a-martin]
name = "A. Martin"
agency = "police-municipale"
roles = ["operator"]
zones = ["zone-brezet"]               # or ["*"]: every zone
from = 2026-01-01                     # 00:00 UTC; a date-time with offset is exact
until = 2027-01-01                    # exclusive
suspended = false
suspension_reason = ""

[[people.a-martin.assignments]]       # a further role with zones of its own
role = "investigator"
zones = ["*"]
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from enum import Enum
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vigie.access.permissions import ROLES
from vigie.platform.clock import to_us
from vigie.platform.grpc.call import EVERYWHERE, Caller, ZoneSet

EVERY_ZONE: Final = "*"
IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9-]{1,62}")


class PeopleFileError(Exception):
    """The people file cannot be used; ``problems`` has one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class PersonState(Enum):
    """State of a designation at an instant."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    NOT_YET = "not yet"
    ENDED = "ended"


def _instant(value: object) -> object:
    """A date is midnight UTC; a date-time must say its offset."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a date-time needs an offset, e.g. 2026-01-01T00:00:00+01:00")
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("a date-time outside the calendar") from error
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise ValueError("write a date (2026-01-01) or a date-time with offset, without quotes")


Instant = Annotated[datetime, BeforeValidator(_instant)]
Zones = Annotated[tuple[str, ...], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Agency(_Strict):
    """A public body."""

    name: str = Field(min_length=1, max_length=200)


class Assignment(_Strict):
    """A role, and where."""

    role: str
    zones: Zones

    def zone_set(self) -> ZoneSet:
        """The zones as rights are computed with."""
        if EVERY_ZONE in self.zones:
            return EVERYWHERE
        return ZoneSet(names=frozenset(self.zones))


class Person(_Strict):
    """A person who is designated to have access."""

    name: str = Field(min_length=1, max_length=200)
    agency: str
    roles: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    from_: Instant | None = Field(default=None, alias="from")
    until: Instant | None = None
    suspended: bool = False
    suspension_reason: str = ""

    def all_assignments(self) -> tuple[Assignment, ...]:
        """Every role with its zones."""
        simple = (Assignment(role=role, zones=self.zones) for role in self.roles)
        return (*simple, *self.assignments)

    def state(self, now_us: int) -> PersonState:
        """Whether the person may act at an instant."""
        if self.suspended:
            return PersonState.SUSPENDED
        if self.from_ is not None and now_us < to_us(self.from_):
            return PersonState.NOT_YET
        if self.until is not None and now_us >= to_us(self.until):
            return PersonState.ENDED
        return PersonState.ACTIVE


class People(_Strict):
    """Everything the file says.

    Attributes:
        agencies: identifier -> agency.
        people: subject -> person.
        revoked_tokens: ``jti`` of tokens that are no longer accepted.
    """

    agencies: Mapping[str, Agency] = Field(default_factory=dict)
    people: Mapping[str, Person] = Field(default_factory=dict)
    revoked_tokens: frozenset[str] = frozenset()

    def caller(self, subject: str) -> Caller:
        """The person with the rights of his roles."""
        person = self.people[subject]
        grants: dict[str, ZoneSet] = {}
        for assignment in person.all_assignments():
            zones = assignment.zone_set()
            for permission in ROLES[assignment.role]:
                grants[permission] = _union(grants.get(permission), zones)
        return Caller(
            subject=subject,
            display_name=person.name,
            agency=person.agency,
            roles=tuple(sorted({item.role for item in person.all_assignments()})),
            grants=grants,
        )


def _union(held: ZoneSet | None, more: ZoneSet) -> ZoneSet:
    if held is None:
        return more
    if held.everywhere or more.everywhere:
        return EVERYWHERE
    return ZoneSet(names=held.names | more.names)


def parse_people(text: str) -> People:
    """Read the file's text.

    Raises:
        PeopleFileError: with every problem found.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # ValueError: TOMLDecodeError is one, and numbers too long for Python are another.
        raise PeopleFileError([f"not TOML: {error}"]) from error
    try:
        people = People.model_validate(values)
    except ValidationError as error:
        raise PeopleFileError([_line(item) for item in error.errors(include_url=False)]) from error
    if problems := _inconsistencies(people):
        raise PeopleFileError(problems)
    return people


def _line(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    return f"{where}: {str(item['msg']).removeprefix('Value error, ')}"


def _inconsistencies(people: People) -> list[str]:
    problems = [
        f"agencies.{name}: identifiers are lower-case letters, digits and hyphens"
        for name in people.agencies
        if not IDENTIFIER.fullmatch(name)
    ]
    for subject, person in people.people.items():
        where = f"people.{subject}"
        if not IDENTIFIER.fullmatch(subject):
            problems.append(f"{where}: identifiers are lower-case letters, digits and hyphens")
        if person.agency not in people.agencies:
            problems.append(f"{where}.agency: there is no [agencies.{person.agency}]")
        if person.roles and not person.zones:
            problems.append(f'{where}.zones: say where the roles hold, ["*"] for every zone')
            continue
        if person.from_ and person.until and person.from_ >= person.until:
            problems.append(f"{where}.until: lies before from")
        for assignment in person.all_assignments():
            problems += _bad_assignment(where, assignment)
    return list(dict.fromkeys(problems))


def _bad_assignment(where: str, assignment: Assignment) -> list[str]:
    problems = []
    if assignment.role not in ROLES:
        known = ", ".join(sorted(ROLES))
        problems.append(f"{where}: no role is called {assignment.role!r}; there are {known}")
    problems += [
        f"{where}: {zone!r} is no zone identifier"
        for zone in assignment.zones
        if zone != EVERY_ZONE and not IDENTIFIER.fullmatch(zone)
    ]
    return problems
