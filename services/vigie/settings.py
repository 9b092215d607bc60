"""Every section of the configuration, and those that belong to no module."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import Field

from vigie.access.settings import AccessConfig
from vigie.evidence.settings import EvidenceConfig
from vigie.ingest.config import IngestConfig
from vigie.platform.config import ConfigSection, Suspicion
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.grpc.services import ServicesConfig, ServiceTlsConfig
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.http import HttpConfig
from vigie.platform.lifecycle import LifecycleConfig
from vigie.platform.logging import LoggingConfig
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.recording.config import RecordingConfig
from vigie.registry.config import RegistryConfig


class DataConfig(ConfigSection):
    """Section ``[data]``: what lies on this machine."""

    directory: Path = Field(
        default=Path("vigie-data"),
        description="Folder of the embedded database, the spool, keys and work files. The embedded "
        "database is for one process; services apart may share the folder on one machine.",
    )
    store_directory: Path | None = Field(
        default=None,
        description="Folder of the object store (the bucket); unset: `store` in `directory`.",
    )
    sealing_key_file: Path | None = Field(
        default=None,
        description="Key under which credentials of cameras are sealed; the registry and every "
        "ingest process need the same. Unset: `sealing.key` in `directory`. Made when it is not "
        "there.",
    )
    page_key_file: Path | None = Field(
        default=None,
        description="Key of page and resume tokens of services that do not have the sealing key; "
        "several processes of one service need the same. Unset: `page.key` in `directory`. Made "
        "when it is not there.",
    )

    @property
    def store(self) -> Path:
        """The folder of the bucket."""
        return self.store_directory or self.directory / "store"

    @property
    def sealing_key(self) -> Path:
        """The file of the sealing key."""
        return self.sealing_key_file or self.directory / "sealing.key"

    @property
    def page_key(self) -> Path:
        """The file of the key of page tokens."""
        return self.page_key_file or self.directory / "page.key"


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


SECTIONS: Final[Mapping[str, type[ConfigSection]]] = {
    "data": DataConfig,
    "database": DatabaseConfig,
    "kafka": KafkaConfig,
    "s3": S3Config,
    "grpc": GrpcConfig,
    "services": ServicesConfig,
    "tls": ServiceTlsConfig,
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
