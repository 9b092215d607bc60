"""Authorisations in the database."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, select, true, update

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.statements import in_chunks, upsert
from vigie.registry.model import AuthorisationRecord, Scope
from vigie.registry.tables import authorisation_cameras, authorisation_zones, authorisations

_PLAIN = (
    "authorisation",
    "number",
    "prefecture",
    "signed_us",
    "valid_from_us",
    "valid_until_us",
    "revoked_us",
    "revoke_reason",
    "retention_days",
    "version",
    "created_us",
    "updated_us",
)


def record_of(row: RowMapping) -> AuthorisationRecord:
    """The record of a row of ``registry_authorisation``."""
    return AuthorisationRecord(
        **{name: row[name] for name in _PLAIN},
        purposes=tuple(int(number) for number in row["purposes"].split(",") if number),
        recipients=tuple(json.loads(row["recipients"])),
    )


def row_of(record: AuthorisationRecord) -> dict[str, Any]:
    """The row of a record."""
    return {
        **{name: getattr(record, name) for name in _PLAIN},
        "purposes": ",".join(str(number) for number in sorted(record.purposes)),
        "recipients": json.dumps(list(record.recipients), ensure_ascii=False),
    }


async def get(connection: AsyncConnection, authorisation: str) -> AuthorisationRecord | None:
    """One authorisation, or ``None``."""
    statement = select(authorisations).where(authorisations.c.authorisation == authorisation)
    row = (await connection.execute(statement)).mappings().one_or_none()
    return record_of(row) if row is not None else None


async def with_number(
    connection: AsyncConnection, prefecture: str, number: str
) -> AuthorisationRecord | None:
    """The authorisation with this number of this prefecture, or ``None``."""
    statement = select(authorisations).where(
        authorisations.c.prefecture == prefecture, authorisations.c.number == number
    )
    row = (await connection.execute(statement)).mappings().one_or_none()
    return record_of(row) if row is not None else None


async def find_all(
    connection: AsyncConnection, *, after: str | None = None
) -> list[AuthorisationRecord]:
    """Every authorisation behind an identifier, by identifier (there are tens, not thousands)."""
    condition: ColumnElement[bool] = true()
    if after is not None:
        condition = and_(condition, authorisations.c.authorisation > after)
    statement = select(authorisations).where(condition).order_by(authorisations.c.authorisation)
    return [record_of(row) for row in (await connection.execute(statement)).mappings()]


async def told_states(connection: AsyncConnection) -> Mapping[str, str]:
    """The state that the log was told of last, by authorisation; those without one are left out."""
    table = authorisations
    statement = select(table.c.authorisation, table.c.told_state)
    rows = await connection.execute(statement.where(table.c.told_state.is_not(None)))
    return {row["authorisation"]: row["told_state"] for row in rows.mappings()}


async def note_told(connection: AsyncConnection, authorisation: str, state: str | None) -> bool:
    """Note the state that the log is told of; whether another one (or none) was noted before."""
    table = authorisations
    other = table.c.told_state.is_distinct_from(state)
    statement = update(table).where(table.c.authorisation == authorisation, other)
    return bool((await connection.execute(statement.values(told_state=state))).rowcount)


async def scopes(connection: AsyncConnection, identifiers: Sequence[str]) -> Mapping[str, Scope]:
    """The scopes of authorisations, by identifier."""
    cameras: dict[str, dict[str, str]] = {name: {} for name in identifiers}
    lapsed: dict[str, dict[str, int]] = {name: {} for name in identifiers}
    zones: dict[str, set[str]] = {name: set() for name in identifiers}
    for chunk in in_chunks(sorted(cameras)):
        named = authorisation_cameras.c.authorisation.in_(chunk)
        rows = await connection.execute(select(authorisation_cameras).where(named))
        for row in rows.mappings():
            cameras[row["authorisation"]][row["camera"]] = row["zone"]
            if row["lapsed_us"] is not None:
                lapsed[row["authorisation"]][row["camera"]] = row["lapsed_us"]
        perimeter = authorisation_zones.c.authorisation.in_(chunk)
        rows = await connection.execute(select(authorisation_zones).where(perimeter))
        for row in rows.mappings():
            zones[row["authorisation"]].add(row["zone"])
    return {name: Scope(cameras[name], frozenset(zones[name]), lapsed[name]) for name in cameras}


async def save(connection: AsyncConnection, record: AuthorisationRecord, scope: Scope) -> None:
    """Write an authorisation and its scope."""
    name = record.authorisation
    await upsert(connection, authorisations, row_of(record), key=("authorisation",))
    for table in (authorisation_cameras, authorisation_zones):
        await connection.execute(delete(table).where(table.c.authorisation == name))
    named = [
        {
            "authorisation": name,
            "camera": camera,
            "zone": zone,
            "lapsed_us": scope.lapsed.get(camera),
        }
        for camera, zone in sorted(scope.cameras.items())
    ]
    if named:
        await connection.execute(insert(authorisation_cameras), named)
    perimeter = [{"authorisation": name, "zone": zone} for zone in sorted(scope.zones)]
    if perimeter:
        await connection.execute(insert(authorisation_zones), perimeter)
