"""What the evidence context needs of others, declared beside its consumer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vigie.registry.v1.events_pb2 import CameraState


class CameraDirectory(Protocol):
    """The cameras as the registry last told them."""

    def get(self, camera: str) -> CameraState | None:
        """State of a camera, or ``None`` when there is none of that identifier."""
        ...


@dataclass(frozen=True, slots=True)
class TimelinePiece:
    """A piece of a camera's timeline, microseconds since the Unix epoch, half open.

    Attributes:
        start_us: begin.
        end_us: end.
        kind: ``SPAN``, ``GAP`` or ``PENDING``.
        cause: GapCause name of a gap, without its prefix.
        detail: what ingest or the registry said about it.
    """

    start_us: int
    end_us: int
    kind: str
    cause: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A segment of the index, as recording lists it."""

    object_key: str
    run: str
    number: int
    start_us: int
    end_us: int
    media_start_ticks: int
    media_duration_ticks: int
    size_bytes: int
    sha256: str
    header_sha256: str
    codec: str
    width: int
    height: int
    camera_clock_offset_us: int | None


class Recordings(Protocol):
    """What recording answers about footage and holds."""

    async def zones(
        self, cameras: Sequence[str], start_us: int, end_us: int
    ) -> Mapping[str, Sequence[str]]:
        """The zones each camera stood in during the window, in order of time.

        Of a camera of which nothing is known there is none.

        Raises:
            VigieError: EVIDENCE_ZONES_UNKNOWN: recording does not answer.
        """
        ...

    async def timeline(self, camera: str, start_us: int, end_us: int) -> Sequence[TimelinePiece]:
        """The pieces that make up the window, in order, without rest."""
        ...

    async def segments(self, camera: str, start_us: int, end_us: int) -> Sequence[SegmentFacts]:
        """Segments that overlap the window, by run and number."""
        ...

    async def hold_applied(self, hold: str) -> bool:
        """Whether every object of the hold is held by the store now; waits a while."""
        ...
