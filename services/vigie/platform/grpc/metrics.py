"""Metrics of the gRPC host."""

from typing import Final

from vigie.platform.metrics import MetricSpec, MetricsRegistry

REQUESTS: Final = MetricSpec(
    "vigie_grpc_requests_total",
    "counter",
    "Calls that have ended, by method, status code and reason.",
    ("service", "method", "code", "reason"),
)
DURATION: Final = MetricSpec(
    "vigie_grpc_request_duration_seconds",
    "histogram",
    "Time from the arrival of a call to its end; streams count with their whole life.",
    ("service", "method"),
)
STREAMS: Final = MetricSpec(
    "vigie_grpc_streams_open",
    "gauge",
    "Streams open now.",
    ("service", "method"),
)
DENIED: Final = MetricSpec(
    "vigie_grpc_denied_total",
    "counter",
    "Calls refused for lack of identity or permission.",
    ("service", "method", "reason"),
)
REVOKED: Final = MetricSpec(
    "vigie_grpc_streams_revoked_total",
    "counter",
    "Open streams that were ended because the rights or the token behind them ended.",
    ("reason",),
)
RECORDS_FAILED: Final = MetricSpec(
    "vigie_grpc_access_record_failures_total",
    "counter",
    "Attempts to write an access record that failed; each refused its access.",
)
RECORDS_LOST: Final = MetricSpec(
    "vigie_grpc_access_records_lost_total",
    "counter",
    "Closing records that could not be written in spite of retries; the log holds their text.",
)
SUPPRESSED: Final = MetricSpec(
    "vigie_grpc_strangers_suppressed_total",
    "counter",
    "Attempts without a valid token that were counted instead of recorded one by one.",
)
TURNED_AWAY: Final = MetricSpec(
    "vigie_grpc_strangers_turned_away_total",
    "counter",
    "Calls of callers who are not known that were not waited for, since too many of them were open"
    " (grpc.max_stranger_calls).",
)
CERTIFICATE_EXPIRY: Final = MetricSpec(
    "vigie_tls_certificate_expiry_timestamp_seconds",
    "gauge",
    "When a certificate of this process (or one of its chain) expires, seconds since the Unix"
    " epoch: alert two weeks before.",
    ("section",),
)

METRICS: Final = (
    REQUESTS,
    DURATION,
    STREAMS,
    DENIED,
    REVOKED,
    RECORDS_FAILED,
    RECORDS_LOST,
    SUPPRESSED,
    TURNED_AWAY,
    CERTIFICATE_EXPIRY,
)


class HostMetrics:
    """The metrics of one host."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.requests = registry.counter(REQUESTS)
        self.duration = registry.histogram(DURATION)
        self.streams = registry.gauge(STREAMS)
        self.denied = registry.counter(DENIED)
        self.revoked = registry.counter(REVOKED)
        self.records_failed = registry.counter(RECORDS_FAILED)
        self.records_lost = registry.counter(RECORDS_LOST)
        self.suppressed = registry.counter(SUPPRESSED)
        self.turned_away = registry.counter(TURNED_AWAY)
