"""The registry's records as values. Instants are microseconds since the Unix epoch (``*_us``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vigie.platform.sealing import Sealed


@dataclass(frozen=True, slots=True)
class Position:
    """A point on the ground, WGS 84."""

    latitude_degrees: float
    longitude_degrees: float


@dataclass(frozen=True, slots=True)
class CameraRecord:
    """A camera as it stands in the database.

    ``commune``, ``zone`` and ``site`` are identifiers; ``site`` may be empty.
    """

    camera: str
    display_name: str
    zone: str
    site: str
    commune: str
    lifecycle: int
    stream_uri: str
    lifecycle_reason: str = ""
    credentials: Sealed | None = None
    engine: int = 0
    segment_seconds: int = 0
    description: str = ""
    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    position: Position | None = None
    revision: int = 0
    effective_us: int = 0
    created_us: int = 0
    updated_us: int = 0

    def with_values(self, **values: Any) -> "CameraRecord":
        """A copy with some values changed."""
        return replace(self, **values)


@dataclass(frozen=True, slots=True)
class Change:
    """Why a new revision of a camera is written.

    Attributes:
        action: past participle for the history, e.g. ``suspended``.
        reason: as the person stated it.
        actor: subject of the person or service.
        recorded_us: when it is written down.
        effective_us: from when on it holds; ``None``: from now on.
    """

    action: str
    actor: str
    recorded_us: int
    reason: str = ""
    effective_us: int | None = None


@dataclass(frozen=True, slots=True)
class AuthorisationRecord:
    """A prefectoral authorisation as it stands in the database."""

    authorisation: str
    number: str
    prefecture: str
    valid_from_us: int
    valid_until_us: int
    purposes: tuple[int, ...]
    signed_us: int | None = None
    retention_days: int = 0
    recipients: tuple[str, ...] = ()
    revoked_us: int | None = None
    revoke_reason: str = ""
    version: int = 1
    created_us: int = 0
    updated_us: int = 0

    @property
    def end_us(self) -> int:
        """First instant at which it is no longer in force."""
        if self.revoked_us is None:
            return self.valid_until_us
        return min(self.valid_until_us, self.revoked_us)

    def in_force(self, at_us: int) -> bool:
        """Whether it is in force at an instant."""
        return self.valid_from_us <= at_us < self.end_us


@dataclass(frozen=True, slots=True)
class Scope:
    """What an authorisation covers.

    Attributes:
        cameras: named cameras, with the zone each stood in when it was named.
        zones: the perimeter.
        lapsed: named cameras that have left that zone since, with the instant: their naming
            covers them nowhere any more, also not when they come back.
    """

    cameras: Mapping[str, str] = field(default_factory=dict)
    zones: frozenset[str] = frozenset()
    lapsed: Mapping[str, int] = field(default_factory=dict)

    def covers(self, camera: str, zone: str) -> bool:
        """Whether a camera that stands in ``zone`` is covered."""
        if zone in self.zones:
            return True
        return camera not in self.lapsed and self.cameras.get(camera) == zone

    @property
    def concerned(self) -> frozenset[str]:
        """The zones it concerns: the perimeter, and those in which cameras were named."""
        return self.zones | frozenset(self.cameras.values())


@dataclass(frozen=True, slots=True)
class Term:
    """The time during which one authorisation covers one camera, half open."""

    authorisation: str
    number: str
    from_us: int
    until_us: int
    retention_days: int

    def holds(self, at_us: int) -> bool:
        """Whether the camera may record at an instant by this term."""
        return self.from_us <= at_us < self.until_us
