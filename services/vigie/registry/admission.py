"""Admission of callers to cameras: existence shows only to those who may know of it."""

from collections.abc import Sequence

from google.protobuf.message import Message

from vigie.platform.database import Database
from vigie.platform.grpc.call import Call
from vigie.registry import camerastore, names
from vigie.registry.camerabook import not_found
from vigie.registry.model import CameraRecord
from vigie.registry.repeats import Admission, Repeats


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


async def admit_to_change(
    call: Call,
    database: Database,
    repeats: Repeats,
    request: Message,
    name: str,
    *,
    further_zones: Sequence[str] = (),
) -> tuple[str, Admission]:
    """As `admit_to_camera`; a request that was done is admitted where it was admitted then.

    Returns:
        The zone the camera stands in (empty for a repetition: nothing is done again), and the
        admission, for `Repeats.once`.
    """
    before = await repeats.admission(call, request)
    if before is not None:
        await call.admit(objects=[name], zones=before.zones)
        return "", before
    record = await admit_to_camera(call, database, name, further_zones=further_zones)
    return record.zone, Admission(sorted({record.zone, *further_zones}))
