"""What each module stands on: one constructor a module, and the storage under all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import Field

from vigie.access.module import AccessModule
from vigie.access.settings import AccessConfig
from vigie.audit.module import AuditModule
from vigie.evidence.module import EvidenceModule
from vigie.evidence.module import Platform as EvidencePlatform
from vigie.evidence.settings import EvidenceConfig
from vigie.ingest.config import IngestConfig
from vigie.ingest.module import PROBE_SERVICE, IngestModule, IngestPlatform
from vigie.platform.clock import (
    MonotonicClock,
    SystemMonotonicClock,
    SystemWallClock,
    WallClock,
)
from vigie.platform.config import Config, ConfigSection, Suspicion
from vigie.platform.database import EmbeddedDatabase
from vigie.platform.eventlog import EmbeddedEventLog, PrometheusObserver, Quarantine
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.grpc.client import ServiceClients
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import Module
from vigie.platform.objectstore.directory import DirectoryObjectStore
from vigie.platform.paging import Tokens
from vigie.platform.periodic import Periodic
from vigie.platform.sealing import Sealer
from vigie.platform.supervisor import Supervisor
from vigie.recording.config import RecordingConfig
from vigie.recording.module import RecordingDependencies, RecordingModule
from vigie.registry.config import RegistryConfig
from vigie.registry.module import RegistryDependencies, RegistryModule
from vigie.registry.probe import IngestProber


class DataConfig(ConfigSection):
    """Section ``[data]``: where the embedded defaults keep everything."""

    directory: Path = Field(
        default=Path("vigie-data"),
        description="Folder of the database, the spool, keys and work files; for one process.",
    )
    store_directory: Path | None = Field(
        default=None,
        description="Folder of the object store (the bucket); unset: `store` in `directory`.",
    )

    @property
    def store(self) -> Path:
        """The folder of the bucket."""
        return self.store_directory or self.directory / "store"


class DebugConfig(ConfigSection):
    """Section ``[debug]``: never in production."""

    fault_points: bool = Field(
        default=False,
        description="Let the environment variable VIGIE_FAULT break this process at a named step:"
        " for tests of crash safety.",
    )
    fault_file: Path | None = Field(
        default=None,
        description="With `fault_points`: a file whose lines `name:action` break the steps they"
        " name for as long as they stand there.",
    )

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        if not self.fault_points:
            return ()
        message = "whoever sets the environment can make this process fail"
        return (Suspicion("fault_points", message, "fault_points = false"),)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Both clocks of a process; tests pass their own."""

    wall: WallClock
    monotonic: MonotonicClock


SYSTEM_CLOCKS: Final = Clocks(SystemWallClock(), SystemMonotonicClock())


@dataclass(frozen=True, slots=True)
class Storage:
    """The embedded forms of the ports, open."""

    database: EmbeddedDatabase
    event_log: EmbeddedEventLog
    store: DirectoryObjectStore
    sealer: Sealer
    faults: FaultPoints


class Wiring:
    """One constructor a module: what each is given, and nothing else."""

    def __init__(
        self,
        config: Config,
        clocks: Clocks,
        storage: Storage,
        metrics: MetricsRegistry,
        supervisor: Supervisor,
    ) -> None:
        self._config = config
        self._clocks = clocks
        self._storage = storage
        self._metrics = metrics
        self._supervisor = supervisor
        self._data = config.section(DataConfig).directory
        self._observer = PrometheusObserver(metrics.registry)
        self._clients: list[ServiceClients] = []
        self.identifiers = IdentifierSource(clocks.wall)
        self.tokens = Tokens(storage.sealer.derived_key("page tokens"))
        self.quarantine = Quarantine(storage.database, clocks.wall)
        self._address: Callable[[], str] = _nowhere
        self.access = AccessModule(
            config.section(AccessConfig),
            data_directory=self._data,
            wall_clock=clocks.wall,
            monotonic_clock=clocks.monotonic,
            metrics=metrics,
            tokens=self.tokens,
            supervisor=supervisor,
        )
        self.audit = AuditModule(
            database=storage.database,
            event_log=storage.event_log,
            quarantine=self.quarantine,
            wall_clock=clocks.wall,
            monotonic_clock=clocks.monotonic,
            metrics=metrics,
            tokens=self.tokens,
            observer=self._observer,
            faults=storage.faults,
        )

    def contexts(self) -> list[Module]:
        """The modules of the target ``all``."""
        return [
            self.access,
            self.audit,
            self._registry(),
            self._recording(),
            self._ingest(),
            self._evidence(),
        ]

    def upkeep(self) -> list[Module]:
        """What the embedded storage asks for now and then."""
        log, store, clock = self._storage.event_log, self._storage.store, self._clocks.monotonic
        database = self._storage.database
        return [
            Periodic("database-check", database.check, clock, interval_seconds=5),
            Periodic("event-log-upkeep", log.maintain, clock, interval_seconds=300),
            Periodic("store-check", store.check, clock, interval_seconds=5, at_start=True),
            Periodic("store-sweep", store.sweep, clock, interval_seconds=86_400),
        ]

    def set_address(self, address: Callable[[], str]) -> None:
        """Where the contexts of this process reach each other; asked at each call."""
        self._address = address

    async def close(self) -> None:
        """Close the channels between contexts."""
        for clients in self._clients:
            await clients.close()

    def _clients_of(self, context: str) -> ServiceClients:
        """Calls to other contexts, under the name of ``context``."""
        source = self.access.token_source(context)
        clients = ServiceClients(lambda _service: self._address(), source)
        self._clients.append(clients)
        return clients

    def _registry(self) -> RegistryModule:
        clients = self._clients_of("registry")
        return RegistryModule(
            self._config.section(RegistryConfig),
            RegistryDependencies(
                database=self._storage.database,
                event_log=self._storage.event_log,
                sealer=self._storage.sealer,
                prober=IngestProber(lambda: clients.channel(PROBE_SERVICE)),
                wall_clock=self._clocks.wall,
                monotonic_clock=self._clocks.monotonic,
                identifiers=self.identifiers,
                metrics=self._metrics,
            ),
        )

    def _recording(self) -> RecordingModule:
        return RecordingModule(
            self._config.section(RecordingConfig),
            RecordingDependencies(
                database=self._storage.database,
                event_log=self._storage.event_log,
                quarantine=self.quarantine,
                store=self._storage.store,
                wall_clock=self._clocks.wall,
                monotonic_clock=self._clocks.monotonic,
                metrics=self._metrics,
                observer=self._observer,
                faults=self._storage.faults,
            ),
        )

    def _ingest(self) -> IngestModule:
        return IngestModule(
            self._config.section(IngestConfig),
            IngestPlatform(
                event_log=self._storage.event_log,
                store=self._storage.store,
                logins=self._storage.sealer,
                tasks=self._supervisor,
                metrics=self._metrics,
                wall_clock=self._clocks.wall,
                monotonic_clock=self._clocks.monotonic,
                identifiers=self.identifiers,
                tokens=self.tokens,
                data_directory=self._data,
                faults=self._storage.faults,
            ),
        )

    def _evidence(self) -> EvidenceModule:
        return EvidenceModule(
            self._config.section(EvidenceConfig),
            EvidencePlatform(
                database=self._storage.database,
                event_log=self._storage.event_log,
                store=self._storage.store,
                clients=self._clients_of("evidence"),
                supervisor=self._supervisor,
                metrics=self._metrics,
                wall_clock=self._clocks.wall,
                monotonic_clock=self._clocks.monotonic,
                identifiers=self.identifiers,
                tokens=self.tokens,
                data_directory=self._data,
                version=version("vigie"),
            ),
        )


def _nowhere() -> str:
    raise RuntimeError("the process does not serve yet")
