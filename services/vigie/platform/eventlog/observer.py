"""Counting what consumers do: the interface, a silent one, and Prometheus."""

from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from vigie.platform.metrics import MetricSpec

_NAMES: Final = ("topic", "group")
PROCESSED: Final = MetricSpec(
    "vigie_consumer_processed_events_total",
    "counter",
    "Events whose effect is committed.",
    _NAMES,
)
QUARANTINED: Final = MetricSpec(
    "vigie_consumer_quarantined_events_total",
    "counter",
    "Events that could not be processed and were put into quarantine.",
    (*_NAMES, "reason"),
)
FAILED: Final = MetricSpec(
    "vigie_consumer_failures_total",
    "counter",
    "Units of work that failed and were tried again.",
    _NAMES,
)
LAG: Final = MetricSpec(
    "vigie_consumer_lag_events",
    "gauge",
    "Events stored behind the committed position.",
    _NAMES,
)
STANDING: Final = MetricSpec(
    "vigie_consumer_quarantine_events",
    "gauge",
    "Events that stand in quarantine now, whenever they were put there: alert above 0.",
    _NAMES,
)
REPLAYED: Final = MetricSpec(
    "vigie_consumer_replays_total",
    "counter",
    "Events of the quarantine that were tried again, by outcome: replayed, failed.",
    (*_NAMES, "outcome"),
)
METRICS: Final = (PROCESSED, QUARANTINED, FAILED, LAG, STANDING, REPLAYED)


class ConsumerObserver(Protocol):
    """Who counts what consumers do."""

    def processed(self, topic: str, group: str, count: int) -> None:
        """So many events took effect."""
        ...

    def quarantined(self, topic: str, group: str, reason: str) -> None:
        """An event went to quarantine."""
        ...

    def replayed(self, topic: str, group: str, *, took_effect: bool) -> None:
        """An event of the quarantine was tried again."""
        ...

    def failed(self, topic: str, group: str) -> None:
        """A unit of work failed and will be tried again."""
        ...

    def lag(self, topic: str, group: str, count: int) -> None:
        """So many events wait."""
        ...

    def standing(self, topic: str, group: str, count: int) -> None:
        """So many events stand in quarantine."""
        ...


class SilentObserver:
    """Counts nothing."""

    def processed(self, topic: str, group: str, count: int) -> None:
        """See `ConsumerObserver.processed`."""

    def quarantined(self, topic: str, group: str, reason: str) -> None:
        """See `ConsumerObserver.quarantined`."""

    def replayed(self, topic: str, group: str, *, took_effect: bool) -> None:
        """See `ConsumerObserver.replayed`."""

    def failed(self, topic: str, group: str) -> None:
        """See `ConsumerObserver.failed`."""

    def lag(self, topic: str, group: str, count: int) -> None:
        """See `ConsumerObserver.lag`."""

    def standing(self, topic: str, group: str, count: int) -> None:
        """See `ConsumerObserver.standing`."""


class PrometheusObserver:
    """Metrics of all consumers of a process; labels are topics, groups and constant reasons."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._processed = _counter(PROCESSED, registry)
        self._quarantined = _counter(QUARANTINED, registry)
        self._failed = _counter(FAILED, registry)
        self._replayed = _counter(REPLAYED, registry)
        self._lag = Gauge(LAG.name, LAG.help, LAG.labels, registry=registry)
        self._standing = Gauge(STANDING.name, STANDING.help, STANDING.labels, registry=registry)

    def processed(self, topic: str, group: str, count: int) -> None:
        """See `ConsumerObserver.processed`."""
        self._processed.labels(topic, group).inc(count)

    def quarantined(self, topic: str, group: str, reason: str) -> None:
        """See `ConsumerObserver.quarantined`."""
        self._quarantined.labels(topic, group, reason).inc()

    def replayed(self, topic: str, group: str, *, took_effect: bool) -> None:
        """See `ConsumerObserver.replayed`."""
        outcome = "replayed" if took_effect else "failed"
        self._replayed.labels(topic, group, outcome).inc()

    def failed(self, topic: str, group: str) -> None:
        """See `ConsumerObserver.failed`."""
        self._failed.labels(topic, group).inc()

    def lag(self, topic: str, group: str, count: int) -> None:
        """See `ConsumerObserver.lag`."""
        self._lag.labels(topic, group).set(count)

    def standing(self, topic: str, group: str, count: int) -> None:
        """See `ConsumerObserver.standing`."""
        self._standing.labels(topic, group).set(count)


def _counter(spec: MetricSpec, registry: CollectorRegistry) -> Counter:
    return Counter(spec.name, spec.help, spec.labels, registry=registry)
