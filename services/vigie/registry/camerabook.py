"""What can be done with cameras: the rules, inside a transaction that the caller opened."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from vigie.platform.aip import check_etag, mask_paths
from vigie.platform.clock import WallClock
from vigie.platform.config.secret import Secret
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.reasons import ETAG_MISMATCH
from vigie.platform.sealing import Sealed, Sealer, StreamLogin
from vigie.registry import camerastore, convert, coverage, lifecycle, names, places
from vigie.registry.journal import CameraJournal
from vigie.registry.lifecycle import Step
from vigie.registry.model import CameraRecord, Change
from vigie.registry.reasons import (
    CAMERA_EXISTS,
    CAMERA_NOT_FOUND,
    CAMERA_RETIRED,
    CREDENTIALS_INVALID,
    CREDENTIALS_REQUIRED,
    FIELD_REQUIRED,
    MOVE_INVALID,
)
from vigie.registry.streamuri import check_login, parse_stream_uri
from vigie.registry.v1.cameras_pb2 import Camera, MoveCameraRequest, UpdateCameraRequest

CHANGEABLE: Final = (
    "display_name",
    "stream_uri",
    "credentials",
    "engine",
    "segment_seconds",
    "description",
    "manufacturer",
    "model",
    "serial_number",
    "position",
)
_PLAIN: Final = frozenset(CHANGEABLE) - {"stream_uri", "credentials", "position"}


@dataclass(frozen=True, slots=True)
class Target:
    """A camera to act on, as it was when the caller was admitted.

    Attributes:
        camera: identifier.
        zone: zone it stood in: the caller was admitted for this one.
        etag: version the caller saw; empty: any.
        etag_field: where the etag stands in the request.
    """

    camera: str
    zone: str
    etag: str = ""
    etag_field: str = "etag"


class CameraBook:
    """Cameras and their rules.

    Args:
        journal: writes changes.
        sealer: seals credentials.
        wall_clock: tells when a change happens.
        stream_schemes: schemes a stream's address may have.
    """

    def __init__(
        self,
        journal: CameraJournal,
        sealer: Sealer,
        wall_clock: WallClock,
        *,
        stream_schemes: Collection[str],
    ) -> None:
        self._journal = journal
        self._sealer = sealer
        self._wall_clock = wall_clock
        self._schemes = tuple(stream_schemes)

    async def draft(
        self, connection: AsyncConnection, camera_id: str, message: Camera
    ) -> CameraRecord:
        """A new camera as it would be written; writes nothing.

        Raises:
            VigieError: CAMERA_EXISTS, FIELD_REQUIRED, ZONE_NOT_FOUND, SITE_NOT_FOUND,
                SITE_IN_OTHER_ZONE, STREAM_URI_INVALID, CREDENTIALS_INVALID.
        """
        if await camerastore.get(connection, camera_id) is not None:
            raise VigieError(
                CAMERA_EXISTS, f"there is a camera {camera_id} already", field="camera_id"
            )
        zone, site = names.identifier(message.zone), names.identifier(message.site)
        if not zone:
            raise VigieError(FIELD_REQUIRED, "a camera stands in a zone", field="camera.zone")
        blank = CameraRecord(
            camera=camera_id,
            display_name="",
            zone=zone,
            site=site,
            commune=await places.resolve_place(connection, zone, site),
            lifecycle=lifecycle.PLANNED,
            stream_uri="",
        )
        return self.apply(blank, message, CHANGEABLE, whole=True)

    async def create(
        self, connection: AsyncConnection, camera_id: str, message: Camera, actor: str
    ) -> Camera:
        """Enter a camera (errors: see `draft`)."""
        record = await self.draft(connection, camera_id, message)
        return await self._journal.write(connection, record, self.change("created", actor))

    async def update(
        self, connection: AsyncConnection, target: Target, request: UpdateCameraRequest, actor: str
    ) -> Camera:
        """Change what is said of a camera; nothing is written when nothing changes.

        Raises:
            VigieError: CAMERA_NOT_FOUND, CAMERA_RETIRED, ETAG_MISMATCH, FIELD_MASK_INVALID,
                FIELD_REQUIRED, STREAM_URI_INVALID, CREDENTIALS_INVALID, CREDENTIALS_REQUIRED.
        """
        before = await self._load(connection, target)
        _refuse_retired(before)
        paths = mask_paths(request.update_mask, request.camera, CHANGEABLE)
        named = "credentials" in request.update_mask.paths
        after = self.apply(before, request.camera, paths, whole=not named)
        if after == before:
            return await self.read(connection, before)
        return await self._journal.write(connection, after, self.change("updated", actor))

    async def take_step(
        self, connection: AsyncConnection, target: Target, step: Step, reason: str, actor: str
    ) -> Camera:
        """Take a step in the life of a camera.

        Raises:
            VigieError: CAMERA_NOT_FOUND, ETAG_MISMATCH, LIFECYCLE_TRANSITION_REFUSED.
        """
        before = await self._load(connection, target)
        state = lifecycle.take(before.camera, before.lifecycle, step)
        after = before.with_values(lifecycle=state, lifecycle_reason=reason)
        change = self.change(lifecycle.PAST[step], actor, reason=reason)
        return await self._journal.write(connection, after, change)

    async def move(
        self, connection: AsyncConnection, target: Target, request: MoveCameraRequest, actor: str
    ) -> Camera:
        """Record that a camera stands somewhere else.

        Raises:
            VigieError: CAMERA_NOT_FOUND, CAMERA_RETIRED, ETAG_MISMATCH, ZONE_NOT_FOUND,
                SITE_NOT_FOUND, SITE_IN_OTHER_ZONE, MOVE_INVALID.
        """
        before = await self._load(connection, target)
        _refuse_retired(before)
        zone, site = names.identifier(request.zone), names.identifier(request.site)
        commune = await places.resolve_place(connection, zone, site, parent="")
        position = convert.position_of(request.position) if request.HasField("position") else None
        if (zone, site) == (before.zone, before.site) and position in {None, before.position}:
            raise VigieError(
                MOVE_INVALID, f"camera {before.camera} stands there already", field="zone"
            )
        after = before.with_values(
            zone=zone,
            site=site,
            commune=commune,
            position=position,
            lifecycle_reason=request.reason,
        )
        effective_us = self._move_time(before, request)
        change = self.change("moved", actor, reason=request.reason, effective_us=effective_us)
        return await self._journal.write(connection, after, change)

    async def read(self, connection: AsyncConnection, record: CameraRecord) -> Camera:
        """A camera as callers see it."""
        return (await self.read_all(connection, [record]))[0]

    async def read_all(
        self, connection: AsyncConnection, records: Sequence[CameraRecord]
    ) -> list[Camera]:
        """Cameras as callers see them, in the order given."""
        now_us = self._wall_clock.now_us()
        terms = await coverage.terms(connection, [record.camera for record in records], now_us)
        return [convert.camera_message(item, terms[item.camera], now_us) for item in records]

    def apply(
        self, before: CameraRecord, message: Camera, paths: Sequence[str], *, whole: bool
    ) -> CameraRecord:
        """A record with the values of ``message`` in the fields ``paths``.

        Args:
            before: the record to start from.
            message: the new values.
            paths: fields to take.
            whole: credentials that are not given stay (they were not named on their own).

        Raises:
            VigieError: FIELD_REQUIRED, STREAM_URI_INVALID, CREDENTIALS_INVALID,
                CREDENTIALS_REQUIRED.
        """
        values = {path: getattr(message, path) for path in paths if path in _PLAIN}
        if "position" in paths:
            given = message.HasField("position")
            values["position"] = convert.position_of(message.position) if given else None
        after = before.with_values(**values)
        if not after.display_name.strip():
            raise VigieError(FIELD_REQUIRED, "a camera has a name", field="camera.display_name")
        return self._apply_stream(after, message, paths, whole=whole)

    def change(
        self, action: str, actor: str, *, reason: str = "", effective_us: int | None = None
    ) -> Change:
        """A change that is written down now."""
        return Change(action, actor, self._wall_clock.now_us(), reason, effective_us)

    def _apply_stream(
        self, before: CameraRecord, message: Camera, paths: Sequence[str], *, whole: bool
    ) -> CameraRecord:
        login: StreamLogin | None = None
        uri = before.stream_uri
        if "stream_uri" in paths:
            address = parse_stream_uri(message.stream_uri, schemes=self._schemes)
            uri, login = address.uri, address.login
        clear = False
        if "credentials" in paths:
            if message.HasField("credentials"):
                if login is not None:
                    raise VigieError(
                        CREDENTIALS_INVALID,
                        "user and password stand in the address and in `credentials`",
                        field="camera.credentials",
                    )
                given = message.credentials
                login = check_login(StreamLogin(given.username, Secret(given.password)))
            else:
                clear = not whole and login is None
        kept = None if clear else before.credentials
        if login is None and kept is not None and _authority(uri) != _authority(before.stream_uri):
            # Else whoever may change an address could have the password sent to his own machine.
            raise VigieError(
                CREDENTIALS_REQUIRED,
                "the stream moves to another scheme, host or port: give its credentials again",
                field="camera.credentials",
            )
        sealed = self._seal(before, login) if login is not None else kept
        return before.with_values(stream_uri=uri, credentials=sealed)

    def _seal(self, record: CameraRecord, login: StreamLogin) -> Sealed:
        """The login sealed; the box that is there when it holds the same (no change then)."""
        if record.credentials is not None and self._holds(record, record.credentials, login):
            return record.credentials
        return self._sealer.seal_login(login, camera=record.camera)

    def _holds(self, record: CameraRecord, kept: Sealed, login: StreamLogin) -> bool:
        """Whether a box of the current key holds ``login``; one that cannot be opened does not."""
        if kept.key_id != self._sealer.key_id:
            return False
        try:
            return self._sealer.open_login(kept, camera=record.camera) == login
        except VigieError:
            # To give the credentials again is how a damaged box is mended.
            return False

    def _move_time(self, before: CameraRecord, request: MoveCameraRequest) -> int | None:
        if not request.HasField("effective_time"):
            return None
        effective_us = convert.instant_us(request.effective_time)
        if effective_us > self._wall_clock.now_us():
            raise VigieError(
                MOVE_INVALID, "a move is entered when it has happened", field="effective_time"
            )
        if effective_us < before.effective_us:
            raise VigieError(
                MOVE_INVALID,
                f"the present state of camera {before.camera} began later",
                field="effective_time",
            )
        return effective_us

    async def _load(self, connection: AsyncConnection, target: Target) -> CameraRecord:
        record = await camerastore.get(connection, target.camera)
        if record is None:
            raise not_found(target.camera)
        if record.zone != target.zone:
            # The caller was admitted for the zone it stood in a moment ago.
            raise VigieError(ETAG_MISMATCH, f"camera {target.camera} was moved meanwhile")
        check_etag(target.etag, convert.camera_etag(record), field=target.etag_field)
        return record


def not_found(camera: str, *, field: str = "name") -> VigieError:
    """The error for a camera that is not there."""
    return VigieError(CAMERA_NOT_FOUND, f"there is no camera {camera}", field=field)


def _refuse_retired(record: CameraRecord) -> None:
    if record.lifecycle == lifecycle.RETIRED:
        raise VigieError(CAMERA_RETIRED, f"camera {record.camera} is retired", field="name")


def _authority(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    return parts.scheme, parts.netloc.lower()
