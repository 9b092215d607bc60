"""Communes, zones and sites in the database."""

from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Table, delete, insert, select, update

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.registry.reasons import SITE_IN_OTHER_ZONE, SITE_NOT_FOUND, ZONE_NOT_FOUND
from vigie.registry.tables import sites, zones


async def fetch(connection: AsyncConnection, table: Table, identifier: str) -> RowMapping | None:
    """The row with this primary key, or ``None``."""
    key = next(iter(table.primary_key.columns))
    result = await connection.execute(select(table).where(key == identifier))
    return result.mappings().one_or_none()


async def page(
    connection: AsyncConnection,
    table: Table,
    condition: ColumnElement[bool],
    *,
    after: str | None,
    limit: int,
) -> list[RowMapping]:
    """Rows that meet ``condition``, by primary key, after the key ``after``."""
    key = next(iter(table.primary_key.columns))
    statement = select(table).where(condition).order_by(key).limit(limit)
    if after is not None:
        statement = statement.where(key > after)
    return list((await connection.execute(statement)).mappings())


async def add(connection: AsyncConnection, table: Table, row: dict[str, Any]) -> None:
    """Write a new row."""
    await connection.execute(insert(table), row)


async def change(
    connection: AsyncConnection, table: Table, identifier: str, values: dict[str, Any]
) -> None:
    """Change a row."""
    key = next(iter(table.primary_key.columns))
    await connection.execute(update(table).where(key == identifier).values(values))


async def remove(connection: AsyncConnection, table: Table, identifier: str) -> None:
    """Remove a row."""
    key = next(iter(table.primary_key.columns))
    await connection.execute(delete(table).where(key == identifier))


async def any_row(connection: AsyncConnection, column: ColumnElement[Any], value: str) -> bool:
    """Whether a row has this value in ``column``."""
    result = await connection.execute(select(column).where(column == value).limit(1))
    return result.first() is not None


async def resolve_place(
    connection: AsyncConnection, zone: str, site: str, *, parent: str = "camera."
) -> str:
    """Check that a zone and a site in it exist.

    Args:
        connection: a transaction or reading.
        zone: zone identifier.
        site: site identifier; empty: none.
        parent: path of the message whose fields ``zone`` and ``site`` they are.

    Returns:
        The INSEE code of the zone's commune.

    Raises:
        VigieError: ZONE_NOT_FOUND, SITE_NOT_FOUND, SITE_IN_OTHER_ZONE.
    """
    row = await fetch(connection, zones, zone)
    if row is None:
        raise VigieError(ZONE_NOT_FOUND, f"there is no zone {zone}", field=f"{parent}zone")
    if site:
        place = await fetch(connection, sites, site)
        if place is None:
            raise VigieError(SITE_NOT_FOUND, f"there is no site {site}", field=f"{parent}site")
        if place["zone"] != zone:
            raise VigieError(
                SITE_IN_OTHER_ZONE,
                # Which one is not told: it may be none of the caller's.
                f"site {site} does not lie in zone {zone}",
                field=f"{parent}site",
            )
    return str(row["commune"])
