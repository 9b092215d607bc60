from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from databases import database_kind, open_any_database
from servers_postgres import postgres_database, postgres_server
from vigie.audit.module import AuditModule
from vigie.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from vigie.common.v1 import access_pb2
from vigie.platform.clock import ManualWallClock, SystemMonotonicClock
from vigie.platform.database import EmbeddedDatabase
from vigie.platform.eventlog import EmbeddedEventLog, Quarantine, open_event_log
from vigie.platform.grpc.bearer import FixedToken
from vigie.platform.grpc.client import open_channel
from vigie.platform.grpc.host import GrpcHost
from vigie.platform.grpc.record import AccessEntry, Phase
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.grpc.testing import caller_with
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.identity import StaticAuthenticator
from vigie.platform.logging import LoggingConfig, configure_logging
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.paging import Tokens

__all__ = ["database_kind", "postgres_database", "postgres_server"]

NOON_US = 1_790_000_000_000_000

CALLERS = {
    "auditor": caller_with("auditor-1", "audit.read", "audit.export"),
    "zone-a": caller_with("supervisor-1", "audit.read", "audit.export", zones=["zone-a"]),
    "operator": caller_with("operator-1", "footage.play"),
}


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    configure_logging(LoggingConfig(level="error"))


@dataclass
class Archive:
    """The audit context over the embedded log, behind a host."""

    module: AuditModule
    host: GrpcHost
    database: EmbeddedDatabase
    event_log: EmbeddedEventLog
    wall: ManualWallClock
    metrics: MetricsRegistry
    identifiers: IdentifierSource
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def stub(self, token: str) -> AuditServiceStub:
        channel = open_channel(self.host.internal_address, source=FixedToken(token))
        self.channels.append(channel)
        return AuditServiceStub(channel)

    def entry(self, **changes: Any) -> AccessEntry:
        """An access; one second after the one before."""
        self.wall.advance(1)
        values: dict[str, Any] = {
            "record": self.identifiers.text(),
            "request_id": self.identifiers.text(),
            "phase": Phase.OPENED,
            "time_us": self.wall.now_us(),
            "subject": "operator-1",
            "agency": "police-municipale",
            "roles": ("operator",),
            "peer": "ipv4:192.0.2.7:5000",
            "method": "/vigie.recording.v1.PlaybackService/Play",
            "kind": access_pb2.RECORD_KIND_COMMUNICATION,
            "permission": "footage.play",
            "allowed": True,
            "objects": ("cameras/cam-a",),
            "zones": ("zone-a",),
            "window_us": (NOON_US, NOON_US + 60_000_000),
            "purpose": "Vol à l'étalage",
            "case_reference": "PV 1",
        }
        return AccessEntry(**(values | changes))

    async def record(self, **changes: Any) -> AccessEntry:
        entry = self.entry(**changes)
        await self.module.recorder.record(entry)
        return entry


@pytest.fixture
async def archive(tmp_path: Path, database_kind: str) -> AsyncIterator[Archive]:
    wall, monotonic, metrics = ManualWallClock(NOON_US), SystemMonotonicClock(), MetricsRegistry()
    database = await open_any_database(tmp_path / "vigie.db")
    event_log = await open_event_log(database, wall)
    module = AuditModule(
        database=database,
        event_log=event_log,
        quarantine=Quarantine(database, wall, event_log),
        wall_clock=wall,
        monotonic_clock=monotonic,
        metrics=metrics,
        tokens=Tokens(b"k" * 32),
    )
    await module.start()
    host = GrpcHost(
        GrpcConfig(listen=("127.0.0.1:0",)),
        services=module.services(),
        authenticator=StaticAuthenticator(CALLERS, wall),
        recorder=module.recorder,
        wall_clock=wall,
        monotonic_clock=monotonic,
        metrics=metrics,
    )
    await host.start()
    made = Archive(module, host, database, event_log, wall, metrics, IdentifierSource(wall))
    yield made
    for channel in made.channels:
        await channel.close(grace=None)
    await host.stop(timeout_seconds=2)
    await module.stop(timeout_seconds=2)
    await event_log.close()
    await database.close()
