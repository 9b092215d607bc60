"""Cameras in the database: rows to records and back."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, func, insert, select

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.statements import in_chunks, upsert
from vigie.platform.sealing import Sealed
from vigie.registry.model import CameraRecord, Position
from vigie.registry.tables import camera_revisions, cameras

_PLAIN = (
    "camera",
    "display_name",
    "zone",
    "site",
    "commune",
    "lifecycle",
    "lifecycle_reason",
    "stream_uri",
    "engine",
    "segment_seconds",
    "description",
    "manufacturer",
    "model",
    "serial_number",
    "revision",
    "effective_us",
    "created_us",
    "updated_us",
)


def record_of(row: RowMapping) -> CameraRecord:
    """The record of a row of ``registry_camera``."""
    sealed = None
    if row["credentials"] is not None:
        sealed = Sealed(row["credentials_key_id"], bytes(row["credentials"]))
    position = None
    if row["latitude_degrees"] is not None:
        position = Position(row["latitude_degrees"], row["longitude_degrees"])
    return CameraRecord(
        **{name: row[name] for name in _PLAIN}, credentials=sealed, position=position
    )


def row_of(record: CameraRecord) -> dict[str, Any]:
    """The row of a record."""
    sealed, position = record.credentials, record.position
    return {
        **{name: getattr(record, name) for name in _PLAIN},
        "credentials_key_id": sealed.key_id if sealed else None,
        "credentials": sealed.ciphertext if sealed else None,
        "latitude_degrees": position.latitude_degrees if position else None,
        "longitude_degrees": position.longitude_degrees if position else None,
        "search_text": search_text(record.camera, record.display_name, record.description),
    }


def search_text(*parts: str) -> str:
    """What a search for words looks at; line feeds keep a word from spanning two fields."""
    return "\n".join(part.casefold() for part in parts)


async def get(connection: AsyncConnection, camera: str) -> CameraRecord | None:
    """One camera, or ``None``."""
    result = await connection.execute(select(cameras).where(cameras.c.camera == camera))
    row = result.mappings().one_or_none()
    return record_of(row) if row is not None else None


async def get_many(
    connection: AsyncConnection, identifiers: Sequence[str]
) -> dict[str, CameraRecord]:
    """Those of ``identifiers`` that exist, by identifier."""
    found: dict[str, CameraRecord] = {}
    for chunk in in_chunks(sorted(set(identifiers))):
        result = await connection.execute(select(cameras).where(cameras.c.camera.in_(chunk)))
        for row in result.mappings():
            found[row["camera"]] = record_of(row)
    return found


async def find(
    connection: AsyncConnection,
    condition: ColumnElement[bool],
    *,
    order: Sequence[ColumnElement[Any]] = (cameras.c.camera,),
    limit: int | None = None,
) -> list[CameraRecord]:
    """Cameras that meet ``condition``, in order."""
    statement = select(cameras).where(condition).order_by(*order)
    if limit is not None:
        statement = statement.limit(limit)
    result = await connection.execute(statement)
    return [record_of(row) for row in result.mappings()]


async def count(connection: AsyncConnection, condition: ColumnElement[bool]) -> int:
    """How many cameras meet ``condition``."""
    statement = select(func.count()).select_from(cameras).where(condition)
    return int((await connection.execute(statement)).scalar_one())


async def save(connection: AsyncConnection, records: Sequence[CameraRecord]) -> None:
    """Write records, new ones or changed ones."""
    await upsert(connection, cameras, [row_of(record) for record in records], key=("camera",))


async def add_revisions(
    connection: AsyncConnection, revisions: Sequence[Mapping[str, Any]]
) -> None:
    """Append to the history."""
    if revisions:
        await connection.execute(insert(camera_revisions), list(revisions))


async def revisions_before(
    connection: AsyncConnection, camera: str, before: int | None, limit: int
) -> list[RowMapping]:
    """History of a camera, newest first, older than revision ``before``."""
    condition: ColumnElement[bool] = camera_revisions.c.camera == camera
    if before is not None:
        condition = and_(condition, camera_revisions.c.revision < before)
    statement = select(camera_revisions).where(condition)
    statement = statement.order_by(camera_revisions.c.revision.desc()).limit(limit)
    return list((await connection.execute(statement)).mappings())


async def zones_of_history(connection: AsyncConnection, camera: str) -> frozenset[str]:
    """Every zone a camera stands or ever stood in."""
    statement = select(camera_revisions.c.zone).where(camera_revisions.c.camera == camera)
    return frozenset((await connection.execute(statement.distinct())).scalars())
