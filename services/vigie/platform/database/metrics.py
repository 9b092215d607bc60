"""What the database counts."""

from typing import Final, Protocol

from vigie.platform.metrics import MetricSpec, MetricsRegistry

FAILURES: Final = MetricSpec(
    "vigie_database_failures_total",
    "counter",
    "Statements that the database could not do for the machine's sake, by SQLite's primary result"
    " code; SQLITE_CORRUPT and SQLITE_NOTADB: the file is damaged, restore a backup. On PostgreSQL"
    " by SQLSTATE, or UNREACHABLE, TIMED_OUT, CONNECTION_LOST, POOL_EXHAUSTED, COMMIT_UNKNOWN;"
    " 40001 and 40P01 were repeated.",
    ("code",),
)
_POOL: Final = ("context", "pool")
POOL_CONNECTIONS: Final = MetricSpec(
    "vigie_database_pool_in_use",
    "gauge",
    "PostgreSQL connections of a context that are taken now, by pool: reading, writing.",
    _POOL,
)
POOL_SIZE: Final = MetricSpec(
    "vigie_database_pool_size",
    "gauge",
    "PostgreSQL connections that a context may have at most (`database.pool_size` and"
    " `pool_overflow`; one writes).",
    _POOL,
)
POOL_WAITING: Final = MetricSpec(
    "vigie_database_pool_waiting",
    "gauge",
    "Callers that wait for a PostgreSQL connection now; of pool writing: for their turn to write,"
    " also behind other processes. Alert when above 0 for minutes.",
    _POOL,
)
STATEMENT_TIMEOUTS: Final = MetricSpec(
    "vigie_database_statement_timeouts_total",
    "counter",
    "PostgreSQL statements that took longer than `database.statement_timeout_seconds`, by who"
    " ended them: server, or client where the server fell silent.",
    ("context", "ended_by"),
)
RETRIES: Final = MetricSpec(
    "vigie_database_retries_total",
    "counter",
    "Work that PostgreSQL had undone and that was begun again, by SQLSTATE: 40001 serialisation"
    " failure, 40P01 deadlock, 0A000 the schema had just changed.",
    ("context", "code"),
)
METRICS: Final = (
    FAILURES,
    POOL_CONNECTIONS,
    POOL_SIZE,
    POOL_WAITING,
    STATEMENT_TIMEOUTS,
    RETRIES,
)


class Pool(Protocol):
    """What is told of a pool."""

    most: int

    @property
    def in_use(self) -> int:
        """How many connections are taken now."""
        ...

    @property
    def waiting(self) -> int:
        """How many callers wait now."""
        ...


class DatabaseMetrics:
    """What the database of one context counts, beside its failures.

    Args:
        registry: where the metrics are made.
        context: whose database it is.
    """

    def __init__(self, registry: MetricsRegistry, context: str) -> None:
        self._registry = registry
        self._context = context
        self._timeouts = registry.counter(STATEMENT_TIMEOUTS)
        self._retries = registry.counter(RETRIES)

    def watch(self, name: str, pool: Pool) -> None:
        """Tell of a pool whenever somebody asks."""
        of = (self._context, name)
        self._registry.gauge(POOL_SIZE).labels(*of).set(pool.most)
        self._registry.gauge(POOL_CONNECTIONS).labels(*of).set_function(lambda: pool.in_use)
        self._registry.gauge(POOL_WAITING).labels(*of).set_function(lambda: pool.waiting)

    def statement_timed_out(self, *, by_server: bool) -> None:
        """A statement took too long."""
        self._timeouts.labels(self._context, "server" if by_server else "client").inc()

    def repeated(self, code: str) -> None:
        """Work is begun again because of ``code``."""
        self._retries.labels(self._context, code).inc()
