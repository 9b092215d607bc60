"""The wiring: which modules a target is made of, what each stands on, and in what order they live.

One process with embedded defaults (`vigie up`) is the target ``all``. A reader who wants to know
who depends on whom reads `NEEDS`; who is given what, `Wiring`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, Self

from pydantic import Field

from vigie.access.module import AccessModule
from vigie.access.settings import AccessConfig
from vigie.audit.module import AuditModule
from vigie.audit.recorder import TOPICS as AUDIT_TOPICS
from vigie.evidence.module import EvidenceModule
from vigie.evidence.module import Platform as EvidencePlatform
from vigie.evidence.repository import TOPICS as EVIDENCE_TOPICS
from vigie.evidence.settings import EvidenceConfig
from vigie.ingest.config import IngestConfig
from vigie.ingest.module import PROBE_SERVICE, IngestModule, IngestPlatform
from vigie.ingest.topics import TOPICS as INGEST_TOPICS
from vigie.platform.clock import (
    MonotonicClock,
    SystemMonotonicClock,
    SystemWallClock,
    WallClock,
)
from vigie.platform.config import Config, ConfigSection
from vigie.platform.database import EmbeddedDatabase, open_database
from vigie.platform.eventlog import EmbeddedEventLog, PrometheusObserver, Quarantine, open_event_log
from vigie.platform.grpc.client import ServiceClients
from vigie.platform.grpc.host import GrpcHost
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.http import HttpConfig, HttpServer, operations_routes
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.lifecycle import Lifecycle, LifecycleConfig
from vigie.platform.logging import LoggingConfig
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import Module, ServiceBinding
from vigie.platform.objectstore.directory import DirectoryObjectStore, open_directory_store
from vigie.platform.paging import Tokens
from vigie.platform.periodic import Periodic
from vigie.platform.runfile import RunFile
from vigie.platform.sealing import Sealer, load_or_create_sealer
from vigie.platform.supervisor import Supervisor
from vigie.recording.config import RecordingConfig
from vigie.recording.module import TOPICS as RECORDING_TOPICS
from vigie.recording.module import RecordingDependencies, RecordingModule
from vigie.registry.config import RegistryConfig
from vigie.registry.module import TOPICS as REGISTRY_TOPICS
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


SECTIONS: Final[Mapping[str, type[ConfigSection]]] = {
    "data": DataConfig,
    "grpc": GrpcConfig,
    "http": HttpConfig,
    "logging": LoggingConfig,
    "lifecycle": LifecycleConfig,
    "access": AccessConfig,
    "registry": RegistryConfig,
    "ingest": IngestConfig,
    "recording": RecordingConfig,
    "evidence": EvidenceConfig,
}
"""Sections of the configuration, in the order in which people read them."""

TOPICS: Final = (
    *REGISTRY_TOPICS,
    *INGEST_TOPICS,
    *RECORDING_TOPICS,
    *EVIDENCE_TOPICS,
    *AUDIT_TOPICS,
)
"""Every topic of the product, each declared by the context that writes it."""

NEEDS: Final[Mapping[str, Sequence[str]]] = {
    "http": (),
    "access": (),
    "audit": (),
    "registry": (),
    "recording": ("registry",),
    "ingest": ("registry", "recording"),
    "evidence": ("recording",),
    # The host comes last and goes first: nobody is served by half a product.
    "grpc": ("access", "audit", "registry", "ingest", "recording", "evidence"),
    "run-file": ("grpc", "http"),
}
"""Module -> modules that must run before it."""


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


class Application:
    """One process of the product, wired. An async context manager: storage is open inside.

    Raises (on entering):
        VigieError: DATA_DIRECTORY_IN_USE, DATA_NEWER_THAN_PROGRAM, DATABASE_UNAVAILABLE,
            STORE_UNAVAILABLE, TOPIC_MISMATCH, CONFIG_INVALID.
    """

    def __init__(self, config: Config, clocks: Clocks = SYSTEM_CLOCKS) -> None:
        self._config = config
        self._clocks = clocks
        self._closing = AsyncExitStack()
        self.metrics = MetricsRegistry()
        self.supervisor = Supervisor()
        self.host: GrpcHost
        self.http: HttpServer
        self.lifecycle: Lifecycle

    async def __aenter__(self) -> Self:
        try:
            storage = await self._open_storage()
            await storage.event_log.declare(TOPICS)
            self._wire(storage)
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    async def _open_storage(self) -> Storage:
        data = self._config.section(DataConfig)
        database = await open_database(data.directory / "vigie.db")
        self._closing.push_async_callback(database.close)
        event_log = await open_event_log(database, self._clocks.wall)
        self._closing.push_async_callback(event_log.close)
        store = await open_directory_store(data.store, self._clocks.wall, link_sources=True)
        self._closing.push_async_callback(store.close)
        sealer = load_or_create_sealer(data.directory / "sealing.key")
        return Storage(database, event_log, store, sealer)

    def _wire(self, storage: Storage) -> None:
        wiring = Wiring(self._config, self._clocks, storage, self.metrics, self.supervisor)
        modules = wiring.contexts()
        self._closing.push_async_callback(wiring.close)
        services: list[ServiceBinding] = [each for m in modules for each in m.services()]
        self.host = GrpcHost(
            self._config.section(GrpcConfig),
            services=services,
            authenticator=wiring.access.authenticator,
            recorder=wiring.audit.recorder,
            wall_clock=self._clocks.wall,
            monotonic_clock=self._clocks.monotonic,
            metrics=self.metrics,
            identifiers=wiring.identifiers,
            readiness=self._service_readiness,
        )
        wiring.set_address(lambda: self.host.internal_address)
        self.http = HttpServer(
            self._config.section(HttpConfig),
            operations_routes(self.metrics, self._readiness),
        )
        run_file = RunFile(self._config.section(DataConfig).directory / "run.json", self._facts)
        upkeep = wiring.upkeep()
        everything: list[Module] = [self.http, *upkeep, *modules, self.host, run_file]
        self.lifecycle = Lifecycle(
            everything,
            NEEDS,
            config=self._config.section(LifecycleConfig),
            monotonic_clock=self._clocks.monotonic,
            supervisor=self.supervisor,
        )

    def _facts(self) -> dict[str, str]:
        """What the run file says once everything serves."""
        return {"grpc": self.host.addresses[0], "http": self.http.address}

    # The life is made last, of the host and the routes among others: they ask it through these.

    def _service_readiness(self, service: str) -> str | None:
        return self.lifecycle.service_readiness(service)

    def _readiness(self) -> Mapping[str, str | None]:
        return self.lifecycle.readiness()


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
        return [
            Periodic("event-log-upkeep", log.maintain, clock, interval_seconds=300),
            Periodic("store-check", store.check, clock, interval_seconds=15, at_start=True),
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
