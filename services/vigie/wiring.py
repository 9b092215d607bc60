"""What each module stands on: one constructor a module, given nothing else.

A context is imported when a process serves it: one that serves another does not carry its code.
"""

import socket
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from vigie.access.module import AccessModule
from vigie.access.settings import AccessConfig
from vigie.audit.recorder import EventLogAccessRecorder
from vigie.calling import Callers, InstancesOf
from vigie.evidence.settings import EvidenceConfig
from vigie.ingest.config import IngestConfig
from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import PrometheusObserver, Quarantine
from vigie.platform.grpc.carry import Carrier, Owners
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.module import Module
from vigie.platform.paging import Tokens
from vigie.platform.periodic import Periodic
from vigie.platform.reasons import CONFIG_INVALID
from vigie.platform.sealing import Sealer, load_or_create_sealer
from vigie.recording.config import RecordingConfig
from vigie.registry.config import RegistryConfig
from vigie.settings import DataConfig
from vigie.surroundings import Surroundings
from vigie.targets import NEEDS_OF

if TYPE_CHECKING:
    from vigie.ingest.module import IngestModule

_LIVE: Final = "/vigie.ingest.v1.LiveService/WatchLive"
_WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not listened on


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
        database, event_log = self._database(context), self._storage.event_logs[context]
        return Quarantine(database, self._clocks.wall, event_log)

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
