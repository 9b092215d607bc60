"""What the consumers of recording do with events; see `vigie.platform.eventlog.consumer`."""

from collections.abc import Callable, Sequence
from typing import Final

from vigie.evidence.v1.events_pb2 import HoldState
from vigie.ingest.v1.events_pb2 import SegmentEvent, StreamStatusEvent
from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import StoredEvent
from vigie.platform.eventlog.events import EVENT_VALUE_UNKNOWN, Unprocessable, parse_event
from vigie.recording.index import holdings, writer
from vigie.recording.index.convert import (
    EventInvalidError,
    EventUnknownError,
    live_state_from_event,
)
from vigie.recording.metrics import RecordingMetrics
from vigie.recording.model import LiveState
from vigie.registry.v1.events_pb2 import CameraState

SEGMENT_CONFLICT: Final = "SEGMENT_CONFLICT"
EVENT_IMPOSSIBLE: Final = "EVENT_IMPOSSIBLE"
WRONG_KEY: Final = "WRONG_KEY"


class IndexHandlers:
    """Writes the effects of events into the index.

    Args:
        database: where the index is.
        wall_clock: for the delay between recording and listing, and for holds without a time.
        metrics: what is counted.
        holds_changed: called after a commit that gave the keeper of holds something to do.
    """

    def __init__(
        self,
        database: Database,
        wall_clock: WallClock,
        metrics: RecordingMetrics,
        holds_changed: Callable[[], None],
    ) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._metrics = metrics
        self._holds_changed = holds_changed

    async def segments(self, connection: AsyncConnection, events: Sequence[StoredEvent]) -> None:
        """Handle events of topic ``segments``."""
        parsed: list[SegmentEvent] = []
        for stored in events:
            event = parse_event(stored, SegmentEvent)
            _check_key(stored, event.camera)
            parsed.append(event)
        try:
            indexed = await writer.apply_segment_events(connection, parsed)
        except writer.ConflictingSegmentError as error:
            raise Unprocessable(SEGMENT_CONFLICT, str(error)) from error
        except EventInvalidError as error:
            raise _refusal(error) from error
        self._database.on_commit(connection, lambda: self._indexed(indexed))

    def _indexed(self, indexed: Sequence[writer.Indexed]) -> None:
        now_us = self._wall_clock.now_us()
        self._metrics.segments_indexed.inc(len(indexed))
        self._metrics.bytes_indexed.inc(sum(one.segment.size_bytes for one in indexed))
        for one in indexed:
            self._metrics.index_delay.observe(max(0, now_us - one.segment.end_us) / 1e6)
        if any(one.is_held for one in indexed):
            self._holds_changed()

    async def cameras(self, connection: AsyncConnection, events: Sequence[StoredEvent]) -> None:
        """Handle events of topic ``cameras``; a removed key keeps its history."""
        for stored in events:
            if stored.event.value is None:
                continue
            state = parse_event(stored, CameraState)
            _check_key(stored, state.camera)
            try:
                await writer.put_camera_state(connection, state, stored.event.time_us)
            except (EventInvalidError, ValueError) as error:
                raise _refusal(error) from error

    async def holds(self, connection: AsyncConnection, events: Sequence[StoredEvent]) -> None:
        """Handle events of topic ``holds``."""
        for stored in events:
            if stored.event.value is None:
                await holdings.release_hold(connection, stored.event.key, stored.event.time_us)
                continue
            state = parse_event(stored, HoldState)
            _check_key(stored, state.hold)
            try:
                await holdings.put_hold(connection, state)
            except EventInvalidError as error:
                raise _refusal(error) from error
        self._database.on_commit(connection, self._holds_changed)


def _refusal(error: ValueError) -> Unprocessable:
    known = not isinstance(error, EventUnknownError)
    return Unprocessable(EVENT_IMPOSSIBLE if known else EVENT_VALUE_UNKNOWN, str(error))


def _check_key(stored: StoredEvent, named: str) -> None:
    """Events are ordered by their key: one that speaks of something else has no order."""
    if stored.event.key != named:
        raise Unprocessable(WRONG_KEY, f"key {stored.event.key!r}, but it speaks of {named!r}")


def parse_status(stored: StoredEvent) -> LiveState:
    """The live state in an event of topic ``stream-status``."""
    return live_state_from_event(parse_event(stored, StreamStatusEvent))
