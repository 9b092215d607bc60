"""What each module stands on: one constructor a module, given nothing else.

A context is imported when a process serves it: one that serves another does not carry its code.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vigie.access.module import AccessModule
from vigie.access.settings import AccessConfig
from vigie.audit.recorder import EventLogAccessRecorder
from vigie.evidence.settings import EvidenceConfig
from vigie.ingest.config import IngestConfig
from vigie.platform.config import Config
from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import PrometheusObserver, Quarantine
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.grpc.carry import Carrier, Owners
from vigie.platform.grpc.client import MutualTls, ServiceClients
from vigie.platform.grpc.credentials import TlsFiles
from vigie.platform.grpc.host import ServicesListener
from vigie.platform.grpc.peers import service_host
from vigie.platform.grpc.services import ServicesConfig, ServiceTlsConfig
from vigie.platform.grpc.settings import GrpcConfig, host_of, is_loopback
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.identity.port import TokenSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import Module
from vigie.platform.objectstore import ObjectStore
from vigie.platform.paging import Tokens
from vigie.platform.periodic import Periodic
from vigie.platform.reasons import CONFIG_INVALID
from vigie.platform.sealing import Sealer, load_or_create_sealer
from vigie.platform.supervisor import Supervisor
from vigie.recording.config import RecordingConfig
from vigie.registry.config import RegistryConfig
from vigie.settings import DataConfig
from vigie.storage import SYSTEM_CLOCKS, Clocks, Storage
from vigie.targets import NEEDS_OF, Target

if TYPE_CHECKING:
    import grpc.aio

    from vigie.ingest.module import IngestModule

__all__ = ["SYSTEM_CLOCKS", "Clocks", "Surroundings", "Wiring"]

_LIVE: Final = "/vigie.ingest.v1.LiveService/WatchLive"
_WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every module of a process shares.

    Attributes:
        target: what the process runs.
        config: the configuration.
        clocks: both clocks.
        storage: open, or being opened.
        metrics: where metrics are made.
        supervisor: runs background tasks.
        faults: where tests strike.
    """

    target: Target
    config: Config
    clocks: Clocks
    storage: Storage
    metrics: MetricsRegistry
    supervisor: Supervisor
    faults: FaultPoints

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.config.section(DataConfig).directory

    @property
    def services(self) -> ServicesConfig:
        """Where services are."""
        return self.config.section(ServicesConfig)

    @property
    def tls(self) -> ServiceTlsConfig:
        """Their certificates."""
        return self.config.section(ServiceTlsConfig)

    @property
    def certified(self) -> bool:
        """Whether services prove themselves by certificates."""
        return self.target.one_of_many and self.tls.enabled

    def store(self) -> ObjectStore:
        """The bucket."""
        assert self.storage.store is not None, "the table of targets says nobody needs the store"
        return self.storage.store


def services_listener(around: Surroundings) -> ServicesListener:
    """Where the process is reached by other services.

    Raises:
        VigieError: CONFIG_INVALID.
    """
    if not around.target.one_of_many:
        return ServicesListener()
    name = around.target.name
    address = around.services.listening(name)
    if around.certified:
        domain = around.tls.trust_domain
        return ServicesListener(address, around.tls.of(name), domain, service_host(name, domain))
    open_to_others = not is_loopback(host_of(address))
    if open_to_others and not around.config.section(GrpcConfig).allow_plaintext:
        raise VigieError(
            CONFIG_INVALID,
            f"{address} is reached by other machines, and services have no certificates; give "
            "[tls], or listen on 127.0.0.1",
            field="services.listen",
        )
    return ServicesListener(address)


class Callers:
    """Calls to other contexts: where they are, and how a context proves itself there.

    Args:
        around: of the process.
        token_of: name of a service -> its token.
        own_address: where this very process is reached, once it listens.
    """

    def __init__(
        self,
        around: Surroundings,
        token_of: Callable[[str], TokenSource],
        own_address: Callable[[], str],
    ) -> None:
        self._around = around
        self._token_of = token_of
        self._own_address = own_address
        self._clients: list[ServiceClients] = []

    def of(self, service: str) -> ServiceClients:
        """Calls under the name of ``service``."""
        around = self._around
        tls = None
        if around.certified:
            clock = around.clocks.monotonic
            files = TlsFiles(around.tls.of(service), clock, section="tls")
            tls = MutualTls(files, around.tls.trust_domain)
        clients = ServiceClients(
            self._addresses,
            None if tls is not None else self._token_of(service),
            tls=tls,
            default_timeout_seconds=around.services.call_seconds,
            connect_seconds=around.services.connect_seconds,
        )
        self._clients.append(clients)
        return clients

    def _addresses(self, context: str) -> Sequence[str]:
        if not self._around.target.one_of_many:
            return (self._own_address(),)
        return self._around.services.addresses(context)

    async def close(self) -> None:
        """Close every channel."""
        for clients in self._clients:
            await clients.close()


class InstancesOf:
    """Channels to single instances of a context; see `vigie.platform.grpc.carry`."""

    def __init__(self, clients: ServiceClients, context: str) -> None:
        self._clients = clients
        self._context = context

    def channel_to(self, address: str) -> "grpc.aio.Channel":
        """See `InstanceChannels.channel_to`."""
        return self._clients.channel_to(address, self._context)


class Wiring:
    """One constructor a module: what each is given, and nothing else.

    Raises:
        VigieError: CONFIG_INVALID: keys, or addresses of services that are called.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._config = around.config
        self._clocks = around.clocks
        self._storage = around.storage
        self._observer = PrometheusObserver(around.metrics.registry)
        self._address: Callable[[], str] = _nowhere
        self.identifiers = IdentifierSource(around.clocks.wall)
        self._sealer = self._own_sealer()
        self.tokens = Tokens(self._page_key())
        self.access = self._access()
        self.recorder = self._recorder()
        self.callers = Callers(around, self.access.token_source, lambda: self._address())  # noqa: PLW0108 - it is set later
        self.owners: Mapping[str, Owners] = {}
        self.carrier: Carrier | None = None

    def contexts(self) -> list[Module]:
        """The modules of the target, in the order in which they start on embedded storage."""
        made: dict[str, Callable[[], Module]] = {
            "access": lambda: self.access,
            "audit": self._audit,
            "registry": self._registry,
            "recording": self._recording,
            "ingest": self._ingest,
            "evidence": self._evidence,
        }
        self._check_addresses()
        # People and their rights are asked at every host, whether or not it serves AccessService.
        served = [make() for name, make in made.items() if name in self._around.target.contexts]
        return served if self.access in served else [self.access, *served]

    def upkeep(self) -> list[Module]:
        """What is done now and then, whatever the storage."""
        if "recording" not in self._around.target.contexts:
            return []
        from vigie.recording.fsck.summary import FILE, FsckGauges

        checked = FsckGauges(self._around.data / FILE, self._around.metrics)
        clock = self._clocks.monotonic
        return [
            Periodic("fsck-summary", checked.refresh, clock, interval_seconds=30, at_start=True)
        ]

    def set_address(self, address: Callable[[], str]) -> None:
        """Where this process is reached by services; asked at each call."""
        self._address = address

    async def close(self) -> None:
        """Close the channels between contexts."""
        await self.callers.close()

    # --- what several share -----------------------------------------------------------------

    def _own_sealer(self) -> Sealer | None:
        if not self._around.target.needs("sealer"):
            return None
        return load_or_create_sealer(self._config.section(DataConfig).sealing_key)

    def _page_key(self) -> bytes:
        sealer = self._sealer
        if sealer is None:
            # Not derived from the sealing key: that one is nobody's who does not seal or open.
            sealer = load_or_create_sealer(self._config.section(DataConfig).page_key)
        return sealer.derived_key("page tokens")

    def _recorder(self) -> EventLogAccessRecorder:
        access_log = self._storage.access_log
        assert access_log is not None, "every host writes accesses"
        return EventLogAccessRecorder(
            access_log,
            wall_clock=self._clocks.wall,
            monotonic_clock=self._clocks.monotonic,
            metrics=self._around.metrics,
        )

    def _check_addresses(self) -> None:
        if not self._around.target.one_of_many:
            return
        for context in self._around.target.contexts:
            for called in NEEDS_OF[context].calls:
                if not self._around.services.addresses(called):
                    raise VigieError(
                        CONFIG_INVALID,
                        f"{context} calls {called}: say where it is, host:port",
                        field=f"services.{called}",
                    )

    def _sealing(self) -> Sealer:
        assert self._sealer is not None, "the table of targets says nobody seals"
        return self._sealer

    def _quarantine(self, context: str) -> Quarantine:
        return Quarantine(self._database(context), self._clocks.wall)

    def _database(self, context: str) -> Database:
        return self._storage.databases[context]

    # --- contexts ---------------------------------------------------------------------------

    def _access(self) -> AccessModule:
        return AccessModule(
            self._config.section(AccessConfig),
            data_directory=self._around.data,
            wall_clock=self._clocks.wall,
            monotonic_clock=self._clocks.monotonic,
            metrics=self._around.metrics,
            tokens=self.tokens,
            supervisor=self._around.supervisor,
            offered="access" in self._around.target.contexts,
            service_tokens=not self._around.certified,
        )

    def _audit(self) -> Module:
        from vigie.audit.module import AuditModule

        return AuditModule(
            database=self._database("audit"),
            event_log=self._storage.event_logs["audit"],
            quarantine=self._quarantine("audit"),
            wall_clock=self._clocks.wall,
            monotonic_clock=self._clocks.monotonic,
            metrics=self._around.metrics,
            tokens=self.tokens,
            observer=self._observer,
            faults=self._around.faults,
            recorder=self.recorder,
        )

    def _registry(self) -> Module:
        from vigie.registry.module import RegistryDependencies, RegistryModule
        from vigie.registry.probe import PROBE_SERVICE, IngestProber

        clients = self.callers.of("registry")
        return RegistryModule(
            self._config.section(RegistryConfig),
            RegistryDependencies(
                database=self._database("registry"),
                event_log=self._storage.event_logs["registry"],
                sealer=self._sealing(),
                prober=IngestProber(lambda: clients.channel(PROBE_SERVICE)),
                wall_clock=self._clocks.wall,
                monotonic_clock=self._clocks.monotonic,
                identifiers=self.identifiers,
                metrics=self._around.metrics,
            ),
        )

    def _recording(self) -> Module:
        from vigie.recording.module import RecordingDependencies, RecordingModule

        return RecordingModule(
            self._config.section(RecordingConfig),
            RecordingDependencies(
                database=self._database("recording"),
                event_log=self._storage.event_logs["recording"],
                quarantine=self._quarantine("recording"),
                store=self._around.store(),
                wall_clock=self._clocks.wall,
                monotonic_clock=self._clocks.monotonic,
                metrics=self._around.metrics,
                observer=self._observer,
                faults=self._around.faults,
                restored=self._storage.mark,
            ),
        )

    def _ingest(self) -> Module:
        from vigie.ingest.module import IngestModule, IngestPlatform
        from vigie.ingest.supervisor.cameras import CAMERAS_TOPIC, AllCameras, CameraAssignment
        from vigie.ingest.supervisor.shared import SharedCameras

        config = self._config.section(IngestConfig)
        one_of_many = self._around.target.one_of_many
        assignment: CameraAssignment = AllCameras()
        if one_of_many:
            assignment = SharedCameras(self._storage.event_logs["ingest"], CAMERAS_TOPIC)
        module = IngestModule(
            config,
            IngestPlatform(
                event_log=self._storage.event_logs["ingest"],
                store=self._around.store(),
                logins=self._sealing(),
                tasks=self._around.supervisor,
                metrics=self._around.metrics,
                wall_clock=self._clocks.wall,
                monotonic_clock=self._clocks.monotonic,
                identifiers=self.identifiers,
                tokens=self.tokens,
                data_directory=self._around.data,
                faults=self._around.faults,
                address=self._advertised if one_of_many else _no_address,
                assignment=assignment,
            ),
        )
        if one_of_many:
            self._carry_live(module, config.instance_name)
        return module

    def _carry_live(self, module: "IngestModule", instance: str) -> None:
        """Live pictures of a camera come from the instance that receives it."""
        from vigie.ingest.reasons import LIVE_ELSEWHERE

        clients = self.callers.of("ingest")
        self.owners = {_LIVE: module.owners.owner_of}
        self.carrier = Carrier(
            instance,
            hop=None if self._around.certified else self.access.token_source("ingest"),
            channels=InstancesOf(clients, "ingest"),
            elsewhere=LIVE_ELSEWHERE,
        )

    def _advertised(self) -> str:
        told = self._around.services.advertise
        if told is not None:
            return told
        host, _, port = self._address().rpartition(":")
        return (
            f"{socket.gethostname()}:{port}" if host.strip("[]") in _WILDCARDS else f"{host}:{port}"
        )

    def _evidence(self) -> Module:
        from vigie.evidence.module import EvidenceModule
        from vigie.evidence.module import Platform as EvidencePlatform

        return EvidenceModule(
            self._config.section(EvidenceConfig),
            EvidencePlatform(
                database=self._database("evidence"),
                event_log=self._storage.event_logs["evidence"],
                store=self._around.store(),
                clients=self.callers.of("evidence"),
                supervisor=self._around.supervisor,
                metrics=self._around.metrics,
                wall_clock=self._clocks.wall,
                monotonic_clock=self._clocks.monotonic,
                identifiers=self.identifiers,
                tokens=self.tokens,
                data_directory=self._around.data,
                version=version("vigie"),
                faults=self._around.faults,
            ),
        )


def _nowhere() -> str:
    raise RuntimeError("the process does not serve yet")


def _no_address() -> str:
    """No other process has to reach a process that is alone."""
    return ""
