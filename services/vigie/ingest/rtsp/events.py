"""What a conversation with a camera comes to."""

from dataclasses import dataclass

from vigie.ingest.engine import EndCause
from vigie.ingest.rtsp import sdp
from vigie.ingest.rtsp.address import Address
from vigie.ingest.rtsp.transport import Transport


@dataclass(frozen=True, slots=True)
class Prepared:
    """The track is set up: media may come from now on, even before PLAY is answered."""

    track: sdp.VideoTrack
    transport: Transport


@dataclass(frozen=True, slots=True)
class Playing:
    """The camera plays.

    Attributes:
        track: the video track that was set up.
        transport: the channels it comes on.
        server: what the camera calls itself; may be empty.
        has_audio: whether it offers sound (not set up).
        keep_alive_seconds: how often `RtspClient.keep_alive` must be called.
    """

    track: sdp.VideoTrack
    transport: Transport
    server: str
    has_audio: bool
    keep_alive_seconds: float


@dataclass(frozen=True, slots=True)
class Redirected:
    """The camera sends us elsewhere; this connection is done."""

    target: Address


@dataclass(frozen=True, slots=True)
class Failed:
    """The conversation is over."""

    cause: EndCause
    detail: str


Event = Prepared | Playing | Redirected | Failed
