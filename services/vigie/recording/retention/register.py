"""What is told and noted of a destruction, before it is done."""

from google.protobuf.timestamp_pb2 import Timestamp

from vigie.recording.model import Segment
from vigie.recording.v1 import events_pb2


def destruction_event(segment: Segment, basis: str, decided_us: int) -> events_pb2.DestructionEvent:
    """What is told of a destruction."""
    seconds, microseconds = divmod(decided_us, 1_000_000)
    return events_pb2.DestructionEvent(
        camera=segment.camera,
        object_key=segment.object_key,
        run=segment.run,
        number=segment.number,
        start_us=segment.start_us,
        duration_us=segment.duration_us,
        sha256=segment.sha256,
        reason=events_pb2.DESTRUCTION_REASON_RETENTION,
        decision_time=Timestamp(seconds=seconds, nanos=microseconds * 1000),
        basis=basis,
    )


def register_values(segment: Segment, basis: str, decided_us: int) -> dict[str, str | int | None]:
    """The row of the register of a destruction that is decided and not yet done."""
    return {
        "object_key": segment.object_key,
        "camera": segment.camera,
        "run": segment.run,
        "number": segment.number,
        "start_us": segment.start_us,
        "end_us": segment.end_us,
        "sha256": segment.sha256,
        "reason": int(events_pb2.DESTRUCTION_REASON_RETENTION),
        "basis": basis,
        "decided_us": decided_us,
        "destroyed_us": None,
    }
