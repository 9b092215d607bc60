"""Metrics of the audit context."""

from typing import Final

from vigie.platform.metrics import MetricSpec

RECORDED: Final = MetricSpec(
    "vigie_audit_accesses_recorded_total",
    "counter",
    "Access records made durable in the log, by decision and phase.",
    ("decision", "phase"),
)
RECORD_SECONDS: Final = MetricSpec(
    "vigie_audit_record_duration_seconds",
    "histogram",
    "Time until an access record is durable; every recorded call waits for it.",
)
INDEXED: Final = MetricSpec(
    "vigie_audit_accesses_indexed_total",
    "counter",
    "Access records written into the searchable table.",
)
METRICS: Final = (RECORDED, RECORD_SECONDS, INDEXED)
