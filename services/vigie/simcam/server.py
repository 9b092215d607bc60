"""The simulator: listeners, cameras, clocks and faults put together. `SimCamServer` is its API."""

import asyncio
import ssl
from contextlib import suppress
from typing import Final, Self

from vigie.simcam.camera import Camera, ExpectedFrame
from vigie.simcam.clock import Clock, SystemMonotonic, SystemWall
from vigie.simcam.config import CameraConfig, ServerConfig
from vigie.simcam.connection import Connection
from vigie.simcam.control import ControlPort
from vigie.simcam.faults import Fault, FaultParameters, FaultRequest
from vigie.simcam.footage import FootageCache, FootageSpec
from vigie.simcam.injection import Injector
from vigie.simcam.pacer import Pacer
from vigie.simcam.packetize import PreparedFootage
from vigie.simcam.quirks import PACKET_QUIRKS, Quirk

_TIMEOUT_CHECK_SECONDS: Final = 1.0
_BACKLOG: Final = 512


class SimCamServer:
    """Simulated RTSP cameras on real sockets.

    Use as ``async with SimCamServer(config) as server`` or call `start` and `stop`.

    Args:
        config: cameras and addresses.
        wall: true time of day; read once at start.
        monotonic: paces the frames.
        cache: footage; by default the folder of the configuration.
    """

    def __init__(
        self,
        config: ServerConfig,
        wall: Clock | None = None,
        monotonic: Clock | None = None,
        cache: FootageCache | None = None,
    ) -> None:
        self.config = config
        self._wall: Clock = wall or SystemWall()
        self._monotonic: Clock = monotonic or SystemMonotonic()
        self._cache = cache or FootageCache(config.cache_folder)
        self.pacer = Pacer(self._monotonic, config.tick_milliseconds * 1000)
        self.report_us = round(config.sender_report_seconds * 1_000_000)
        self.backlog_limit = config.backlog_bytes
        self.cameras: dict[str, Camera] = {}
        self._prepared: dict[tuple[str, bool, frozenset[Quirk]], PreparedFootage] = {}
        self._connections: set[Connection] = set()
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        self._listeners: dict[str, asyncio.Server] = {}
        self._ports: dict[str, int] = {}
        self._control = ControlPort(self) if config.control_port is not None else None
        self._timeouts: asyncio.Task[None] | None = None
        self.injector = Injector(
            self._monotonic, self.connections_of, self._prepare, self._set_listening
        )

    # --- life ---

    async def start(self) -> None:
        """Make the footage, listen, begin to capture, start the schedule.

        Raises:
            FootageError: footage cannot be made.
            OSError: a port is taken.
        """
        wanted = {camera.footage for camera in self.config.cameras}
        await asyncio.gather(*(asyncio.to_thread(self._cache.get, spec) for spec in wanted))
        for camera in self.config.cameras:
            await self.add_camera(camera)
        if not self.config.port_per_camera:
            await self._listen("", self.config.port)
        if self._control is not None:
            await self._control.start(self.config.control_port or 0)
        for planned in self.config.schedule:
            self.injector.schedule(self.cameras[planned.camera], planned)
        self._timeouts = asyncio.get_running_loop().create_task(self._check_timeouts())

    async def stop(self) -> None:
        """Close everything; viewers see a closed connection."""
        if self._timeouts is not None:
            self._timeouts.cancel()
            with suppress(asyncio.CancelledError):
                await self._timeouts
        await self.injector.stop()
        if self._control is not None:
            await self._control.stop()
        self.pacer.stop()
        listeners = list(self._listeners.values())
        self._listeners.clear()
        for listener in listeners:
            listener.close()
        for connection in list(self._connections):
            connection.end_session()
            connection.abort()
        for listener in listeners:
            await listener.wait_closed()
        await self._all_closed.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def add_camera(self, config: CameraConfig) -> Camera:
        """Put another camera into service.

        Raises:
            ValueError: the id exists.
            FootageError, OSError: see `start`.
        """
        if config.id in self.cameras:
            raise ValueError(f"camera {config.id} exists")
        prepared = await self._prepare(config.footage, config)
        camera = Camera(config, prepared, self._wall, self._monotonic)
        self.cameras[config.id] = camera
        if self.config.port_per_camera:
            await self._listen(config.id, config.port)
        return camera

    # --- what tests and demos ask ---

    @property
    def port(self) -> int:
        """The shared port."""
        return self._ports[""]

    @property
    def control_port(self) -> int:
        """The port of the control protocol."""
        if self._control is None:
            raise ValueError("this simulator has no control port")
        return self._control.port

    def url(self, camera_id: str, *, with_credentials: bool = False) -> str:
        """The RTSP URL of a camera."""
        camera = self.cameras[camera_id]
        url = self.base_url(camera)
        credentials = camera.config.credentials
        if with_credentials and credentials is not None:
            return url.replace("://", f"://{credentials.username}:{credentials.password}@", 1)
        return url

    def expected(self, camera_id: str, decode_number: int) -> ExpectedFrame:
        """A frame exactly as it was (or will be) sent."""
        return self.cameras[camera_id].expected(decode_number)

    async def inject(
        self,
        camera_id: str,
        fault: Fault,
        *,
        duration_seconds: float | None = None,
        parameters: FaultParameters | None = None,
    ) -> dict[str, int]:
        """Let a fault happen; see `Injector.inject`."""
        request = FaultRequest(
            fault=fault,
            duration_seconds=duration_seconds,
            parameters=parameters or FaultParameters(),
        )
        return await self.injector.inject(self.cameras[camera_id], request)

    async def clear(self, camera_id: str, fault: Fault | None = None) -> None:
        """End a fault or all faults of a camera."""
        await self.injector.clear(self.cameras[camera_id], fault)

    def session_count(self, camera_id: str) -> int:
        """Sessions that play."""
        return sum(c.stream is not None for c in self.connections_of(self.cameras[camera_id]))

    # --- Host, for connections ---

    def camera_of_path(self, path: str, port: int) -> Camera | None:
        """See `Host.camera_of_path`."""
        if self.config.port_per_camera:
            return next((c for c in self.cameras.values() if self._ports.get(c.id) == port), None)
        return self.cameras.get(path.partition("/")[0])

    def base_url(self, camera: Camera) -> str:
        """See `Host.base_url`."""
        scheme = "rtsps" if self.config.tls else "rtsp"
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        port = self._ports[camera.id if self.config.port_per_camera else ""]
        return f"{scheme}://{host}:{port}/{camera.id}"

    def opened(self, connection: Connection) -> None:
        """See `Host.opened`."""
        self._connections.add(connection)
        self._all_closed.clear()

    def closed(self, connection: Connection) -> None:
        """See `Host.closed`."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_closed.set()

    def connections_of(self, camera: Camera) -> list[Connection]:
        """Open connections that spoke of this camera."""
        return [c for c in self._connections if c.camera is camera]

    # --- inside ---

    async def _prepare(self, spec: FootageSpec, config: CameraConfig) -> PreparedFootage:
        footage = await asyncio.to_thread(self._cache.get, spec)
        in_band, quirks = config.in_band_parameter_sets, config.quirks & PACKET_QUIRKS
        key = (footage.key, in_band, quirks)
        if key not in self._prepared:
            self._prepared[key] = await asyncio.to_thread(
                PreparedFootage, footage, in_band=in_band, quirks=quirks
            )
        return self._prepared[key]

    async def _listen(self, key: str, port: int) -> None:
        context = None
        if self.config.tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.config.tls.certificate, self.config.tls.private_key)
        listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(self, self._monotonic.now_us),
            self.config.host,
            port,
            ssl=context,
            backlog=_BACKLOG,
        )
        self._listeners[key] = listener
        self._ports[key] = listener.sockets[0].getsockname()[1]

    async def _set_listening(self, camera: Camera, listening: bool) -> None:  # noqa: FBT001 - the shape of a port
        if not self.config.port_per_camera:
            return  # a shared port cannot refuse for one camera: its connections are reset
        if listening:
            await self._listen(camera.id, self._ports[camera.id])
        else:
            self._listeners.pop(camera.id).close()

    async def _check_timeouts(self) -> None:
        while True:
            await asyncio.sleep(_TIMEOUT_CHECK_SECONDS)
            now_us = self._monotonic.now_us()
            for connection in list(self._connections):
                connection.check_timeout(now_us)
