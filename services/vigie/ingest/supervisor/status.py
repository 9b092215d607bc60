"""What the reception of one camera is doing: measured, published on every change and regularly."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vigie.ingest.engine import TIMESCALE, CodecParameters, FrameGroup
from vigie.ingest.upload.events import gap_cause, status_event
from vigie.ingest.v1 import events_pb2
from vigie.ingest.v1.events_pb2 import StreamState, StreamStatusEvent
from vigie.platform.clock import MICROSECONDS_PER_SECOND
from vigie.platform.eventlog import Event

RATE_GROUPS: Final = 5
"""Frame and bit rate are measured over so many key-frame intervals."""


class RateMeter:
    """Frame rate and bit rate over the last key-frame intervals.

    Written by the engine's thread, read by the event loop: tuples in a deque, replaced whole.
    """

    def __init__(self) -> None:
        self._groups: deque[tuple[int, int, int]] = deque(maxlen=RATE_GROUPS)

    def add(self, group: FrameGroup) -> None:
        """Count a group."""
        ticks = group.presentation_ticks
        end = group.next_ticks
        if end is None or end <= min(ticks):
            return
        self._groups.append((len(ticks), group.size_bytes, end - min(ticks)))

    def clear(self) -> None:
        """Forget: another stream comes."""
        self._groups.clear()

    def read(self) -> tuple[int, int]:
        """Frames a second in thousandths, and bits a second."""
        groups = tuple(self._groups)
        ticks = sum(group[2] for group in groups)
        if not ticks:
            return 0, 0
        frames, size_bytes = sum(g[0] for g in groups), sum(g[1] for g in groups)
        return frames * 1000 * TIMESCALE // ticks, size_bytes * 8 * TIMESCALE // ticks


@dataclass(slots=True)
class StreamFacts:
    """What the sink learns in the engine's thread; single references and numbers only."""

    parameters: CodecParameters | None = None
    last_frame_us: int = 0
    camera_clock_offset_us: int | None = None


class StatusBoard:
    """The status of one camera; used from the event loop only.

    Args:
        camera: camera identifier.
        instance: this ingest process.
        new_id: makes identifiers of events.
        publish: takes the camera and the event.
        address: where other services reach this process; empty where none has to.
    """

    def __init__(
        self,
        camera: str,
        *,
        instance: str,
        new_id: Callable[[], str],
        publish: Callable[[str, Event], None],
        address: Callable[[], str] = str,
    ) -> None:
        self._address = address
        self.facts = StreamFacts()
        self.rates = RateMeter()
        self._camera = camera
        self._instance = instance
        self._new_id = new_id
        self._publish = publish
        self.state: StreamState.ValueType = events_pb2.STREAM_STATE_WAITING
        self.cause = ""
        self.detail = ""
        self._run = ""
        self._run_start_us = 0
        self.failed_attempts = 0
        self._is_silent = False

    def silence(self) -> None:
        """Publish nothing any more: the status is another's now, or the camera's key is gone."""
        self._is_silent = True

    def change(self, state: StreamState.ValueType, cause: str, detail: str, now_us: int) -> None:
        """The reception does something else now."""
        self.state, self.cause, self.detail = state, cause, detail
        if state != events_pb2.STREAM_STATE_RECORDING:
            self._run, self._run_start_us = "", 0
        self.tell(now_us)

    def recording(self, run: str, start_us: int, now_us: int) -> None:
        """A run is being recorded; called again when its start is exact."""
        self._run, self._run_start_us = run, start_us
        self.change(events_pb2.STREAM_STATE_RECORDING, "", "", now_us)

    @property
    def run(self) -> str:
        """The run being recorded; empty when none is."""
        return self._run

    def tell(self, now_us: int) -> None:
        """Publish the status as it is."""
        if self._is_silent:
            return
        event = status_event(self.message(now_us), self._new_id(), now_us)
        self._publish(self._camera, event)

    def message(self, now_us: int) -> StreamStatusEvent:
        """The status as it is."""
        rate, bits = self.rates.read()
        parameters, facts = self.facts.parameters, self.facts
        message = StreamStatusEvent(
            camera=self._camera,
            instance=self._instance,
            state=self.state,
            detail=self.detail,
            run=self._run,
            run_start_us=self._run_start_us,
            last_frame_us=facts.last_frame_us,
            frame_rate_millihertz=rate,
            bit_rate_bps=bits,
            camera_clock_offset_us=facts.camera_clock_offset_us or 0,
            has_camera_clock=facts.camera_clock_offset_us is not None,
            failed_attempts=self.failed_attempts,
            address=self._address(),
        )
        if self.cause:
            message.cause = gap_cause(self.cause)
        if parameters is not None:
            message.codec = parameters.codec_string
            message.width, message.height = parameters.width, parameters.height
        seconds, rest = divmod(now_us, MICROSECONDS_PER_SECOND)
        message.update_time.seconds, message.update_time.nanos = seconds, rest * 1000
        return message
