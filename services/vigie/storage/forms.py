"""The forms of storage that are on other machines; their clients are loaded when asked for."""

from typing import Final, Protocol

from vigie.platform.database import Database
from vigie.platform.database.metrics import DatabaseMetrics
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.eventlog import EventLog
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.objectstore import ObjectStore
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.settings import DataConfig
from vigie.storage.basis import Basis, counting
from vigie.targets import ACCESSES

LOG_NAME: Final = "event-log"
"""Names of logs begin with it: alone, or with the context behind it."""


class ExternalForms(Protocol):
    """Opens what is not embedded; every method raises UNAVAILABLE while it is merely away."""

    async def database(self, basis: Basis, context: str) -> Database:
        """The database of a context."""
        ...

    async def event_log(self, basis: Basis, name: str, database: Database | None) -> EventLog:
        """The log, with its outbox in ``database``; ``name`` tells its clients apart."""
        ...

    async def store(self, basis: Basis) -> ObjectStore:
        """The bucket."""
        ...


class ProductionForms:
    """PostgreSQL, Apache Kafka, S3; their clients are loaded when they are first asked for."""

    async def database(self, basis: Basis, context: str) -> Database:
        """See `ExternalForms.database`."""
        from vigie.platform.database.postgresql.database import open_postgresql

        return await open_postgresql(
            basis.config.section(DatabaseConfig),
            context,
            on_failure=counting(basis.metrics),
            metrics=DatabaseMetrics(basis.metrics, context),
            faults=basis.faults,
            wall_clock=basis.clocks.wall,
            monotonic_clock=basis.clocks.monotonic,
        )

    async def event_log(self, basis: Basis, name: str, database: Database | None) -> EventLog:
        """See `ExternalForms.event_log`."""
        from vigie.platform.eventlog.kafka import Identity, open_kafka_event_log

        return await open_kafka_event_log(
            basis.config.section(KafkaConfig),
            database,
            basis.clocks.wall,
            basis.clocks.monotonic,
            metrics=basis.metrics,
            client_name=f"vigie-{basis.target.name}-{name}",
            context=_context_of(name),
            faults=basis.faults,
            identity=Identity(
                basis.config.section(S3Config).installation,
                basis.config.section(DataConfig).directory,
            ),
        )

    async def store(self, basis: Basis) -> ObjectStore:
        """See `ExternalForms.store`."""
        from vigie.platform.objectstore.s3.opening import open_s3_store

        workspace = basis.config.section(DataConfig).directory / "store-work"
        return await open_s3_store(
            basis.config.section(S3Config),
            basis.clocks.wall,
            workspace=workspace,
            registry=basis.metrics,
            monotonic_clock=basis.clocks.monotonic,
            faults=basis.faults,
        )


def _context_of(name: str) -> str:
    """Whose log it is, for metrics; the one with no context carries accesses."""
    return name.removeprefix(LOG_NAME).removeprefix("-") or ACCESSES


PRODUCTION: Final = ProductionForms()
