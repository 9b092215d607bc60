"""The facts of the index as values. Instants are microseconds since the Unix epoch (``*_us``)."""

from dataclasses import dataclass, field
from enum import IntEnum

from vigie.common.v1.types_pb2 import GapCause

SEGMENT_LIMIT_US = 3_600_000_000
"""Longest segment that is indexed (one hour; configured lengths end at five minutes)."""

PIECE_US = 6 * 3_600_000_000
"""Spans are cut where a new quarter of a UTC day begins.

A run lasts for weeks; its row would be found from any instant only by reading every row before
it. Cut at fixed instants, the rows follow from the segments alone, in whatever order these came
or went: a rebuilt index has the same rows.
"""

PIECE_LIMIT_US = PIECE_US + SEGMENT_LIMIT_US
"""No row of spans, destroyed spans and outages is longer than this: all that overlap an instant
are found by one range of starts, however old the index and however many segments it has."""


class Cause(IntEnum):
    """Why footage is missing: the numbers of `vigie.common.v1.GapCause`."""

    CAMERA_UNREACHABLE = GapCause.GAP_CAUSE_CAMERA_UNREACHABLE
    CREDENTIALS_REFUSED = GapCause.GAP_CAUSE_CREDENTIALS_REFUSED
    CAMERA_SILENT = GapCause.GAP_CAUSE_CAMERA_SILENT
    CLOSED_BY_CAMERA = GapCause.GAP_CAUSE_CLOSED_BY_CAMERA
    PACKETS_LOST = GapCause.GAP_CAUSE_PACKETS_LOST
    STREAM_UNSUPPORTED = GapCause.GAP_CAUSE_STREAM_UNSUPPORTED
    CLOCK_JUMP = GapCause.GAP_CAUSE_CLOCK_JUMP
    INGEST_DOWN = GapCause.GAP_CAUSE_INGEST_DOWN
    SPOOL_FULL = GapCause.GAP_CAUSE_SPOOL_FULL
    STORE_REFUSED = GapCause.GAP_CAUSE_STORE_REFUSED
    NOT_AUTHORISED = GapCause.GAP_CAUSE_NOT_AUTHORISED
    SUSPENDED = GapCause.GAP_CAUSE_SUSPENDED
    NOT_IN_SERVICE = GapCause.GAP_CAUSE_NOT_IN_SERVICE
    DESTROYED = GapCause.GAP_CAUSE_DESTROYED


EXCLUDED_CAUSES = frozenset(
    {Cause.NOT_AUTHORISED, Cause.SUSPENDED, Cause.NOT_IN_SERVICE, Cause.DESTROYED}
)
"""Causes under which nothing was to be stored: they do not count against completeness."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One stored object with media; see `vigie.ingest.v1.SegmentStored`."""

    object_key: str
    camera: str
    run: str
    number: int
    start_us: int
    end_us: int
    media_start_ticks: int
    media_duration_ticks: int
    timescale: int
    sample_count: int
    size_bytes: int
    sha256: str
    codec: str
    width: int
    height: int
    camera_clock_offset_us: int | None
    header_sha256: str

    @property
    def duration_us(self) -> int:
        """Wall-clock duration in microseconds."""
        return self.end_us - self.start_us


@dataclass(frozen=True, slots=True)
class Span:
    """Contiguous segments of one run: stored footage, or footage that was destroyed."""

    run: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Outage:
    """An interval for which ingest vouches that there is no footage, and why.

    ``open`` marks the outage that still lasts: ``end_us`` is then how far ingest has vouched.
    """

    start_us: int
    end_us: int
    cause: Cause
    detail: str = ""
    open: bool = False


@dataclass(frozen=True, slots=True)
class AuthorisationTerm:
    """An authorisation as far as recording needs it; ``retention_days`` 0: the legal maximum."""

    authorisation: str
    from_us: int
    until_us: int
    retention_days: int


class Lifecycle(IntEnum):
    """Where a camera stands in its life: the numbers of `vigie.registry.v1.CameraLifecycle`."""

    UNSPECIFIED = 0
    PLANNED = 1
    IN_SERVICE = 2
    SUSPENDED = 3
    RETIRED = 4


@dataclass(frozen=True, slots=True)
class CameraState:
    """What the registry wanted of a camera from ``effective_us`` on.

    ``told_us`` is when it said so, which may be later (a move is entered when it has happened);
    ``None``: an index made by an older version does not know.
    """

    camera: str
    revision: int
    effective_us: int
    lifecycle: Lifecycle
    zone: str
    authorisations: tuple[AuthorisationTerm, ...] = field(default=())
    told_us: int | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """What of a `CameraState` decides whether footage was to be expected.

    Attributes:
        since_us: when it began to be acted upon: when it took effect, or when it was told if that
            was later, by the registry's clock. Until then reception followed the state before.
        lifecycle: see `Lifecycle`.
        authorisations: terms that cover the camera.
    """

    since_us: int
    lifecycle: Lifecycle
    authorisations: tuple[AuthorisationTerm, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class LiveState:
    """What the reception of a camera last said about itself.

    Attributes:
        updated_us: when it said so.
        recording: whether media came in and was recorded.
        cause: why there was none; ``None`` when none was given.
        detail: one line for people.
    """

    updated_us: int
    recording: bool
    cause: Cause | None = None
    detail: str = ""
