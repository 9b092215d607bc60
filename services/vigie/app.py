"""One process of the product: what it opens, what it runs, and in what order that lives.

`vigie up` is the target ``all`` with embedded defaults. A reader who wants to know what a target
is made of reads `vigie.targets`; who depends on whom, `NEEDS`; who is given what, `Wiring`; what
storage a configuration chooses, `vigie.storage`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final, Self

from vigie.calling import services_listener
from vigie.platform.config import Config
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.faultpoint import FaultPoints, SwitchedFaults, faults_from_environment
from vigie.platform.grpc.certificates import CertificateWatch
from vigie.platform.grpc.credentials import TlsFiles
from vigie.platform.grpc.host import GrpcHost
from vigie.platform.grpc.services import ServiceTlsConfig
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.http import HttpConfig, HttpServer, operations_routes
from vigie.platform.lifecycle import IMPATIENT, Lifecycle, LifecycleConfig, Patience
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import Module, ServiceBinding, broken_of
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.platform.process.watch import watch_process
from vigie.platform.runfile import RunFile
from vigie.platform.supervisor import Supervisor
from vigie.settings import SECTIONS, DataConfig, DebugConfig
from vigie.storage import (
    PRODUCTION,
    SYSTEM_CLOCKS,
    Basis,
    Clocks,
    ExternalForms,
    open_storage,
)
from vigie.surroundings import Surroundings
from vigie.targets import ALL, TARGETS, Target
from vigie.topics import TOPICS
from vigie.wiring import Wiring

__all__ = ["NEEDS", "SECTIONS", "TOPICS", "Application"]

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
    "gateway": (),
    "run-file": ("grpc", "gateway", "http"),
}
"""Module -> modules that must run before it."""


class Application:
    """One process of the product, wired. An async context manager: storage is open inside.

    Args:
        config: the configuration.
        clocks: both clocks.
        target: what it runs; see `vigie.targets`.
        forms: opens storage that is not embedded.

    Raises (on entering):
        VigieError: DATA_DIRECTORY_IN_USE, DATA_NEWER_THAN_PROGRAM, DATABASE_UNAVAILABLE,
            STORE_UNAVAILABLE, TOPIC_MISMATCH, CONFIG_INVALID.
    """

    def __init__(
        self,
        config: Config,
        clocks: Clocks = SYSTEM_CLOCKS,
        *,
        target: Target = TARGETS[ALL],
        forms: ExternalForms = PRODUCTION,
    ) -> None:
        self._config = config
        self._clocks = clocks
        self._target = target
        self._forms = forms
        self._closing = AsyncExitStack()
        self.metrics = MetricsRegistry()
        self.supervisor = Supervisor()
        self.host: GrpcHost
        self.wiring: Wiring
        self.http: HttpServer
        self.lifecycle: Lifecycle

    async def __aenter__(self) -> Self:
        try:
            if self._target.contexts:
                await self._make_services()
            else:
                self._make_gateway()
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    # --- targets ----------------------------------------------------------------------------

    async def _make_services(self) -> None:
        faults = self._faults()
        basis = Basis(
            target=self._target,
            config=self._config,
            clocks=self._clocks,
            metrics=self.metrics,
            supervisor=self.supervisor,
            faults=faults,
            closing=self._closing,
        )
        storage = await open_storage(basis, self._forms)
        around = Surroundings(
            target=self._target,
            config=self._config,
            clocks=self._clocks,
            storage=storage,
            metrics=self.metrics,
            supervisor=self.supervisor,
            faults=faults,
        )
        wiring = self.wiring = Wiring(around)
        modules = wiring.contexts()
        self._closing.push_async_callback(wiring.close)
        host = self.host = self._host(around, wiring, modules)
        wiring.set_address(lambda: host.internal_address)
        patience = IMPATIENT
        if storage.waits:
            # It listens at once, and says what it waits for.
            remote = [module.name for module in storage.remotes]
            early = ["http", *remote, wiring.access.name, host.name]
            waiting = [module.name for module in modules if module is not wiring.access]
            patience = Patience(early=early, waiting=waiting)
        upkeep = [*storage.upkeep, *wiring.upkeep(), *self._certificates()]
        self._live([*storage.remotes, *upkeep, *modules, host], lambda: _places(host), patience)

    def _host(self, around: Surroundings, wiring: Wiring, modules: Sequence[Module]) -> GrpcHost:
        config = self._config.section(GrpcConfig)
        if self._target.one_of_many:
            # People and programs come through the gateway.
            config = config.model_copy(update={"listen": ()})
        services: list[ServiceBinding] = [each for m in modules for each in m.services()]
        return GrpcHost(
            config,
            services=services,
            authenticator=wiring.access.authenticator,
            recorder=wiring.recorder,
            wall_clock=self._clocks.wall,
            monotonic_clock=self._clocks.monotonic,
            metrics=self.metrics,
            identifiers=wiring.identifiers,
            readiness=self._service_readiness,
            gate=self._waits_for,
            internal=services_listener(around),
            owners=wiring.owners,
            carrier=wiring.carrier,
        )

    def _make_gateway(self) -> None:
        from vigie.gateway import make_gateway

        gateway = make_gateway(self._config, self._clocks)
        self._closing.push_async_callback(gateway.close)
        modules = [gateway, *self._certificates()]
        self._live(modules, lambda: {"grpc": gateway.addresses[0]}, IMPATIENT)

    def _certificates(self) -> list[Module]:
        """Says when a certificate of this process has expired, where it has one."""
        clock = self._clocks.monotonic
        found = []
        services, outside = self._config.section(ServiceTlsConfig), self._config.section(GrpcConfig)
        if self._target.one_of_many and services.enabled:
            found.append(TlsFiles(services.of(self._target.name), clock, section="tls"))
        if outside.tls is not None and not (self._target.one_of_many and self._target.contexts):
            found.append(TlsFiles(outside.tls, clock))
        return [CertificateWatch(found, self._clocks.wall, self.metrics)] if found else []

    def _live(
        self, modules: Sequence[Module], places: Callable[[], Mapping[str, str]], patience: Patience
    ) -> None:
        watch_process(self.metrics)
        self.http = HttpServer(
            self._config.section(HttpConfig),
            operations_routes(self.metrics, self._readiness, self._broken),
        )
        name = "run.json" if self._target.name == ALL else f"run-{self._target.name}.json"
        run_file = RunFile(
            self._config.section(DataConfig).directory / name,
            lambda: {**places(), "http": self.http.address},
        )
        self.lifecycle = Lifecycle(
            [self.http, *modules, run_file],
            NEEDS,
            config=self._config.section(LifecycleConfig),
            monotonic_clock=self._clocks.monotonic,
            supervisor=self.supervisor,
            patience=patience,
        )

    def _faults(self) -> FaultPoints:
        debug = self._config.section(DebugConfig)
        if not debug.fault_points:
            return faults_from_environment(os.environ, enabled=False, known=())
        from vigie.faultpoints import known_points

        known = known_points(
            kafka=bool(self._config.section(KafkaConfig).bootstrap),
            s3=self._config.section(S3Config).endpoint is not None,
        )
        if debug.fault_file is not None:
            return SwitchedFaults(debug.fault_file, known=known)
        return faults_from_environment(os.environ, enabled=True, known=known)

    # The life is made last, of the host and the routes among others: they ask it through these.

    def _service_readiness(self, service: str) -> str | None:
        return self.lifecycle.service_readiness(service)

    def _waits_for(self, service: str) -> str | None:
        return self.lifecycle.waits_for(service)

    def _readiness(self) -> Mapping[str, str | None]:
        return self.lifecycle.readiness()

    def _broken(self) -> Mapping[str, str]:
        return broken_of(self.lifecycle.modules)


def _places(host: GrpcHost) -> dict[str, str]:
    """What the run file says once everything serves."""
    outside = host.addresses
    return {"grpc": outside[0] if outside else host.internal_address,
            "services": host.internal_address}  # fmt: skip
