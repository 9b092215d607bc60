"""The metrics of ingest."""

from typing import Final

from vigie.platform.metrics import MetricSpec

FRAMES: Final = MetricSpec(
    "vigie_ingest_frames_received_total", "counter", "Frames received from a camera.", ("camera",)
)
BYTES: Final = MetricSpec(
    "vigie_ingest_received_bytes_total",
    "counter",
    "Media bytes received from a camera.",
    ("camera",),
)
LAST_FRAME_AGE: Final = MetricSpec(
    "vigie_ingest_last_frame_age_seconds",
    "gauge",
    "Time since the newest frame of a camera that should record; -1 when there was none.",
    ("camera",),
)
STREAMS: Final = MetricSpec(
    "vigie_ingest_streams", "gauge", "Cameras by what their reception is doing.", ("state",)
)
GAPS: Final = MetricSpec(
    "vigie_ingest_gaps_total",
    "counter",
    "Interruptions of the footage of a camera, by cause.",
    ("camera", "cause"),
)
CONNECTIONS: Final = MetricSpec(
    "vigie_ingest_connection_attempts_total",
    "counter",
    "Attempts to connect to cameras, by outcome: connected, or the cause why not.",
    ("outcome",),
)
CLOCK_OFFSET: Final = MetricSpec(
    "vigie_ingest_camera_clock_offset_seconds",
    "gauge",
    "Clock of the camera minus clock of the receiver, where the camera tells its clock.",
    ("camera",),
)
SPOOL_BYTES: Final = MetricSpec("vigie_ingest_spool_bytes", "gauge", "Bytes of media in the spool.")
SPOOL_QUOTA: Final = MetricSpec(
    "vigie_ingest_spool_quota_bytes", "gauge", "Most bytes of media that the spool may hold."
)
SPOOL_FILL: Final = MetricSpec(
    "vigie_ingest_spool_fill_ratio",
    "gauge",
    "Used part of the spool, by quota or by free disk, whichever is nearer to full; at 1 new "
    "footage is refused.",
)
SPOOL_SEGMENTS: Final = MetricSpec(
    "vigie_ingest_spool_waiting_segments", "gauge", "Closed segments that wait for their upload."
)
SPOOL_AGE: Final = MetricSpec(
    "vigie_ingest_spool_oldest_age_seconds",
    "gauge",
    "Time since the oldest segment that waits for its upload was closed.",
)
SPOOL_WARNING: Final = MetricSpec(
    "vigie_ingest_spool_warning_info",
    "gauge",
    "1 for the warning that stands: none, filling (half), nearly_full (four fifths) or full.",
    ("level",),
)
QUEUE_BYTES: Final = MetricSpec(
    "vigie_ingest_write_queue_bytes", "gauge", "Media in memory that waits to be written."
)
TICK_LAG: Final = MetricSpec(
    "vigie_ingest_tick_lag_seconds",
    "gauge",
    "How late, at worst in the last minute, a receiving thread came to read its cameras; above "
    "`ingest.tick_seconds` the machine is overloaded, though nothing need be lost yet.",
)
REFUSED: Final = MetricSpec(
    "vigie_ingest_groups_refused_total",
    "counter",
    "Key-frame intervals that were refused, by reason.",
    ("reason",),
)
SEGMENTS: Final = MetricSpec(
    "vigie_ingest_segments_closed_total", "counter", "Segments closed in the spool."
)
UPLOAD_SECONDS: Final = MetricSpec(
    "vigie_ingest_upload_duration_seconds",
    "histogram",
    "Time from the start of an upload to the acknowledgement of its event.",
)
UPLOAD_FAILURES: Final = MetricSpec(
    "vigie_ingest_upload_failures_total",
    "counter",
    "Failed attempts to store a segment or to publish its event, by reason.",
    ("reason",),
)
UPLOADS: Final = MetricSpec(
    "vigie_ingest_segments_stored_total", "counter", "Segments stored, verified and acknowledged."
)
QUARANTINED: Final = MetricSpec(
    "vigie_ingest_spool_quarantined_total",
    "counter",
    "Things in the spool that could not be understood or are not what they were, by reason.",
    ("reason",),
)
RECOVERED: Final = MetricSpec(
    "vigie_ingest_runs_recovered_total", "counter", "Runs that were closed by recovery."
)
VIEWERS: Final = MetricSpec(
    "vigie_ingest_live_viewers", "gauge", "People and programs that watch live now."
)
SKIPPED: Final = MetricSpec(
    "vigie_ingest_live_frames_skipped_total",
    "counter",
    "Frames left out for viewers that were too slow.",
)
EVENT_FAILURES: Final = MetricSpec(
    "vigie_ingest_event_failures_total",
    "counter",
    "Failed attempts to publish outages or status, by kind.",
    ("kind",),
)
STATES_REJECTED: Final = MetricSpec(
    "vigie_ingest_camera_states_rejected",
    "gauge",
    "Cameras whose newest state could not be understood; they keep their last good one.",
)

METRICS: Final[tuple[MetricSpec, ...]] = (
    FRAMES,
    BYTES,
    LAST_FRAME_AGE,
    STREAMS,
    GAPS,
    CONNECTIONS,
    CLOCK_OFFSET,
    SPOOL_BYTES,
    SPOOL_QUOTA,
    SPOOL_FILL,
    SPOOL_SEGMENTS,
    SPOOL_AGE,
    SPOOL_WARNING,
    QUEUE_BYTES,
    TICK_LAG,
    REFUSED,
    SEGMENTS,
    UPLOAD_SECONDS,
    UPLOAD_FAILURES,
    UPLOADS,
    QUARANTINED,
    RECOVERED,
    VIEWERS,
    SKIPPED,
    EVENT_FAILURES,
    STATES_REJECTED,
)
