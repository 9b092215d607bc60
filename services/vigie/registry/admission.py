"""Admission of callers to cameras: existence shows only to those who may know of it."""

from collections.abc import Sequence

from vigie.platform.database import Database
from vigie.platform.grpc.call import Call
from vigie.registry import camerastore, names
from vigie.registry.camerabook import not_found
from vigie.registry.model import CameraRecord


async def admit_to_camera(
    call: Call, database: Database, name: str, *, further_zones: Sequence[str] = ()
) -> CameraRecord:
    """Admit the caller to a camera in the zone it stands in (and in ``further_zones``).

    Raises:
        VigieError: PERMISSION_DENIED, ACCESS_NOT_RECORDED; CAMERA_NOT_FOUND only to a caller who
            holds the permission everywhere.
    """
    camera = names.identifier(name)
    async with database.reading() as connection:
        record = await camerastore.get(connection, camera)
    if record is None:
        await call.admit(objects=[name], zones=None)
        raise not_found(camera)
    zones = sorted({record.zone, *further_zones})
    await call.admit(objects=[name], zones=zones)
    return record
