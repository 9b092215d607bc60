"""Where a session delivers: called from the engine's thread, returns at once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from prometheus_client import Counter

from vigie.ingest.engine import (
    CodecParameters,
    ConnectionInfo,
    EndCause,
    FrameGroup,
    LiveFrames,
    SenderReport,
)
from vigie.ingest.live.channel import LiveChannel
from vigie.ingest.recorder.intake import CameraIntake
from vigie.ingest.supervisor.status import RateMeter, StreamFacts


@dataclass(frozen=True, slots=True)
class SinkTargets:
    """Where a session's deliveries go.

    Attributes:
        intake: to the segment writer.
        channel: to live viewers.
        facts: for the status.
        rates: for the status.
        frames: counter of this camera.
        size_bytes: counter of this camera.
    """

    intake: CameraIntake
    channel: LiveChannel
    facts: StreamFacts
    rates: RateMeter
    frames: Counter
    size_bytes: Counter


class RecordingSink:
    """The sink of one session (`vigie.ingest.engine.SessionSink`).

    Args:
        targets: where deliveries go.
        loop: the event loop.
        connected: called on the loop.
        ended: called on the loop with cause and detail.
        opened_us: wall clock when the attempt began: from then on nothing was received.
    """

    def __init__(
        self,
        targets: SinkTargets,
        *,
        loop: asyncio.AbstractEventLoop,
        connected: Callable[[ConnectionInfo], None],
        ended: Callable[[EndCause, str], None],
        opened_us: int,
    ) -> None:
        self._targets = targets
        self._loop = loop
        self._connected = connected
        self._ended = ended
        self._last_us = opened_us
        self._parameters: CodecParameters | None = None

    def connected(self, info: ConnectionInfo) -> None:
        """See `SessionSink.connected`."""
        self._loop.call_soon_threadsafe(self._connected, info)

    def parameters(self, parameters: CodecParameters) -> None:
        """See `SessionSink.parameters`."""
        self._parameters = parameters
        self._targets.facts.parameters = parameters
        self._targets.rates.clear()

    def frames(self, frames: LiveFrames) -> None:
        """See `SessionSink.frames`."""
        self._loop.call_soon_threadsafe(self._targets.channel.push, frames)

    def group(self, group: FrameGroup) -> None:
        """See `SessionSink.group`."""
        assert self._parameters is not None
        self._targets.rates.add(group)
        self._targets.intake.group(self._parameters, group)

    def lost(self, cause: EndCause, detail: str, at_us: int) -> None:
        """See `SessionSink.lost`."""
        self._targets.intake.lost(cause.value, detail, at_us)

    def sender_report(self, report: SenderReport) -> None:
        """See `SessionSink.sender_report`."""
        self._targets.facts.camera_clock_offset_us = report.camera_us - report.arrival_us
        self._targets.intake.sender_report(report)

    def received(self, frames: int, size_bytes: int, at_us: int) -> None:
        """See `SessionSink.received`."""
        self._last_us = self._targets.facts.last_frame_us = at_us
        self._targets.frames.inc(frames)
        self._targets.size_bytes.inc(size_bytes)

    def ended(self, cause: EndCause, detail: str) -> None:
        """See `SessionSink.ended`."""
        self._targets.intake.ended(cause.value, detail, self._last_us)
        self._loop.call_soon_threadsafe(partial(self._ended, cause, detail))

    @property
    def wants_frames(self) -> bool:
        """See `SessionSink.wants_frames`."""
        return self._targets.channel.wants_frames
