"""Metrics as declared tables: name, help and labels once, for the code and for the reference.

A module lists its metrics as `MetricSpec` in a tuple ``METRICS`` (in its ``metrics.py``) and makes
them from a registry that is passed in; nothing uses the global registry of the client library.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

NAME_PATTERN: Final = re.compile(r"vigie_[a-z][a-z0-9]*(_[a-z0-9]+)+")
UNITS: Final = ("seconds", "bytes", "ratio", "info", "celsius")
SECONDS_BUCKETS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
)

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric as declared.

    Attributes:
        name: ``vigie_<service>_<what>_<unit>[_total]``.
        kind: counter, gauge or histogram.
        help: one sentence; what a person learns from it.
        labels: names of its labels; their values must be bounded in number.
        buckets: upper bounds of a histogram, in its unit.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS_BUCKETS


def naming_faults(specs: Sequence[MetricSpec]) -> list[str]:
    """What is wrong with the names of ``specs``, one line each."""
    faults: list[str] = []
    seen: set[str] = set()
    for spec in specs:
        if spec.name in seen:
            faults.append(f"{spec.name}: declared twice")
        seen.add(spec.name)
        if not NAME_PATTERN.fullmatch(spec.name):
            faults.append(f"{spec.name}: does not read vigie_<service>_<what>")
        if (spec.kind == "counter") != spec.name.endswith("_total"):
            faults.append(f"{spec.name}: counters end in _total, nothing else does")
        if spec.kind == "histogram" and not spec.name.endswith(UNITS):
            faults.append(f"{spec.name}: a histogram ends in its unit {UNITS}")
        if not spec.help.endswith("."):
            faults.append(f"{spec.name}: the help is a sentence and ends with a full stop")
    return faults


class MetricsRegistry:
    """Makes metrics from their declarations; the same declaration twice is the same metric."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._made: dict[str, tuple[MetricSpec, Counter | Gauge | Histogram]] = {}

    def counter(self, spec: MetricSpec) -> Counter:
        """The counter of ``spec``.

        Raises:
            ValueError: ``spec`` is no counter, or its name stands for another declaration.
        """
        made = self._known(spec, "counter")
        if made is None:
            made = Counter(spec.name, spec.help, spec.labels, registry=self.registry)
            self._made[spec.name] = (spec, made)
        assert isinstance(made, Counter)
        return made

    def gauge(self, spec: MetricSpec) -> Gauge:
        """The gauge of ``spec`` (errors as `counter`)."""
        made = self._known(spec, "gauge")
        if made is None:
            made = Gauge(spec.name, spec.help, spec.labels, registry=self.registry)
            self._made[spec.name] = (spec, made)
        assert isinstance(made, Gauge)
        return made

    def histogram(self, spec: MetricSpec) -> Histogram:
        """The histogram of ``spec`` (errors as `counter`)."""
        made = self._known(spec, "histogram")
        if made is None:
            made = Histogram(
                spec.name, spec.help, spec.labels, registry=self.registry, buckets=spec.buckets
            )
            self._made[spec.name] = (spec, made)
        assert isinstance(made, Histogram)
        return made

    def exposition(self) -> tuple[str, bytes]:
        """Content type and body of ``/metrics`` (Prometheus text format)."""
        return CONTENT_TYPE_LATEST, generate_latest(self.registry)

    def value(self, name: str, **labels: str) -> float:
        """The sample ``name`` (with its suffix) now; 0 when it was never touched."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def _known(self, spec: MetricSpec, kind: Kind) -> Counter | Gauge | Histogram | None:
        if spec.kind != kind:
            raise ValueError(f"{spec.name} is declared as a {spec.kind}, not as a {kind}")
        if spec.name not in self._made:
            return None
        declared, made = self._made[spec.name]
        if declared != spec:
            raise ValueError(f"{spec.name} is declared twice, differently")
        return made
