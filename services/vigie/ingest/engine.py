"""The reception port: what an engine hands over, whatever protocol it speaks.

An engine owns its threads. It calls the sink of a session from one of them, in order, and never
waits for it: a sink copies a reference into a queue and returns. Everything that blocks (disk,
hashes of large data, the network of the store) happens elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

TIMESCALE = 90_000
"""Ticks a second of all media times handed over (the RTP clock of video, RFC 6184 and 7798)."""


class EndCause(StrEnum):
    """Why a session ended; the names are those of ``vigie.common.v1.GapCause``."""

    CAMERA_UNREACHABLE = "CAMERA_UNREACHABLE"
    CREDENTIALS_REFUSED = "CREDENTIALS_REFUSED"
    CAMERA_SILENT = "CAMERA_SILENT"
    CLOSED_BY_CAMERA = "CLOSED_BY_CAMERA"
    PACKETS_LOST = "PACKETS_LOST"
    STREAM_UNSUPPORTED = "STREAM_UNSUPPORTED"
    CLOCK_JUMP = "CLOCK_JUMP"
    INGEST_DOWN = "INGEST_DOWN"
    """An error of ours ended the session; the log has its trace."""
    STOPPED = "STOPPED"
    """Asked for by `Session.close`; not a fault."""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What to receive.

    Attributes:
        camera: camera identifier, for logs and metrics.
        uri: address without user and password.
        username: empty when the camera asks for none.
        password: never printed (``repr`` hides it).
        verify_tls: whether the certificate of an rtsps camera must be trusted.
    """

    camera: str
    uri: str
    username: str = ""
    password: str = field(default="", repr=False)
    verify_tls: bool = True


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What is known of a source once it plays.

    Attributes:
        server: what the other side calls itself (RTSP ``Server``, a demuxer's name); may be empty.
        transport: e.g. ``rtsp/tcp``, ``rtsps/tcp``, ``libav/udp``.
        has_audio: whether the source offers sound (it is never set up nor recorded).
    """

    server: str
    transport: str
    has_audio: bool = False


@dataclass(frozen=True, slots=True)
class CodecParameters:
    """The decoder configuration of a run; a change of any byte starts a new run.

    Attributes:
        codec: ``h264``, ``h265`` or ``mjpeg``.
        codec_string: RFC 6381, e.g. ``avc1.640028``.
        parameter_sets: NAL units without length prefix: SPS, PPS (H.264); VPS, SPS, PPS (H.265).
        width: picture width in pixels after cropping.
        height: picture height in pixels after cropping.
        reorder_depth: greatest number of frames that precede a frame in decode order and follow
            it in presentation order; 0 without B-frames.
    """

    codec: str
    codec_string: str
    parameter_sets: tuple[bytes, ...]
    width: int
    height: int
    reorder_depth: int = 0


@dataclass(slots=True)
class FrameGroup:
    """The frames of one key-frame interval in decode order: one fragment of a segment.

    Attributes:
        frames: each frame's NAL units with 4-byte lengths, bytes and order as received.
        size_bytes: of all frames.
        presentation_ticks: presentation time of each frame, unwrapped RTP timestamp, `TIMESCALE`.
        next_ticks: presentation time of the key frame that follows without a break; ``None`` when
            the run ends here (then the last frame's duration is the median of the group).
        arrival_us: wall-clock arrival of each frame (of its last byte, by tick), microseconds.
        arrival_monotonic_us: the same on the monotonic clock.
    """

    frames: Sequence[bytes | bytearray]
    size_bytes: int
    presentation_ticks: Sequence[int]
    next_ticks: int | None
    arrival_us: Sequence[int]
    arrival_monotonic_us: Sequence[int]


@dataclass(frozen=True, slots=True)
class LiveFrames:
    """The frames that one tick has completed, for live viewers.

    Attributes:
        data: frames as in `FrameGroup.frames`, one after the other (a copy; safe to keep).
        sizes: bytes of each frame.
        presentation_ticks: presentation time of each frame.
        key_frame: whether the first frame of ``data`` is a key frame that begins a group; frames
            of two groups never share one call.
        arrival_us: wall-clock time of the tick.
        parameters: what these frames are coded with (the same object while it does not change;
            live frames run ahead of ``SessionSink.parameters``, which goes with the groups).
    """

    data: bytes
    sizes: Sequence[int]
    presentation_ticks: Sequence[int]
    key_frame: bool
    arrival_us: int
    parameters: CodecParameters


@dataclass(frozen=True, slots=True)
class SenderReport:
    """The camera's clock: RTCP sender report.

    Attributes:
        camera_us: NTP time of the report as microseconds since the Unix epoch.
        ticks: the same instant as unwrapped RTP timestamp.
        arrival_us: wall-clock arrival at the receiver.
    """

    camera_us: int
    ticks: int
    arrival_us: int


class SessionSink(Protocol):
    """Where a session delivers; called from the engine's thread, must return at once.

    Order within a session: ``connected`` once; then ``parameters`` before the first ``group`` and
    before every group whose parameters differ; ``lost`` where the media is interrupted but the
    session goes on (what follows starts with a key frame); ``ended`` once, last.
    """

    def connected(self, info: ConnectionInfo) -> None:
        """The session plays."""
        ...

    def parameters(self, parameters: CodecParameters) -> None:
        """What follows is coded with these; the first call or a change (a new run)."""
        ...

    def frames(self, frames: LiveFrames) -> None:
        """Frames of this tick, called only while `wants_frames` is true.

        When `wants_frames` has just become true, the first call brings the group under way from
        its key frame on, so that a viewer need not wait for the next one.
        """
        ...

    def group(self, group: FrameGroup) -> None:
        """A complete key-frame interval."""
        ...

    def lost(self, cause: EndCause, detail: str, at_us: int) -> None:
        """Continuity is broken (packets lost, clock jump) at wall-clock ``at_us``."""
        ...

    def sender_report(self, report: SenderReport) -> None:
        """The camera told its clock."""
        ...

    def received(self, frames: int, size_bytes: int, at_us: int) -> None:
        """Counters for metrics and silence detection, once a tick with media."""
        ...

    def ended(self, cause: EndCause, detail: str) -> None:
        """The session is over; a last complete group was delivered before this."""
        ...

    @property
    def wants_frames(self) -> bool:
        """Whether somebody watches live now (the engine then shortens its tick); read each tick."""
        ...


class Session(Protocol):
    """A reception under way."""

    def close(self) -> None:
        """End it soon, from any thread; the sink still gets its last group and ``ended``."""
        ...


class Engine(Protocol):
    """Receives streams."""

    def open(self, source: SourceSpec, sink: SessionSink) -> Session:
        """Begin to receive; never blocks and never raises for what a camera does."""
        ...

    def start(self) -> None:
        """Start the engine's threads."""
        ...

    def stop(self, *, timeout_seconds: float) -> None:
        """Close all sessions (each delivers its last group) and join the threads."""
        ...
