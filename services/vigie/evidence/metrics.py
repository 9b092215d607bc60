"""What operations see of evidence."""

from typing import Final

from vigie.platform.metrics import MetricSpec

REQUESTS: Final = MetricSpec(
    "vigie_evidence_requests",
    "gauge",
    "Evidence requests by state.",
    ("state",),
)
FINISHED: Final = MetricSpec(
    "vigie_evidence_packages_total",
    "counter",
    "Packages finished, by outcome: READY or the reason of the failure.",
    ("outcome",),
)
BUILD_SECONDS: Final = MetricSpec(
    "vigie_evidence_build_seconds",
    "histogram",
    "Time from the beginning of a build to READY.",
    (),
    (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
)
DOWNLOADED_BYTES: Final = MetricSpec(
    "vigie_evidence_downloaded_bytes_total",
    "counter",
    "Bytes of packages sent to clients.",
)

METRICS: Final = (REQUESTS, FINISHED, BUILD_SECONDS, DOWNLOADED_BYTES)
