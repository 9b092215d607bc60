"""The wiring: which modules a target is made of, what each stands on, and in what order they live.

One process with embedded defaults (`vigie up`) is the target ``all``. A reader who wants to know
who depends on whom reads `NEEDS`; who is given what, `Wiring`.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final, Self

from vigie.access.settings import AccessConfig
from vigie.audit.recorder import TOPICS as AUDIT_TOPICS
from vigie.evidence.repository import TOPICS as EVIDENCE_TOPICS
from vigie.evidence.settings import EvidenceConfig
from vigie.evidence.worker import FAULT_POINTS as EVIDENCE_FAULTS
from vigie.ingest.config import IngestConfig
from vigie.ingest.spool.faults import FAULT_POINTS as SPOOL_FAULTS
from vigie.ingest.topics import TOPICS as INGEST_TOPICS
from vigie.platform.config import Config, ConfigSection
from vigie.platform.database import open_database
from vigie.platform.database.embedded import FAULT_POINTS as DATABASE_FAULTS
from vigie.platform.database.metrics import FAILURES as DATABASE_FAILURES
from vigie.platform.eventlog import NumberingMark, open_event_log
from vigie.platform.eventlog.consumer import FAULT_POINTS as CONSUMER_FAULTS
from vigie.platform.eventlog.embedded import FAULT_POINTS as EVENT_LOG_FAULTS
from vigie.platform.faultpoint import FaultPoints, SwitchedFaults, faults_from_environment
from vigie.platform.grpc.host import GrpcHost
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.http import HttpConfig, HttpServer, operations_routes
from vigie.platform.lifecycle import Lifecycle, LifecycleConfig
from vigie.platform.logging import LoggingConfig
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import Module, ServiceBinding
from vigie.platform.objectstore.directory import open_directory_store
from vigie.platform.objectstore.tree import FAULT_POINTS as STORE_FAULTS
from vigie.platform.process.watch import watch_process
from vigie.platform.runfile import RunFile
from vigie.platform.sealing import load_or_create_sealer
from vigie.platform.supervisor import Supervisor
from vigie.recording.config import RecordingConfig
from vigie.recording.holdkeeper import FAULT_POINTS as HOLD_FAULTS
from vigie.recording.module import TOPICS as RECORDING_TOPICS
from vigie.recording.retention.sweeper import FAULT_POINTS as RETENTION_FAULTS
from vigie.registry.config import RegistryConfig
from vigie.registry.module import TOPICS as REGISTRY_TOPICS
from vigie.wiring import SYSTEM_CLOCKS, Clocks, DataConfig, DebugConfig, Storage, Wiring, mark_path

FAULT_POINTS: Final = (
    *DATABASE_FAULTS,
    *EVENT_LOG_FAULTS,
    *CONSUMER_FAULTS,
    *STORE_FAULTS,
    *SPOOL_FAULTS,
    *RETENTION_FAULTS,
    *HOLD_FAULTS,
    *EVIDENCE_FAULTS,
)
"""Every step at which a test may strike."""

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
    "debug": DebugConfig,
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
            self._wire(storage)
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    async def _open_storage(self) -> Storage:
        data = self._config.section(DataConfig)
        faults = self._faults()
        failures = self.metrics.counter(DATABASE_FAILURES)
        database = await open_database(
            data.directory / "vigie.db",
            faults=faults,
            on_failure=lambda code: failures.labels(code=code).inc(),
        )
        self._closing.push_async_callback(database.close)
        event_log = await open_event_log(database, self._clocks.wall, faults=faults)
        self._closing.push_async_callback(event_log.close)
        store = await open_directory_store(
            data.store, self._clocks.wall, link_sources=True, faults=faults
        )
        self._closing.push_async_callback(store.close)
        await event_log.declare(TOPICS)
        mark = NumberingMark(mark_path(data.store), database, self._clocks.wall)
        # Before anything is appended: no position is given out a second time.
        await mark.skip_ahead()
        self._closing.push_async_callback(mark.note)
        sealer = load_or_create_sealer(data.directory / "sealing.key")
        return Storage(database, event_log, store, sealer, mark, faults)

    def _faults(self) -> FaultPoints:
        debug = self._config.section(DebugConfig)
        if debug.fault_points and debug.fault_file is not None:
            return SwitchedFaults(debug.fault_file, known=FAULT_POINTS)
        return faults_from_environment(os.environ, enabled=debug.fault_points, known=FAULT_POINTS)

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
        watch_process(self.metrics)
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
