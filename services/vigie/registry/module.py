"""The registry as the wiring sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.database import Database
from vigie.platform.database.migrations import MigrationSet, migrate
from vigie.platform.eventlog import EventLog
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.paging import Tokens
from vigie.platform.sealing import Sealer
from vigie.registry.authorisation_service import AuthorisationServicer
from vigie.registry.authorisationbook import AuthorisationBook
from vigie.registry.camera_service import CameraServicer
from vigie.registry.camerabook import CameraBook
from vigie.registry.config import RegistryConfig
from vigie.registry.csvservice import CsvDesk
from vigie.registry.desk import Desk
from vigie.registry.journal import CAMERAS_TOPIC, CameraJournal
from vigie.registry.placebook import PlaceBook
from vigie.registry.probe import SourceProber
from vigie.registry.probedesk import ProbeDesk
from vigie.registry.repeats import Repeats
from vigie.registry.v1.authorisations_pb2_grpc import add_AuthorisationServiceServicer_to_server
from vigie.registry.v1.cameras_pb2_grpc import add_CameraServiceServicer_to_server
from vigie.registry.v1.zones_pb2_grpc import add_ZoneServiceServicer_to_server
from vigie.registry.warden import Warden
from vigie.registry.watch import CameraWatch
from vigie.registry.zone_service import ZoneServicer

MIGRATIONS: Final = MigrationSet("registry", Path(__file__).parent / "migrations")
TOPICS: Final = (CAMERAS_TOPIC,)
_HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class RegistryDependencies:
    """What the registry stands on.

    Attributes:
        database: open; the tables are made at the start.
        event_log: open; the topic is declared at the start.
        sealer: seals credentials under the installation's key.
        prober: asks ingest to try a camera.
        wall_clock: tells when things happen.
        monotonic_clock: paces the looks at the authorisations.
        identifiers: names events.
        metrics: where the metrics are made.
    """

    database: Database
    event_log: EventLog
    sealer: Sealer
    prober: SourceProber
    wall_clock: WallClock
    monotonic_clock: MonotonicClock
    identifiers: IdentifierSource
    metrics: MetricsRegistry


class RegistryModule:
    """See `vigie.platform.module.Module`."""

    def __init__(self, config: RegistryConfig, needs: RegistryDependencies) -> None:
        self._needs = needs
        self._ready = False
        journal = CameraJournal(needs.event_log, needs.identifiers)
        desk = Desk(
            database=needs.database,
            journal=journal,
            book=CameraBook(
                journal, needs.sealer, needs.wall_clock, stream_schemes=config.stream_schemes
            ),
            repeats=Repeats(
                needs.database,
                needs.sealer,
                needs.wall_clock,
                memory_us=round(config.request_memory_hours * _HOUR_US),
            ),
            tokens=Tokens(needs.sealer.derived_key("page tokens")),
            wall_clock=needs.wall_clock,
        )
        self._cameras = CameraServicer(
            desk,
            CsvDesk(desk),
            ProbeDesk(needs.database, needs.prober, needs.sealer, needs.identifiers, config),
            CameraWatch(needs.database, needs.event_log, desk.book, desk.tokens),
        )
        self._zones = ZoneServicer(desk, PlaceBook(needs.wall_clock))
        authorisations = AuthorisationBook(
            journal, needs.wall_clock, ZoneInfo(config.legal_time_zone)
        )
        self._authorisations = AuthorisationServicer(desk, authorisations)
        self._warden = Warden(
            needs.database,
            needs.wall_clock,
            needs.monotonic_clock,
            needs.metrics,
            interval_seconds=config.check_interval_seconds,
        )

    @property
    def name(self) -> str:
        """See `Module.name`."""
        return "registry"

    def services(self) -> Sequence[ServiceBinding]:
        """See `Module.services`."""
        package = "vigie.registry.v1"
        return (
            ServiceBinding(
                f"{package}.ZoneService", self._zones, add_ZoneServiceServicer_to_server
            ),
            ServiceBinding(
                f"{package}.CameraService", self._cameras, add_CameraServiceServicer_to_server
            ),
            ServiceBinding(
                f"{package}.AuthorisationService",
                self._authorisations,
                add_AuthorisationServiceServicer_to_server,
            ),
        )

    async def start(self) -> None:
        """Make or migrate the tables, declare the topic, begin to look at the authorisations."""
        await migrate(self._needs.database, MIGRATIONS)
        await self._needs.event_log.declare(TOPICS)
        self._warden.start()
        self._ready = True

    def not_ready(self) -> str | None:
        """See `Module.not_ready`."""
        return None if self._ready else "the registry has not started"

    async def stop(self, *, timeout_seconds: float) -> None:
        """See `Module.stop`; nothing is under way but the looks at the authorisations."""
        self._ready = False
        await self._warden.stop()
