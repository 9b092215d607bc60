"""Metrics of the event log over Kafka."""

from typing import Final

from vigie.platform.metrics import MetricSpec, MetricsRegistry

_LOG: Final = ("context",)
"""A process has a log for each of its contexts."""
APPEND_SECONDS: Final = MetricSpec(
    "vigie_eventlog_append_seconds",
    "histogram",
    "From an append to the acknowledgement of all in-sync brokers.",
    ("topic",),
)
APPEND_FAILURES: Final = MetricSpec(
    "vigie_eventlog_append_failures_total",
    "counter",
    "Appends that were told to have failed; they may be stored nevertheless.",
    ("topic",),
)
WAITING_BYTES: Final = MetricSpec(
    "vigie_eventlog_waiting_bytes",
    "gauge",
    "Events in memory that no broker has acknowledged yet, of the log of a context; `accesses`:"
    " of what the host writes.",
    _LOG,
)
OUTBOX_EVENTS: Final = MetricSpec(
    "vigie_eventlog_outbox_events",
    "gauge",
    "Events in the outbox of a context's database that are not published yet; 0 where another"
    " process publishes it.",
    _LOG,
)
OUTBOX_AGE_SECONDS: Final = MetricSpec(
    "vigie_eventlog_outbox_age_seconds",
    "gauge",
    "Age of the oldest event in the outbox of a context; 0 when it is empty, or where another"
    " process publishes it. Alert above 60.",
    _LOG,
)
OUTBOX_PUBLISHED: Final = MetricSpec(
    "vigie_eventlog_outbox_published_total",
    "counter",
    "Events that were published from the outbox of a context.",
    _LOG,
)
OUTBOX_LEADING: Final = MetricSpec(
    "vigie_eventlog_outbox_leading_info",
    "gauge",
    "1 where this log publishes the outbox of its context, 0 where another one does.",
    _LOG,
)
REBALANCES: Final = MetricSpec(
    "vigie_eventlog_rebalances_total",
    "counter",
    "Assignments of partitions that this process was given.",
    ("topic", "group"),
)
PARTITIONS: Final = MetricSpec(
    "vigie_eventlog_partitions_info",
    "gauge",
    "Partitions that this process holds now.",
    ("topic", "group"),
)
EXPIRED_UNREAD: Final = MetricSpec(
    "vigie_eventlog_expired_unread_total",
    "counter",
    "Events that the brokers removed before a group had read them. Alert above 0.",
    ("topic", "group"),
)
METRICS: Final = (
    APPEND_SECONDS,
    APPEND_FAILURES,
    WAITING_BYTES,
    OUTBOX_EVENTS,
    OUTBOX_AGE_SECONDS,
    OUTBOX_PUBLISHED,
    OUTBOX_LEADING,
    REBALANCES,
    PARTITIONS,
    EXPIRED_UNREAD,
)


class KafkaMetrics:
    """What one log counts.

    Args:
        registry: where the metrics are made.
        context: whose log it is.
    """

    def __init__(self, registry: MetricsRegistry, context: str) -> None:
        self.append_seconds = registry.histogram(APPEND_SECONDS)
        self.append_failures = registry.counter(APPEND_FAILURES)
        self.waiting_bytes = registry.gauge(WAITING_BYTES).labels(context)
        self.outbox_events = registry.gauge(OUTBOX_EVENTS).labels(context)
        self.outbox_age = registry.gauge(OUTBOX_AGE_SECONDS).labels(context)
        self.outbox_published = registry.counter(OUTBOX_PUBLISHED).labels(context)
        self.outbox_leading = registry.gauge(OUTBOX_LEADING).labels(context)
        self.rebalances = registry.counter(REBALANCES)
        self.partitions = registry.gauge(PARTITIONS)
        self.expired_unread = registry.counter(EXPIRED_UNREAD)
