"""The ``[ingest]`` section of the configuration."""

import socket
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from vigie.ingest.recorder.segment import SyncPolicy
from vigie.platform.config.section import ConfigSection, Suspicion

_MIB = 1 << 20
_GIB = 1 << 30
_LONG_SEGMENT_SECONDS = 120
_SMALL_QUOTA_BYTES = 256 * _MIB


class IngestConfig(ConfigSection):
    """Reception of cameras, spool and upload."""

    instance: str = Field(
        "",
        max_length=63,
        pattern=r"^[a-z0-9.-]*$",
        description="Name of this ingest process in events and metrics; empty: `ingest-` and the"
        " name of the machine.",
    )
    segment_seconds: int = Field(
        30,
        ge=2,
        le=300,
        description="Length of a stored segment; cut at the nearest key frame.",
    )
    spread_segments: bool = Field(
        True,
        description="Whether the first one or two segments of a run are shorter, down to half, so"
        " that cameras that were started together do not close theirs together; those of less than"
        " 10 s are all alike.",
    )
    key_prefix: str = Field(
        "footage",
        pattern=r"^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$",
        max_length=200,
        description="What object keys begin with; the camera follows.",
    )
    spool_directory: Path | None = Field(
        None,
        description="Where footage lies until it is stored; unset: `spool` in the data folder.",
    )
    spool_quota_bytes: int = Field(
        20 * _GIB,
        ge=16 * _MIB,
        description="Most bytes of footage in the spool; beyond it new footage is refused.",
    )
    spool_reserve_bytes: int = Field(
        256 * _MIB,
        ge=_MIB,
        description="Bytes that must stay free on the disk of the spool; below it new footage is"
        " refused.",
    )
    spool_sync: SyncPolicy = Field(
        SyncPolicy.FRAGMENT,
        description="When footage is forced to the disk: `fragment` (every key-frame interval) or"
        " `segment`.",
    )
    writer_threads: int = Field(
        8,
        ge=1,
        le=32,
        description="Threads that write to the spool; they mostly wait for the disk, which makes"
        " durable together what several ask for at a time.",
    )
    write_queue_bytes: int = Field(
        256 * _MIB,
        ge=_MIB,
        description="Most footage in memory that waits to be written; beyond it is refused.",
    )
    upload_concurrency: int = Field(8, ge=1, le=256, description="Most uploads at a time.")
    heartbeat_seconds: float = Field(
        5.0, ge=0.1, le=60, description="How often the status of every stream is repeated."
    )
    start_distance_seconds: float = Field(
        0.02, ge=0, le=5, description="Time between the starts of two connections."
    )
    reconnect_first_seconds: float = Field(
        0.5, ge=0.05, le=60, description="Longest wait before the first new attempt to connect."
    )
    reconnect_longest_seconds: float = Field(
        30.0, ge=1, le=600, description="Longest wait between attempts to connect."
    )
    refused_wait_seconds: float = Field(
        30.0,
        ge=1,
        le=3600,
        description="Shortest wait before a new attempt after a camera refused the credentials:"
        " cameras lock accounts that knock too often.",
    )
    engine_threads: int = Field(1, ge=1, le=64, description="Receiving threads.")
    tick_seconds: float = Field(
        0.1, ge=0.005, le=1, description="How often the sockets of all cameras are read."
    )
    live_tick_seconds: float = Field(
        0.04, ge=0.005, le=1, description="The same for cameras that somebody watches."
    )
    connect_timeout_seconds: float = Field(
        5.0, ge=0.2, le=60, description="Longest time for name and connection."
    )
    handshake_timeout_seconds: float = Field(
        10.0,
        ge=0.5,
        le=120,
        description="Longest time from the connection to the answer to PLAY; a camera that takes"
        " longer is silent.",
    )
    silence_timeout_seconds: float = Field(
        10.0, ge=1, le=120, description="Without media for this long a camera is silent."
    )
    verify_tls: bool = Field(
        True,
        description="Whether the certificates of rtsps cameras must be trusted.",
    )
    probe_concurrency: int = Field(4, ge=1, le=64, description="Most sources tried at a time.")

    @property
    def instance_name(self) -> str:
        """The name of this ingest process."""
        return self.instance or f"ingest-{socket.gethostname().lower()}"

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        found = []
        if self.live_tick_seconds > self.tick_seconds:
            found.append(
                Suspicion(
                    "live_tick_seconds",
                    "cameras are read less often when somebody watches than when nobody does",
                    "write a value not above tick_seconds",
                )
            )
        if self.segment_seconds > _LONG_SEGMENT_SECONDS:
            found.append(
                Suspicion(
                    "segment_seconds",
                    f"footage is listed only {self.segment_seconds} s after it was recorded",
                    "the default of 30 lists it sooner at little cost",
                )
            )
        if self.spool_quota_bytes < _SMALL_QUOTA_BYTES:
            found.append(
                Suspicion(
                    "spool_quota_bytes",
                    "the spool holds less than ten minutes of one camera of 4 Mbit/s",
                    "give it room for as long as the store may be away",
                )
            )
        if self.spool_sync is SyncPolicy.SEGMENT:
            found.append(
                Suspicion(
                    "spool_sync",
                    "a power cut costs up to a segment of every camera",
                    "write fragment unless the disk cannot keep up",
                )
            )
        return found
