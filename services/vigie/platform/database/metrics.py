"""What the database counts."""

from typing import Final

from vigie.platform.metrics import MetricSpec

FAILURES: Final = MetricSpec(
    "vigie_database_failures_total",
    "counter",
    "Statements that the database could not do for the machine's sake, by SQLite's primary result"
    " code; SQLITE_CORRUPT and SQLITE_NOTADB: the file is damaged, restore a backup. On PostgreSQL"
    " by SQLSTATE, or UNREACHABLE, TIMED_OUT, CONNECTION_LOST, POOL_EXHAUSTED, COMMIT_UNKNOWN;"
    " 40001 and 40P01 were repeated.",
    ("code",),
)
METRICS: Final = (FAILURES,)
