"""What a simulated camera can be made to do wrong: a closed list, each with what must follow.

Names of causes are those of ``vigie.common.v1.GapCause``; they are strings here because the
simulator imports nothing of the product it tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field


class Fault(StrEnum):
    """A named misbehaviour. `FAULTS` says of each what the timeline should show."""

    UNREACHABLE = "unreachable"
    """Connections are refused (port per camera) or reset (shared port); sessions are reset."""
    NOT_FOUND = "not-found"
    """DESCRIBE and SETUP are answered 404; sessions are closed."""
    UNAVAILABLE = "unavailable"
    """Every request is answered 503; sessions are closed."""
    DROP_CONNECTION = "drop-connection"
    """Half of a frame is sent, then the connection is closed."""
    SILENT = "silent"
    """The connection stays open and nothing at all is sent on it, answers included."""
    SILENT_WITH_RTCP = "silent-with-rtcp"
    """Media stops; sender reports and answers to requests go on."""
    LOSE_PACKETS = "lose-packets"
    """RTP packets are left out: ``count`` in the next frame, or each with ``fraction``."""
    REORDER_PACKETS = "reorder-packets"
    """RTP packets swap places: one pair in the next frame, or pairs with ``fraction``."""
    DUPLICATE_PACKETS = "duplicate-packets"
    """RTP packets are sent twice: ``count`` of the next frame, or each with ``fraction``."""
    WRONG_SEQUENCE = "wrong-sequence"
    """Sequence numbers go on from another value (``count`` further) although nothing is lost."""
    TIMESTAMP_DISCONTINUITY = "timestamp-discontinuity"
    """RTP time stamps jump by ``seconds``; the clock in the sender reports does not."""
    CLOCK_JUMP = "clock-jump"
    """The camera's clock jumps by ``seconds``: sender reports and (unless ``reports_only``) RTP."""
    CLOCK_DRIFT = "clock-drift"
    """The camera's clock runs fast by ``ppm`` from now on (negative: slow)."""
    CHANGE_PARAMETERS = "change-parameters"
    """Another SPS at the next key frame; same codec and size."""
    CHANGE_RESOLUTION = "change-resolution"
    """Another picture size (``width`` by ``height``) at the next key frame."""
    CHANGE_CODEC = "change-codec"
    """H.265 instead of H.264, or the reverse, at the next key frame, in the same session."""
    GARBAGE_BYTES = "garbage-bytes"
    """``count`` bytes that are no interleaved frame, between two frames."""
    GARBAGE_NALS = "garbage-nals"
    """``count`` RTP packets with undefined NAL types and random content, sequence intact."""
    SLOW_START = "slow-start"
    """DESCRIBE and PLAY are answered after ``seconds``."""
    EXPIRE_SESSION = "expire-session"
    """The session is forgotten: media stops, requests are answered 454, the connection stays."""
    REDIRECT = "redirect"
    """DESCRIBE is answered 302 to ``location`` (default: another path of this camera)."""
    DEMAND_AUTHENTICATION = "demand-authentication"
    """Every request is answered 401, whatever password is sent; sessions are closed."""
    CHANGE_PASSWORD = "change-password"  # noqa: S105 - the name of a fault
    """Only ``password`` is accepted; sessions are closed."""
    STALE_NONCES = "stale-nonces"
    """All nonces given so far expire: the next request is refused with stale=true and a new one."""
    BURSTS = "bursts"
    """Packets are held back and sent together every ``milliseconds``."""
    SLOW_CAMERA = "slow-camera"
    """Each frame trickles out in pieces over ``milliseconds``."""


Gap = Literal["always", "possible", "never"]


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """What a fault means for a recorder.

    Attributes:
        gap: whether footage must be missing.
        causes: causes a gap may carry (GapCause names); the first is that of the lasting state,
            others may stand for the moment before it is recognised.
        is_momentary: it happens once; otherwise it lasts until its duration is over or cleared.
        new_run: the recorder must start a new run although nothing is missing.
    """

    gap: Gap
    causes: tuple[str, ...] = ()
    is_momentary: bool = False
    new_run: bool = False


FAULTS: Final[Mapping[Fault, FaultSpec]] = {
    Fault.UNREACHABLE: FaultSpec("always", ("CAMERA_UNREACHABLE", "CLOSED_BY_CAMERA")),
    Fault.NOT_FOUND: FaultSpec("always", ("CAMERA_UNREACHABLE", "CLOSED_BY_CAMERA")),
    Fault.UNAVAILABLE: FaultSpec("always", ("CAMERA_UNREACHABLE", "CLOSED_BY_CAMERA")),
    Fault.DROP_CONNECTION: FaultSpec("always", ("CLOSED_BY_CAMERA",), is_momentary=True),
    Fault.SILENT: FaultSpec("always", ("CAMERA_SILENT",)),
    Fault.SILENT_WITH_RTCP: FaultSpec("always", ("CAMERA_SILENT",)),
    Fault.LOSE_PACKETS: FaultSpec("always", ("PACKETS_LOST",)),
    Fault.REORDER_PACKETS: FaultSpec("always", ("PACKETS_LOST",)),
    Fault.DUPLICATE_PACKETS: FaultSpec("possible", ("PACKETS_LOST",)),
    Fault.WRONG_SEQUENCE: FaultSpec("always", ("PACKETS_LOST",), is_momentary=True),
    Fault.TIMESTAMP_DISCONTINUITY: FaultSpec("possible", ("CLOCK_JUMP",), True, new_run=True),
    Fault.CLOCK_JUMP: FaultSpec("possible", ("CLOCK_JUMP",), True, new_run=True),
    Fault.CLOCK_DRIFT: FaultSpec("never"),
    Fault.CHANGE_PARAMETERS: FaultSpec("never", new_run=True),
    Fault.CHANGE_RESOLUTION: FaultSpec("never", new_run=True),
    Fault.CHANGE_CODEC: FaultSpec(
        "possible", ("STREAM_UNSUPPORTED", "PACKETS_LOST", "CAMERA_SILENT"), new_run=True
    ),
    Fault.GARBAGE_BYTES: FaultSpec("possible", ("STREAM_UNSUPPORTED", "PACKETS_LOST"), True),
    Fault.GARBAGE_NALS: FaultSpec("possible", ("STREAM_UNSUPPORTED", "PACKETS_LOST"), True),
    Fault.SLOW_START: FaultSpec("possible", ("CAMERA_UNREACHABLE", "CAMERA_SILENT")),
    Fault.EXPIRE_SESSION: FaultSpec("always", ("CLOSED_BY_CAMERA", "CAMERA_SILENT"), True),
    Fault.REDIRECT: FaultSpec("possible", ("CLOSED_BY_CAMERA",)),
    Fault.DEMAND_AUTHENTICATION: FaultSpec("always", ("CREDENTIALS_REFUSED", "CLOSED_BY_CAMERA")),
    Fault.CHANGE_PASSWORD: FaultSpec("always", ("CREDENTIALS_REFUSED", "CLOSED_BY_CAMERA")),
    Fault.STALE_NONCES: FaultSpec("never", is_momentary=True),
    Fault.BURSTS: FaultSpec("never"),
    Fault.SLOW_CAMERA: FaultSpec("never"),
}

ENDS_SESSIONS: Final = frozenset(
    {
        Fault.UNREACHABLE,
        Fault.NOT_FOUND,
        Fault.UNAVAILABLE,
        Fault.REDIRECT,
        Fault.DEMAND_AUTHENTICATION,
        Fault.CHANGE_PASSWORD,
    }
)
"""Faults that show only at the next connection, so the present ones are ended."""

PACKET_FAULTS: Final = (
    Fault.LOSE_PACKETS,
    Fault.REORDER_PACKETS,
    Fault.DUPLICATE_PACKETS,
)
FOOTAGE_FAULTS: Final = (
    Fault.CHANGE_PARAMETERS,
    Fault.CHANGE_RESOLUTION,
    Fault.CHANGE_CODEC,
)


class FaultParameters(BaseModel):
    """Quantities of a fault; each fault reads those its description names.

    Attributes:
        count: packets, sequence numbers or bytes; None takes 1 (bytes: 64).
        fraction: share of packets concerned, 0 to 1; makes a packet fault last.
        seconds: length of a jump or delay.
        milliseconds: how long packets are held back.
        ppm: drift in parts per million.
        width, height: other picture size.
        location: where a redirect points to.
        password: the new one.
        reports_only: the clock jumps in sender reports, not in RTP time stamps.
        keep_sessions: do not end sessions that are running.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int | None = Field(default=None, ge=1, le=65_535)
    fraction: float | None = Field(default=None, ge=0.0, le=1.0)
    seconds: float = 30.0
    milliseconds: int = Field(default=400, ge=1, le=60_000)
    ppm: float = 100.0
    width: int | None = None
    height: int | None = None
    location: str | None = None
    password: str = Field(default="changed-password", repr=False)
    reports_only: bool = False
    keep_sessions: bool = False


class FaultRequest(BaseModel):
    """A fault to inject.

    Attributes:
        fault: which.
        parameters: its quantities.
        duration_seconds: how long it lasts; None until cleared (no meaning if momentary).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: Fault
    parameters: FaultParameters = FaultParameters()
    duration_seconds: float | None = Field(default=None, gt=0)

    @property
    def happens_once(self) -> bool:
        """Whether it is over when it has happened (packet faults last only with a fraction)."""
        if self.fault in PACKET_FAULTS:
            return self.parameters.fraction is None
        return FAULTS[self.fault].is_momentary


class ScheduledFault(FaultRequest):
    """A fault at a time.

    Attributes:
        camera: which camera.
        at_seconds: after the start of the server.
        every_seconds: repeat with this period; None: once.
    """

    camera: str
    at_seconds: float = Field(ge=0)
    every_seconds: float | None = Field(default=None, gt=0)
