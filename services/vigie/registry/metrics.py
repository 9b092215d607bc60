"""The metrics of the registry."""

from typing import Final

from vigie.platform.metrics import MetricSpec

CAMERAS: Final = MetricSpec(
    "vigie_registry_cameras",
    "gauge",
    "Cameras by where they stand in their life.",
    ("lifecycle",),
)
UNAUTHORISED: Final = MetricSpec(
    "vigie_registry_cameras_not_authorised",
    "gauge",
    "Cameras in service that no authorisation in force covers: they do not record.",
)
AUTHORISATIONS: Final = MetricSpec(
    "vigie_registry_authorisations",
    "gauge",
    "Prefectoral authorisations by state.",
    ("state",),
)
NEXT_END: Final = MetricSpec(
    "vigie_registry_authorisation_next_end_seconds",
    "gauge",
    "Time until the next authorisation in force ends, in seconds; -1 when there is none.",
)
CHECKS_FAILED: Final = MetricSpec(
    "vigie_registry_authorisation_checks_failed_total",
    "counter",
    "Periodic looks at the authorisations that failed.",
)
METRICS: Final[tuple[MetricSpec, ...]] = (
    CAMERAS,
    UNAUTHORISED,
    AUTHORISATIONS,
    NEXT_END,
    CHECKS_FAILED,
)
