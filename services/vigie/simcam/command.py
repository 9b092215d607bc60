"""Body of ``vigie simcam``: options in, a running simulator until it is told to stop."""

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from vigie.simcam.auth import Credentials
from vigie.simcam.config import CameraConfig, ConfigError, ServerConfig, load_config
from vigie.simcam.footage import FootageSpec
from vigie.simcam.marks import Codec
from vigie.simcam.server import SimCamServer

DEFAULT_PORT: Final = 8554


@dataclass(frozen=True, slots=True)
class SimCamOptions:
    """What the command line can say; with ``config`` the file says everything.

    Attributes:
        config: TOML or JSON file (see `ServerConfig`); None: the options below.
        cameras: how many, named cam-01, cam-02 and so on.
        host: address to listen on.
        port: RTSP port; 0: the kernel chooses.
        port_per_camera: consecutive ports from ``port``, so that a camera can refuse.
        control_port: of the control protocol; 0: the kernel chooses.
        codec: "h264" or "h265".
        width: of the pictures, in pixels.
        height: of the pictures, in pixels.
        frames_per_second: rate, also as a fraction ("30000/1001").
        loop_seconds: length of the footage.
        gop_seconds: between key frames.
        b_frames: consecutive B-frames.
        bitrate_bps: bits a second and camera.
        source: an MP4 file to serve instead of a drawn scene.
        username: with ``password``: what viewers must present; empty: nothing.
        password: see ``username``.
        cache_folder: where footage is kept.
        duration_seconds: stop after this; None: on SIGINT or SIGTERM.
    """

    config: Path | None = None
    cameras: int = 8
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    port_per_camera: bool = False
    control_port: int = 0
    codec: Codec = "h264"
    width: int = 640
    height: int = 360
    frames_per_second: str = "25"
    loop_seconds: float = 10.0
    gop_seconds: float = 1.0
    b_frames: int = 0
    bitrate_bps: int = 500_000
    source: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    cache_folder: Path = Path(".simcam-cache")
    duration_seconds: float | None = None


def camera_ids(count: int) -> list[str]:
    """``cam-01`` to ``cam-NN``, with as many digits as the last one needs (two at least)."""
    digits = max(2, len(str(count)))
    return [f"cam-{number:0{digits}d}" for number in range(1, count + 1)]


def config_of(options: SimCamOptions) -> ServerConfig:
    """The configuration the options stand for.

    Raises:
        ConfigError: a file that cannot be used, or an option out of range.
    """
    if options.config is not None:
        return load_config(options.config)
    try:
        rate = Fraction(options.frames_per_second)
        footage = FootageSpec(
            codec=options.codec,
            width=options.width,
            height=options.height,
            frames_per_second=rate,
            frame_count=max(1, round(rate * Fraction(options.loop_seconds))),
            gop_frames=max(1, round(rate * Fraction(options.gop_seconds))),
            b_frames=options.b_frames,
            bitrate_bps=options.bitrate_bps,
            source=options.source,
        )
        credentials = (
            Credentials(username=options.username, password=options.password)
            if options.username
            else None
        )
        return ServerConfig(
            cameras=tuple(
                CameraConfig(
                    id=name,
                    footage=footage,
                    credentials=credentials,
                    port=options.port + index if options.port and options.port_per_camera else 0,
                )
                for index, name in enumerate(camera_ids(options.cameras))
            ),
            host=options.host,
            port=options.port,
            port_per_camera=options.port_per_camera,
            control_port=options.control_port,
            cache_folder=options.cache_folder,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {first['msg']}") from error
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(str(error)) from error


def ready_line(server: SimCamServer) -> str:
    """One line of JSON for whoever started the simulator: ports and URLs, no passwords."""
    control = server.config.control_port
    return json.dumps(
        {
            "control_port": server.control_port if control is not None else None,
            "cameras": {camera: server.url(camera) for camera in server.cameras},
        }
    )


async def run_simcam(
    options: SimCamOptions, on_ready: Callable[[SimCamServer], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM, or for ``duration_seconds``.

    Args:
        options: see `SimCamOptions`.
        on_ready: called once all cameras can be viewed.

    Raises:
        ConfigError: see `config_of`.
        FootageError: footage cannot be made.
        OSError: a port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with SimCamServer(config_of(options)) as server:
            if on_ready is not None:
                on_ready(server)
            try:
                await asyncio.wait_for(stop.wait(), options.duration_seconds)
            except TimeoutError:
                return
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
