"""Metrics of the access context."""

from typing import Final

from vigie.platform.metrics import MetricSpec

RELOADS: Final = MetricSpec(
    "vigie_access_people_reloads_total",
    "counter",
    "Times the people file was read after a change, by outcome (accepted, refused).",
    ("outcome",),
)
FILE_GOOD: Final = MetricSpec(
    "vigie_access_people_file_good",
    "gauge",
    "1 while the people file as it stands is in force, 0 while an older one is, because the file "
    "is broken.",
)
PEOPLE: Final = MetricSpec(
    "vigie_access_people",
    "gauge",
    "People in the file in force, by state (active, suspended, not yet, ended).",
    ("state",),
)
JWKS_RELOADS: Final = MetricSpec(
    "vigie_access_jwks_reloads_total",
    "counter",
    "Times the identity provider's keys were read after a change, by outcome (accepted, refused).",
    ("outcome",),
)
JWKS_GOOD: Final = MetricSpec(
    "vigie_access_jwks_file_good",
    "gauge",
    "1 while the identity provider's keys as they stand are in force, 0 while older ones are, "
    "because the file is broken.",
)
METRICS: Final = (RELOADS, FILE_GOOD, PEOPLE, JWKS_RELOADS, JWKS_GOOD)
