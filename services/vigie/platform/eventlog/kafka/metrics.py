"""Metrics of the event log over Kafka."""

from typing import Final

from vigie.platform.metrics import MetricSpec, MetricsRegistry

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
    "Events in memory that no broker has acknowledged yet.",
)
OUTBOX_EVENTS: Final = MetricSpec(
    "vigie_eventlog_outbox_events",
    "gauge",
    "Events in the outbox of this context's database that are not published yet.",
)
OUTBOX_AGE_SECONDS: Final = MetricSpec(
    "vigie_eventlog_outbox_age_seconds",
    "gauge",
    "Age of the oldest event in the outbox; 0 when it is empty. Alert above 60.",
)
OUTBOX_PUBLISHED: Final = MetricSpec(
    "vigie_eventlog_outbox_published_total",
    "counter",
    "Events that were published from the outbox.",
)
OUTBOX_LEADING: Final = MetricSpec(
    "vigie_eventlog_outbox_leading_info",
    "gauge",
    "1 where this process publishes the outbox of its context, 0 where another one does.",
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
    """What is counted, made from a registry."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.append_seconds = registry.histogram(APPEND_SECONDS)
        self.append_failures = registry.counter(APPEND_FAILURES)
        self.waiting_bytes = registry.gauge(WAITING_BYTES)
        self.outbox_events = registry.gauge(OUTBOX_EVENTS)
        self.outbox_age = registry.gauge(OUTBOX_AGE_SECONDS)
        self.outbox_published = registry.counter(OUTBOX_PUBLISHED)
        self.outbox_leading = registry.gauge(OUTBOX_LEADING)
        self.rebalances = registry.counter(REBALANCES)
        self.partitions = registry.gauge(PARTITIONS)
        self.expired_unread = registry.counter(EXPIRED_UNREAD)
