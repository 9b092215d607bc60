"""Switches faults of cameras on and off, now or by a schedule."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final

from vigie.simcam.auth import Authenticator, Credentials
from vigie.simcam.camera import Camera
from vigie.simcam.clock import Clock
from vigie.simcam.config import CameraConfig
from vigie.simcam.connection import Connection
from vigie.simcam.faults import (
    ENDS_SESSIONS,
    FOOTAGE_FAULTS,
    Fault,
    FaultRequest,
    ScheduledFault,
)
from vigie.simcam.footage import FootageSpec
from vigie.simcam.packetize import PreparedFootage

_MICROSECONDS: Final = 1_000_000
_OTHER_LEVEL: Final = {"h264": 51, "h265": 153}  # 5.1; level_idc of H.265 is 30 times the level

Prepare = Callable[[FootageSpec, CameraConfig], Coroutine[Any, Any, PreparedFootage]]


class Injector:
    """Applies faults to cameras.

    Args:
        clock: monotonic, for authentication.
        connections: the open ones (of one camera).
        prepare: makes footage off the loop.
        set_listening: opens or closes a camera's own port, if it has one.
    """

    def __init__(
        self,
        clock: Clock,
        connections: Callable[[Camera], list[Connection]],
        prepare: Prepare,
        set_listening: Callable[[Camera, bool], Coroutine[Any, Any, None]],
    ) -> None:
        self._clock = clock
        self._connections = connections
        self._prepare = prepare
        self._set_listening = set_listening
        self._tasks: set[asyncio.Task[None]] = set()
        self._endings: dict[tuple[str, Fault], asyncio.Task[None]] = {}

    async def inject(self, camera: Camera, request: FaultRequest) -> dict[str, int]:
        """Let the fault happen, or begin.

        Returns:
            ``streams``: sessions it meets; with a change of footage also ``first_frame``, the
            decode number from which it shows; with a clock jump nothing more.

        Raises:
            FootageError: the other footage cannot be made.
        """
        connections = self._connections(camera)
        result = {"streams": sum(c.stream is not None for c in connections)}
        if request.fault in FOOTAGE_FAULTS:
            spec = other_footage(camera.config.footage, request)
            result["first_frame"] = await self._change_footage(camera, spec)
        if request.happens_once:
            self._once(camera, request, connections)
            return result
        await self.clear(camera, request.fault, keep_footage=True)
        camera.active[request.fault] = request
        await self._begin(camera, request, connections)
        if request.duration_seconds is not None:
            key = (camera.id, request.fault)
            self._endings[key] = self._spawn(self._end_later(camera, request))
        return result

    async def clear(
        self, camera: Camera, fault: Fault | None = None, *, keep_footage: bool = False
    ) -> None:
        """End a lasting fault, or all of them; normal service resumes."""
        for ended in [fault] if fault is not None else list(camera.active):
            ending = self._endings.pop((camera.id, ended), None)
            if ending is not None and ending is not asyncio.current_task():
                ending.cancel()
            if camera.active.pop(ended, None) is None:
                continue
            if ended is Fault.UNREACHABLE:
                await self._set_listening(camera, True)
            elif ended in (Fault.DEMAND_AUTHENTICATION, Fault.CHANGE_PASSWORD):
                camera.authenticator = self._authenticator(camera.config.credentials)
            elif ended is Fault.CLOCK_DRIFT:
                camera.clock.set_drift(camera.config.clock_drift_ppm, camera.now_us())
            elif ended in FOOTAGE_FAULTS and not keep_footage:
                await self._change_footage(camera, camera.config.footage)

    def schedule(self, camera: Camera, planned: ScheduledFault) -> None:
        """Inject by the clock from now on."""
        self._spawn(self._on_schedule(camera, planned))

    async def stop(self) -> None:
        """Cancel what is planned."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end_later(self, camera: Camera, request: FaultRequest) -> None:
        await asyncio.sleep(request.duration_seconds or 0)
        await self.clear(camera, request.fault)

    async def _on_schedule(self, camera: Camera, planned: ScheduledFault) -> None:
        await asyncio.sleep(planned.at_seconds)
        while True:
            await self.inject(camera, planned)
            if planned.every_seconds is None:
                return
            await asyncio.sleep(planned.every_seconds)

    def _authenticator(self, credentials: Credentials | None) -> Authenticator | None:
        return Authenticator(credentials, self._clock) if credentials is not None else None

    def _once(self, camera: Camera, request: FaultRequest, connections: list[Connection]) -> None:
        if request.fault is Fault.CLOCK_JUMP:
            jump_us = round(request.parameters.seconds * _MICROSECONDS)
            camera.clock.jump(jump_us, reports_only=request.parameters.reports_only)
        elif request.fault is Fault.STALE_NONCES:
            if camera.authenticator is not None:
                camera.authenticator.forget_nonces()
        else:
            for connection in connections:
                if request.fault is Fault.EXPIRE_SESSION:
                    connection.end_session()
                elif connection.stream is not None:
                    connection.stream.inject(request)

    async def _begin(
        self, camera: Camera, request: FaultRequest, connections: list[Connection]
    ) -> None:
        if request.fault is Fault.UNREACHABLE:
            await self._set_listening(camera, False)
        elif request.fault is Fault.DEMAND_AUTHENTICATION:
            impossible = Credentials(username="nobody", password=secrets.token_hex(16))
            camera.authenticator = self._authenticator(impossible)
        elif request.fault is Fault.CHANGE_PASSWORD:
            present = camera.config.credentials or Credentials(username="admin", password="")
            changed = present.model_copy(update={"password": request.parameters.password})
            camera.authenticator = self._authenticator(changed)
        elif request.fault is Fault.CLOCK_DRIFT:
            camera.clock.set_drift(request.parameters.ppm, camera.now_us())
        if request.fault in ENDS_SESSIONS and not request.parameters.keep_sessions:
            for connection in connections:
                connection.end_session()
                connection.abort()

    async def _change_footage(self, camera: Camera, spec: FootageSpec) -> int:
        prepared = await self._prepare(spec, camera.config)
        streams = [c.stream for c in self._connections(camera) if c.stream is not None]
        not_before = max([camera.next_due(), *(stream.next_decode for stream in streams)])
        return camera.change_footage(prepared, not_before)


def other_footage(spec: FootageSpec, request: FaultRequest) -> FootageSpec:
    """What a camera shows after a change of parameters, resolution or codec."""
    if request.fault is Fault.CHANGE_PARAMETERS:
        return spec.model_copy(update={"level_idc": _OTHER_LEVEL[spec.codec]})
    if request.fault is Fault.CHANGE_CODEC:
        codec = "h264" if spec.codec == "h265" else "h265"
        return spec.model_copy(update={"codec": codec, "level_idc": None, "source": None})
    width, height = request.parameters.width, request.parameters.height
    if width is None or height is None:
        small, large = (320, 180), (640, 360)
        width, height = small if (spec.width, spec.height) != small else large
    return spec.model_copy(update={"width": width, "height": height, "source": None})
