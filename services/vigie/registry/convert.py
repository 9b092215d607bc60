"""Records to messages and back."""

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from vigie.platform.aip import etag_of
from vigie.platform.sealing import Sealed
from vigie.registry import authority, names
from vigie.registry.model import CameraRecord, Position, Term
from vigie.registry.streamuri import shown
from vigie.registry.v1.cameras_pb2 import Camera
from vigie.registry.v1.events_pb2 import (
    AuthorisationTerm,
    CameraLifecycle,
    CameraState,
    ReceptionEngine,
    SealedSecret,
)
from vigie.registry.v1.zones_pb2 import GeoPoint

_NANOSECONDS = 1000
_SECOND_US = 1_000_000


def timestamp(instant_us: int | None) -> Timestamp | None:
    """The message for an instant; ``None`` stays ``None`` (an absent field)."""
    if instant_us is None:
        return None
    seconds, rest_us = divmod(instant_us, _SECOND_US)
    return Timestamp(seconds=seconds, nanos=rest_us * _NANOSECONDS)


def instant_us(message: Timestamp) -> int:
    """Microseconds since the Unix epoch; what is finer is cut off."""
    return message.seconds * _SECOND_US + message.nanos // _NANOSECONDS


def geo_point(position: Position | None) -> GeoPoint | None:
    """The message for a position."""
    if position is None:
        return None
    return GeoPoint(
        latitude_degrees=position.latitude_degrees, longitude_degrees=position.longitude_degrees
    )


def position_of(message: GeoPoint) -> Position:
    """The position in a message."""
    return Position(message.latitude_degrees, message.longitude_degrees)


def camera_message(record: CameraRecord, terms: Sequence[Term], now_us: int) -> Camera:
    """What callers see of a camera: everything but its credentials and other secrets (I11)."""
    in_force = [term.authorisation for term in terms if term.holds(now_us)]
    return Camera(
        name=names.camera_name(record.camera),
        display_name=record.display_name,
        zone=names.zone_name(record.zone),
        site=names.site_name(record.site),
        commune=names.commune_name(record.commune),
        lifecycle=CameraLifecycle.ValueType(record.lifecycle),
        lifecycle_reason=record.lifecycle_reason,
        stream_uri=shown(record.stream_uri),
        has_credentials=record.credentials is not None,
        engine=ReceptionEngine.ValueType(record.engine),
        segment_seconds=record.segment_seconds,
        description=record.description,
        manufacturer=record.manufacturer,
        model=record.model,
        serial_number=record.serial_number,
        position=geo_point(record.position),
        authorisation_state=authority.camera_state(terms, now_us),
        authorisations=[names.authorisation_name(name) for name in dict.fromkeys(in_force)],
        revision=record.revision,
        effective_time=timestamp(record.effective_us),
        create_time=timestamp(record.created_us),
        update_time=timestamp(record.updated_us),
        etag=camera_etag(record),
    )


def kept_camera(snapshot: bytes) -> Camera:
    """A camera as callers saw it once, without what an older version showed (see `shown`)."""
    camera = Camera.FromString(snapshot)
    camera.stream_uri = shown(camera.stream_uri)
    return camera


def camera_etag(record: CameraRecord) -> str:
    """The etag of a camera: another one with every revision."""
    return etag_of(record.camera, record.revision)


def camera_state_event(record: CameraRecord, terms: Sequence[Term]) -> CameraState:
    """The event that tells ingest and recording how a camera stands."""
    return CameraState(
        camera=record.camera,
        revision=record.revision,
        effective_time=timestamp(record.effective_us),
        lifecycle=CameraLifecycle.ValueType(record.lifecycle),
        zone=record.zone,
        site=record.site,
        commune=record.commune,
        display_name=record.display_name,
        stream_uri=record.stream_uri,
        credentials=sealed_message(record.credentials) if record.credentials else None,
        engine=ReceptionEngine.ValueType(record.engine),
        segment_seconds=record.segment_seconds,
        authorisations=[
            AuthorisationTerm(
                authorisation=names.authorisation_name(term.authorisation),
                number=term.number,
                valid_from=timestamp(term.from_us),
                valid_until=timestamp(term.until_us),
                retention_days=term.retention_days,
            )
            for term in terms
        ],
    )


def sealed_message(sealed: Sealed) -> SealedSecret:
    """The message for sealed credentials."""
    return SealedSecret(key_id=sealed.key_id, ciphertext=sealed.ciphertext)
