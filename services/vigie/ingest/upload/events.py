"""The events of footage, with identifiers that a replay repeats (so it is stored once)."""

from typing import Final

from vigie.common.v1 import types_pb2
from vigie.ingest.spool.records import EndRecord, SegmentRecord
from vigie.ingest.v1 import events_pb2
from vigie.platform.eventlog import Event

SEGMENTS_TOPIC: Final = "segments"
STATUS_TOPIC: Final = "stream-status"
SOURCE: Final = "vigie/ingest"


def segment_stored(record: SegmentRecord, *, instance: str, now_us: int) -> Event:
    """The event of a stored segment."""
    stored = events_pb2.SegmentStored(
        object_key=record.object_key,
        run=record.run,
        number=record.number,
        start_us=record.start_us,
        duration_us=record.duration_us,
        media_start_ticks=record.media_start_ticks,
        media_duration_ticks=record.media_duration_ticks,
        timescale=record.timescale,
        sample_count=record.sample_count,
        size_bytes=record.size_bytes,
        sha256=record.sha256,
        codec=record.codec,
        width=record.width,
        height=record.height,
        camera_clock_offset_us=record.camera_clock_offset_us or 0,
        has_camera_clock=record.camera_clock_offset_us is not None,
        header_sha256=record.header_sha256,
    )
    message = events_pb2.SegmentEvent(
        camera=record.camera, instance=instance, segment_stored=stored
    )
    return segment_event(message, f"{record.run}.{record.number}", now_us)


def run_ended(record: EndRecord, *, instance: str, now_us: int) -> Event:
    """The event of a run that is complete."""
    ended = events_pb2.RunEnded(
        run=record.run,
        end_us=record.end_us,
        segment_count=record.segment_count,
        reason=events_pb2.RunEndReason.Value(f"RUN_END_REASON_{record.reason}"),
        object_key=record.object_key,
    )
    message = events_pb2.SegmentEvent(camera=record.camera, instance=instance, run_ended=ended)
    return segment_event(message, f"{record.run}.end", now_us)


def segment_event(message: events_pb2.SegmentEvent, event_id: str, now_us: int) -> Event:
    """An event of the topic `segments`."""
    return _event(message, event_id, now_us)


def status_event(message: events_pb2.StreamStatusEvent, event_id: str, now_us: int) -> Event:
    """An event of the topic `stream-status`."""
    return _event(message, event_id, now_us)


def _event(
    message: events_pb2.SegmentEvent | events_pb2.StreamStatusEvent, event_id: str, now_us: int
) -> Event:
    """Its key is the camera, so that the events of one camera keep their order."""
    return Event(
        key=message.camera,
        type=message.DESCRIPTOR.full_name,
        value=message.SerializeToString(),
        id=event_id,
        time_us=now_us,
        source=SOURCE,
    )


def status_removed(camera: str, event_id: str, now_us: int) -> Event:
    """The camera is gone: its status goes from the topic too."""
    return Event(
        key=camera,
        type=events_pb2.StreamStatusEvent.DESCRIPTOR.full_name,
        value=None,
        id=event_id,
        time_us=now_us,
        source=SOURCE,
    )


def gap_cause(name: str) -> types_pb2.GapCause.ValueType:
    """The cause called ``name`` (as `EndCause` and the enumeration spell it)."""
    return types_pb2.GapCause.Value(f"GAP_CAUSE_{name}")
