"""The audit context as a module: recorder, consumer, AuditService."""

import asyncio
from collections.abc import Sequence
from typing import Final

from vigie.audit.freshness import Freshness
from vigie.audit.indexer import AccessIndexer
from vigie.audit.recorder import ACCESSES_TOPIC, TOPICS, EventLogAccessRecorder
from vigie.audit.retention import AccessRetention
from vigie.audit.search import GROUP, AccessReader
from vigie.audit.service import AuditServicer
from vigie.audit.tables import MIGRATIONS
from vigie.audit.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.database import Database, migrate
from vigie.platform.eventlog import (
    QUARANTINE_TOPIC,
    Consumer,
    ConsumerObserver,
    EventLog,
    Quarantine,
)
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.paging import Tokens

AUDIT_SERVICE: Final = "vigie.audit.v1.AuditService"


class AuditModule:
    """Wires the context; a `vigie.platform.module.Module`.

    ``recorder`` is what the gRPC host needs; it works once `start` has declared the topic. A
    process that serves gRPC without this module makes an `EventLogAccessRecorder` by itself and
    declares `vigie.audit.recorder.TOPICS`.

    Args:
        database: where the searchable table is.
        event_log: where records are durable.
        quarantine: for records that cannot be parsed.
        tokens: seals page and resume tokens.
        recorder: that of the process's host; ``None``: one is made over ``event_log``.
    """

    name = "audit"

    def __init__(
        self,
        *,
        database: Database,
        event_log: EventLog,
        quarantine: Quarantine,
        wall_clock: WallClock,
        monotonic_clock: MonotonicClock,
        metrics: MetricsRegistry,
        tokens: Tokens,
        observer: ConsumerObserver | None = None,
        faults: FaultPoints = NO_FAULTS,
        recorder: EventLogAccessRecorder | None = None,
    ) -> None:
        self._database = database
        self._event_log = event_log
        self.recorder = recorder or EventLogAccessRecorder(
            event_log, wall_clock=wall_clock, monotonic_clock=monotonic_clock, metrics=metrics
        )
        self.consumer = Consumer(
            event_log,
            database,
            quarantine,
            monotonic_clock,
            topic=ACCESSES_TOPIC,
            group=GROUP,
            handler=AccessIndexer(database, metrics).handle,
            observer=observer,
            faults=faults,
        )
        reader = AccessReader(database)
        freshness = Freshness(
            event_log, reader, wall_clock=wall_clock, monotonic_clock=monotonic_clock
        )
        self._servicer = AuditServicer(reader, freshness, tokens)
        self._retention = AccessRetention(
            database, wall_clock=wall_clock, monotonic_clock=monotonic_clock
        )
        self._retaining: asyncio.Task[None] | None = None
        self._started = False

    def services(self) -> Sequence[ServiceBinding]:
        """AuditService."""
        return (ServiceBinding(AUDIT_SERVICE, self._servicer, add_AuditServiceServicer_to_server),)

    async def start(self) -> None:
        """Bring the table up to date, declare the topic, begin to consume.

        Raises:
            VigieError: DATA_NEWER_THAN_PROGRAM, DATABASE_UNAVAILABLE, TOPIC_MISMATCH.
        """
        await migrate(self._database, MIGRATIONS)
        await self._event_log.declare([*TOPICS, QUARANTINE_TOPIC])
        self.consumer.start()
        self._retaining = asyncio.create_task(self._retention.run(), name="audit-retention")
        self._started = True

    def not_ready(self) -> str | None:
        """See `Module.not_ready`."""
        if not self._started:
            return "audit has not started"
        if self._retaining is not None and self._retaining.done():
            return "accesses are no longer removed at the end of their time"
        return self.consumer.not_ready()

    def broken(self) -> str | None:
        """See `Breakable.broken`."""
        gone = self._started and self._retaining is not None and self._retaining.done()
        return "accesses are no longer removed at the end of their time" if gone else None

    async def stop(self, *, timeout_seconds: float) -> None:
        """Finish the unit of work under way."""
        self._started = False
        if self._retaining is not None:
            self._retaining.cancel()
            await asyncio.wait({self._retaining}, timeout=timeout_seconds)
            self._retaining = None
        await self.consumer.stop(timeout_seconds=timeout_seconds)
