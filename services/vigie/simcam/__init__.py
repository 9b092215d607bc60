"""Simulated RTSP cameras, with faults on demand: for demos, tests and load."""

from vigie.simcam.auth import Credentials
from vigie.simcam.camera import Camera, ExpectedFrame
from vigie.simcam.config import CameraConfig, ConfigError, ServerConfig, TlsFiles, load_config
from vigie.simcam.faults import FAULTS, Fault, FaultParameters, FaultRequest, ScheduledFault
from vigie.simcam.footage import Footage, FootageCache, FootageError, FootageSpec
from vigie.simcam.marks import (
    FrameMark,
    decode_blocks,
    mark_of_annexb,
    mark_of_nal,
    mark_of_sample,
)
from vigie.simcam.quirks import Quirk
from vigie.simcam.server import SimCamServer

__all__ = [
    "FAULTS",
    "Camera",
    "CameraConfig",
    "ConfigError",
    "Credentials",
    "ExpectedFrame",
    "Fault",
    "FaultParameters",
    "FaultRequest",
    "Footage",
    "FootageCache",
    "FootageError",
    "FootageSpec",
    "FrameMark",
    "Quirk",
    "ScheduledFault",
    "ServerConfig",
    "SimCamServer",
    "TlsFiles",
    "decode_blocks",
    "load_config",
    "mark_of_annexb",
    "mark_of_nal",
    "mark_of_sample",
]
