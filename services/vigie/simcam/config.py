"""What a simulator is told: cameras, addresses, schedule of faults. Strict: no unknown keys."""

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vigie.simcam.auth import Credentials
from vigie.simcam.faults import ScheduledFault
from vigie.simcam.footage import FootageSpec
from vigie.simcam.quirks import Quirk


class ConfigError(Exception):
    """The configuration cannot be used; one line says what and where."""


class CameraConfig(BaseModel):
    """One simulated camera.

    Attributes:
        id: its name and first element of its path.
        footage: what it shows; cameras with equal footage share it.
        credentials: what it asks for; None lets everybody in.
        port: own port with ``port_per_camera`` (0: the kernel chooses).
        has_audio: the description also offers a sound track.
        in_band_parameter_sets: sent before each key frame; False: only in the description.
        session_timeout_seconds: a session without requests or RTCP for longer is dropped.
        quirks: peculiarities (see `Quirk`).
        starts_at_key_frame: False: a new viewer gets whatever frame comes next.
        clock_offset_seconds: how wrong the camera's clock is from the start.
        clock_drift_ppm: how fast it runs away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    footage: FootageSpec = FootageSpec()
    credentials: Credentials | None = None
    port: int = Field(default=0, ge=0, le=65_535)
    has_audio: bool = False
    in_band_parameter_sets: bool = True
    session_timeout_seconds: int = Field(default=60, ge=1)
    quirks: frozenset[Quirk] = frozenset()
    starts_at_key_frame: bool = True
    clock_offset_seconds: float = 0.0
    clock_drift_ppm: float = 0.0

    @model_validator(mode="after")
    def _parameter_sets_are_somewhere(self) -> "CameraConfig":
        if Quirk.NO_SPROP in self.quirks and not self.in_band_parameter_sets:
            raise ValueError("parameter sets neither in-band nor in the description")
        return self


class TlsFiles(BaseModel):
    """Certificate chain and private key (PEM) for rtsps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate: Path
    private_key: Path


class ServerConfig(BaseModel):
    """A simulator process.

    Attributes:
        cameras: at least one; ids differ.
        host: address to listen on.
        port: shared by all cameras (path = id); 0: the kernel chooses.
        port_per_camera: each camera has its own listener instead, so that it can really refuse.
        control_port: JSON lines on loopback; 0: the kernel chooses; None: no control port.
        tls: serve rtsps on all ports.
        schedule: faults by the clock.
        cache_folder: where footage is kept.
        tick_milliseconds: frames that fall due within a tick are sent together.
        sender_report_seconds: interval of RTCP sender reports.
        backlog_bytes: a client that lets more than this pile up is disconnected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cameras: tuple[CameraConfig, ...] = Field(min_length=1)
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65_535)
    port_per_camera: bool = False
    control_port: int | None = Field(default=0, ge=0, le=65_535)
    tls: TlsFiles | None = None
    schedule: tuple[ScheduledFault, ...] = ()
    cache_folder: Path = Path(".simcam-cache")
    tick_milliseconds: int = Field(default=10, ge=1, le=1000)
    sender_report_seconds: float = Field(default=5.0, gt=0)
    backlog_bytes: int = Field(default=8 * 1024 * 1024, ge=64 * 1024)

    @model_validator(mode="after")
    def _names_agree(self) -> "ServerConfig":
        ids = [camera.id for camera in self.cameras]
        if len(set(ids)) != len(ids):
            raise ValueError("two cameras have the same id")
        unknown = {fault.camera for fault in self.schedule} - set(ids)
        if unknown:
            raise ValueError(f"the schedule names unknown cameras: {', '.join(sorted(unknown))}")
        return self


def load_config(path: Path) -> ServerConfig:
    """Read a TOML (or JSON) file.

    Raises:
        ConfigError: unreadable, no TOML or JSON, unknown key, or a value out of range.
    """
    try:
        text = path.read_text("utf-8")
        data: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse_config(data, str(path))


def parse_config(data: Any, origin: str) -> ServerConfig:
    """Check configuration that was read from ``origin``.

    Raises:
        ConfigError: with every wrong key and value in one line.
    """
    try:
        return ServerConfig.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigError(f"{origin}: {problems}") from error
