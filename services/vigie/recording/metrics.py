"""What recording counts."""

from typing import Final

from vigie.platform.metrics import MetricSpec, MetricsRegistry

SEGMENTS_INDEXED: Final = MetricSpec(
    "vigie_recording_segments_indexed_total", "counter", "Segments taken into the index."
)
BYTES_INDEXED: Final = MetricSpec(
    "vigie_recording_indexed_bytes_total", "counter", "Bytes of the segments taken into the index."
)
INDEX_DELAY: Final = MetricSpec(
    "vigie_recording_index_delay_seconds",
    "histogram",
    "From the end of a segment until it is listed.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
FIRST_BYTE: Final = MetricSpec(
    "vigie_recording_play_first_byte_seconds",
    "histogram",
    "From the admission of a playback to its first message.",
)
PLAYED_BYTES: Final = MetricSpec(
    "vigie_recording_played_bytes_total",
    "counter",
    "Bytes of footage that left, by method.",
    ("method",),
)
OBJECTS_DESTROYED: Final = MetricSpec(
    "vigie_recording_destroyed_objects_total", "counter", "Objects destroyed by retention."
)
BYTES_DESTROYED: Final = MetricSpec(
    "vigie_recording_destroyed_bytes_total", "counter", "Bytes of the objects destroyed."
)
DESTRUCTION_FAILURES: Final = MetricSpec(
    "vigie_recording_destruction_failures_total",
    "counter",
    "Objects that retention could not destroy, by reason; they are tried again.",
    ("reason",),
)
RETENTION_LAST: Final = MetricSpec(
    "vigie_recording_retention_last_success_seconds",
    "gauge",
    "When retention last ran to its end, seconds since the Unix epoch.",
)
RETENTION_ROUND: Final = MetricSpec(
    "vigie_recording_retention_round_seconds",
    "gauge",
    "How long the last round of retention took. Nine tenths of retention_interval_seconds is the "
    "most: what takes longer destroys footage too late.",
)
HOLDS_PENDING: Final = MetricSpec(
    "vigie_recording_holds_pending_objects",
    "gauge",
    "Objects that wait for a hold to be placed on them.",
)
HOLD_FAILURES: Final = MetricSpec(
    "vigie_recording_hold_failures_total",
    "counter",
    "Holds that the store did not place or take off, by reason; they are tried again.",
    ("reason",),
)
DAMAGED: Final = MetricSpec(
    "vigie_recording_damaged_objects_total",
    "counter",
    "Reads of a listed object that is missing, cut, altered or unreadable, by reason; it was not"
    " shown.",
    ("reason",),
)
FSCK_FINDINGS: Final = MetricSpec(
    "vigie_recording_fsck_findings",
    "gauge",
    "What the last `vigie fsck` on this data directory found, by invariant and severity.",
    ("invariant", "severity"),
)
FSCK_LAST: Final = MetricSpec(
    "vigie_recording_fsck_last_run_seconds",
    "gauge",
    "When `vigie fsck` last ran on this data directory, seconds since the Unix epoch.",
)
CATCH_UP: Final = MetricSpec(
    "vigie_recording_catch_up_pending",
    "gauge",
    "1 while footage is indexed anew that a restored, older database does not know.",
)
CAUGHT_UP: Final = MetricSpec(
    "vigie_recording_caught_up_segments_total",
    "counter",
    "Segments of the bucket that a restored, older database did not know, indexed anew.",
)
UNDESCRIBED_HOURS: Final = MetricSpec(
    "vigie_recording_undescribed_hours",
    "gauge",
    "Hours of cameras whose digests are still to be read from the bucket after a reindex.",
)
METRICS: Final = (
    SEGMENTS_INDEXED,
    BYTES_INDEXED,
    INDEX_DELAY,
    FIRST_BYTE,
    PLAYED_BYTES,
    OBJECTS_DESTROYED,
    BYTES_DESTROYED,
    DESTRUCTION_FAILURES,
    RETENTION_LAST,
    RETENTION_ROUND,
    HOLDS_PENDING,
    HOLD_FAILURES,
    DAMAGED,
    CATCH_UP,
    CAUGHT_UP,
    UNDESCRIBED_HOURS,
    FSCK_FINDINGS,
    FSCK_LAST,
)


class RecordingMetrics:
    """The metrics of recording, made from a registry."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.segments_indexed = registry.counter(SEGMENTS_INDEXED)
        self.bytes_indexed = registry.counter(BYTES_INDEXED)
        self.index_delay = registry.histogram(INDEX_DELAY)
        self.first_byte = registry.histogram(FIRST_BYTE)
        self.played_bytes = registry.counter(PLAYED_BYTES)
        self.objects_destroyed = registry.counter(OBJECTS_DESTROYED)
        self.bytes_destroyed = registry.counter(BYTES_DESTROYED)
        self.destruction_failures = registry.counter(DESTRUCTION_FAILURES)
        self.retention_last = registry.gauge(RETENTION_LAST)
        self.retention_round = registry.gauge(RETENTION_ROUND)
        self.holds_pending = registry.gauge(HOLDS_PENDING)
        self.hold_failures = registry.counter(HOLD_FAILURES)
        self.damaged = registry.counter(DAMAGED)
        self.catch_up = registry.gauge(CATCH_UP)
        self.caught_up = registry.counter(CAUGHT_UP)
        self.undescribed_hours = registry.gauge(UNDESCRIBED_HOURS)
