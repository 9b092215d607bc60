"""From events and rows to the values of the model, with everything checked on the way in."""

import json
import re
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.recording.index.days import LAST_INSTANT_US
from vigie.recording.model import (
    SEGMENT_LIMIT_US,
    AuthorisationTerm,
    CameraState,
    Cause,
    Lifecycle,
    LiveState,
    Segment,
)
from vigie.registry.v1 import events_pb2 as registry_pb2

INTEGER_LIMIT: Final = (1 << 31) - 1
"""The greatest INTEGER of PostgreSQL."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_RUN: Final = re.compile(r"[0-9a-f]{32}")
SEGMENT_COLUMNS: Final = (
    "object_key",
    "camera",
    "run",
    "number",
    "start_us",
    "end_us",
    "media_start_ticks",
    "media_duration_ticks",
    "timescale",
    "sample_count",
    "size_bytes",
    "sha256",
    "codec",
    "width",
    "height",
    "camera_clock_offset_us",
    "header_sha256",
)
_COLUMNS_OF: Final = attrgetter(*SEGMENT_COLUMNS)
_COUNTS_OF: Final = attrgetter("number", "timescale", "sample_count", "width", "height")


class EventInvalidError(ValueError):
    """An event that says something impossible; it is quarantined, never skipped."""


class EventUnknownError(EventInvalidError):
    """An event that says what only a newer program knows; it waits for that in quarantine."""


def timestamp_us(timestamp: Timestamp) -> int:
    """Microseconds since the Unix epoch of a protobuf timestamp (nanoseconds are cut)."""
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1000


def segment_from_event(camera: str, stored: ingest_pb2.SegmentStored) -> Segment:
    """The index row of a stored segment.

    Raises:
        EventInvalidError: a field is impossible.
    """
    segment = Segment(
        object_key=stored.object_key,
        camera=camera,
        run=stored.run,
        number=stored.number,
        start_us=stored.start_us,
        end_us=stored.start_us + stored.duration_us,
        media_start_ticks=stored.media_start_ticks,
        media_duration_ticks=stored.media_duration_ticks,
        timescale=stored.timescale,
        sample_count=stored.sample_count,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        codec=stored.codec,
        width=stored.width,
        height=stored.height,
        camera_clock_offset_us=stored.camera_clock_offset_us if stored.has_camera_clock else None,
        header_sha256=stored.header_sha256,
    )
    check_segment(segment)
    return segment


def check_segment(segment: Segment) -> None:
    """Refuse a segment whose facts are impossible.

    Raises:
        EventInvalidError: naming the first fact that is.
    """
    faults = {
        "object_key": not segment.object_key,
        "camera": not segment.camera,
        "run": not _RUN.fullmatch(segment.run),
        "sha256": not _SHA256.fullmatch(segment.sha256),
        "start_us": not 0 < segment.start_us < LAST_INSTANT_US,
        "duration_us": not 0 < segment.duration_us <= SEGMENT_LIMIT_US,
        "media_duration_ticks": segment.media_duration_ticks <= 0 or segment.timescale <= 0,
        "counts": max(_COUNTS_OF(segment)) > INTEGER_LIMIT,
        "size_bytes": segment.size_bytes <= 0,
    }
    if True in faults.values():
        wrong = [name for name, fault in faults.items() if fault]
        raise EventInvalidError(f"segment {segment.object_key!r}: impossible {', '.join(wrong)}")


def segment_from_row(row: Any) -> Segment:
    """The segment of a row of `SEGMENTS`."""
    return Segment(*(getattr(row, name) for name in SEGMENT_COLUMNS))


def segment_values(segment: Segment) -> dict[str, Any]:
    """The columns of a segment."""
    return dict(zip(SEGMENT_COLUMNS, _COLUMNS_OF(segment), strict=True))


def camera_state_from_event(state: registry_pb2.CameraState, told_us: int) -> CameraState:
    """What recording needs of a camera's state, which was told at ``told_us``.

    Raises:
        EventInvalidError: no name, or no time.
        EventUnknownError: a lifecycle that this version does not know.
    """
    if not state.camera or not state.HasField("effective_time"):
        raise EventInvalidError(f"state of camera {state.camera!r} without name or time")
    try:
        lifecycle = Lifecycle(state.lifecycle)
    except ValueError as error:
        what = f"lifecycle {state.lifecycle} of camera {state.camera!r}"
        raise EventUnknownError(what) from error
    return CameraState(
        camera=state.camera,
        revision=state.revision,
        effective_us=timestamp_us(state.effective_time),
        lifecycle=lifecycle,
        zone=state.zone,
        authorisations=tuple(
            AuthorisationTerm(
                term.authorisation,
                timestamp_us(term.valid_from),
                timestamp_us(term.valid_until),
                term.retention_days,
            )
            for term in state.authorisations
        ),
        told_us=told_us,
    )


def camera_state_values(state: CameraState) -> Mapping[str, Any]:
    """The columns of a camera state."""
    rows = [
        [term.authorisation, term.from_us, term.until_us, term.retention_days]
        for term in state.authorisations
    ]
    return {
        "camera": state.camera,
        "revision": state.revision,
        "effective_us": state.effective_us,
        "lifecycle": int(state.lifecycle),
        "zone": state.zone,
        "authorisations": json.dumps(rows, separators=(",", ":")),
        "told_us": state.told_us,
    }


def camera_state_from_row(row: Any) -> CameraState:
    """The camera state of a row."""
    return CameraState(
        row.camera,
        row.revision,
        row.effective_us,
        Lifecycle(row.lifecycle),
        row.zone,
        terms(row.authorisations),
        row.told_us,
    )


def terms(text: str) -> tuple[AuthorisationTerm, ...]:
    """The authorisations in a row of camera states."""
    return tuple(AuthorisationTerm(*term) for term in json.loads(text))


def live_state_from_event(status: ingest_pb2.StreamStatusEvent) -> LiveState:
    """What the tail of a timeline needs of a stream's status."""
    try:
        cause = Cause(status.cause) if status.cause else None
    except ValueError:
        cause = None  # a newer ingest may know more causes; the outage event will name it
    return LiveState(
        updated_us=timestamp_us(status.update_time),
        recording=status.state == ingest_pb2.STREAM_STATE_RECORDING,
        cause=cause,
        detail=status.detail,
    )
