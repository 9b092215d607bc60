"""What authorisations name: checked against the register, and against what the caller may touch."""

from collections.abc import Collection

from sqlalchemy import select

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.statements import in_chunks
from vigie.platform.errors import VigieError
from vigie.platform.reasons import ETAG_MISMATCH
from vigie.registry import camerastore, names
from vigie.registry.lifecycle import RETIRED
from vigie.registry.model import CameraRecord, Scope
from vigie.registry.reasons import (
    AUTHORISATION_SCOPE_INVALID,
    CAMERA_NOT_FOUND,
    ZONE_NOT_FOUND,
)
from vigie.registry.tables import zones
from vigie.registry.v1.authorisations_pb2 import Authorisation


async def zones_named(connection: AsyncConnection, message: Authorisation) -> frozenset[str] | None:
    """The zones a message concerns: its perimeter, and where the cameras it names stand.

    Returns:
        ``None`` when it names a camera that does not exist: whoever may not know that is to be
        told the same as of a camera in a zone that is not his.
    """
    wanted = {names.identifier(name) for name in message.cameras}
    found = await camerastore.get_many(connection, sorted(wanted))
    if len(found) < len(wanted):
        return None
    perimeter = {names.identifier(name) for name in message.zones}
    return frozenset(perimeter | {record.zone for record in found.values()})


async def zones_concerned(
    connection: AsyncConnection, message: Authorisation, held: Scope
) -> frozenset[str]:
    """The zones that a change concerns: of the scope that is held, and of what a message names.

    Raises:
        VigieError: CAMERA_NOT_FOUND: the message names a camera that does not exist.
    """
    named = await zones_named(connection, message)
    if named is None:
        await scope_asked(connection, message, held, ("cameras",))
        raise AssertionError("a camera is not there and was found")
    return named | held.concerned


def check_admitted(concerned: Collection[str], admitted: Collection[str] | None) -> None:
    """Refuse to act in zones that the caller was not admitted to.

    Between the admission and the transaction stands the writing of the access record: a camera
    may have moved meanwhile, or an authorisation been widened.

    Args:
        concerned: the zones as they are within the transaction.
        admitted: the zones of the admission; ``None``: it was one for what does not exist.

    Raises:
        VigieError: ETAG_MISMATCH.
    """
    if admitted is None or not set(concerned) <= set(admitted):
        raise VigieError(ETAG_MISMATCH, "other zones are concerned than a moment ago")


async def scope_asked(
    connection: AsyncConnection, message: Authorisation, held: Scope, paths: Collection[str]
) -> Scope:
    """The scope a message asks for; cameras named before keep the zone of their naming.

    Raises:
        VigieError: AUTHORISATION_SCOPE_INVALID, CAMERA_NOT_FOUND, ZONE_NOT_FOUND.
    """
    named, perimeter = dict(held.cameras), held.zones
    if "cameras" in paths:
        wanted = [names.identifier(name) for name in message.cameras]
        found = await camerastore.get_many(connection, wanted)
        for index, camera in enumerate(wanted):
            _check_camera(camera, found.get(camera), index, known=camera in held.cameras)
        named = {name: held.cameras.get(name, found[name].zone) for name in wanted}
    if "zones" in paths:
        perimeter = frozenset(names.identifier(name) for name in message.zones)
        await _check_zones(connection, message)
    if not named and not perimeter:
        raise VigieError(
            AUTHORISATION_SCOPE_INVALID,
            "an authorisation names cameras or zones",
            field="authorisation.zones",
        )
    lapsed = {camera: at_us for camera, at_us in held.lapsed.items() if camera in named}
    return Scope(named, perimeter, lapsed)


def _check_camera(camera: str, record: CameraRecord | None, index: int, *, known: bool) -> None:
    field = f"authorisation.cameras[{index}]"
    if record is None:
        raise VigieError(CAMERA_NOT_FOUND, f"there is no camera {camera}", field=field)
    if record.lifecycle == RETIRED and not known:
        raise VigieError(AUTHORISATION_SCOPE_INVALID, f"camera {camera} is retired", field=field)


async def _check_zones(connection: AsyncConnection, message: Authorisation) -> None:
    wanted = [names.identifier(name) for name in message.zones]
    known: set[str] = set()
    for chunk in in_chunks(wanted):
        rows = await connection.execute(select(zones.c.zone).where(zones.c.zone.in_(chunk)))
        known.update(rows.scalars())
    for index, zone in enumerate(wanted):
        if zone not in known:
            raise VigieError(
                ZONE_NOT_FOUND, f"there is no zone {zone}", field=f"authorisation.zones[{index}]"
            )
