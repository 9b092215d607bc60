"""What the store on S3 counts."""

from typing import Final

from vigie.platform.metrics import MetricSpec

_OPERATION: Final = ("operation",)
REQUESTS: Final = MetricSpec(
    "vigie_store_request_seconds",
    "histogram",
    "Time of one request to the S3 store, by operation, failed ones included.",
    _OPERATION,
)
RETRIES: Final = MetricSpec(
    "vigie_store_retries_total",
    "counter",
    "Requests to the S3 store that failed and were tried again.",
    _OPERATION,
)
FAILURES: Final = MetricSpec(
    "vigie_store_failures_total",
    "counter",
    "Failed requests to the S3 store, by the store's error code; NO_ANSWER: none came.",
    ("operation", "code"),
)
READ_BACK: Final = MetricSpec(
    "vigie_store_read_back_total",
    "counter",
    "Objects that were read back because the store does not say that it verified them.",
)
DEGRADED: Final = MetricSpec(
    "vigie_store_degraded_info",
    "gauge",
    "1 for each capability that the S3 store lacks and the configuration accepts: alert above 0"
    " unless meant.",
    ("capability",),
)
METRICS: Final = (REQUESTS, RETRIES, FAILURES, READ_BACK, DEGRADED)
