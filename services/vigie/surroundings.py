"""What every module of a process shares."""

from dataclasses import dataclass
from pathlib import Path

from vigie.platform.config import Config
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.grpc.services import ServicesConfig, ServiceTlsConfig
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import ObjectStore
from vigie.platform.supervisor import Supervisor
from vigie.settings import DataConfig
from vigie.storage import Clocks, Storage
from vigie.targets import Target


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
