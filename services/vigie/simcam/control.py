"""The control port: one JSON object a line in, one a line out, on loopback.

Requests have ``op`` and mostly ``camera``; answers have ``ok`` and, if false, ``error``:

======== ======================================== ===========================================
op       further fields                           answer
======== ======================================== ===========================================
status                                            ``worst_lateness_us`` since the last one
cameras                                           ``cameras``: id, url, state, counters
inject   fault, parameters, duration_seconds      see `Injector.inject`
clear    fault (or none for all)
frames   first, last (decode numbers, inclusive)  ``frames``: numbers, capture_us, hashes
sample   number (decode number)                   ``nals``: base64, in sending order
sent                                              ``spans``, ``damaged``, ``next_due``
======== ======================================== ===========================================
"""

import asyncio
import base64
import json
from typing import Any, Final, Protocol

from pydantic import ValidationError

from vigie.simcam.camera import Camera
from vigie.simcam.faults import Fault, FaultRequest
from vigie.simcam.footage import FootageError
from vigie.simcam.injection import Injector
from vigie.simcam.pacer import Pacer

_LINE_BYTES: Final = 1 << 20
_FRAMES_LIMIT: Final = 10_000


class Simulator(Protocol):
    """What the control port needs of the server."""

    cameras: dict[str, Camera]
    injector: Injector
    pacer: Pacer

    def url(self, camera_id: str, *, with_credentials: bool = False) -> str:
        """The RTSP URL of a camera."""
        ...

    def session_count(self, camera_id: str) -> int:
        """Sessions that play."""
        ...


class ControlError(Exception):
    """A request that cannot be done; the message goes into the answer."""


class ControlPort:
    """Listens on loopback for requests (see the module)."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, port: int) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=_LINE_BYTES)

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                answer = await self._answer(line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the client went away, or sent a line beyond the limit
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": True} | await self._do(_parse(line))
        except ValidationError as error:
            return {"ok": False, "error": str(error.errors()[0]["msg"])}
        except (ControlError, FootageError, ValueError) as error:
            return {"ok": False, "error": str(error)}

    async def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        operation = request.pop("op", None)
        if operation == "status":
            return {"worst_lateness_us": self._simulator.pacer.take_worst_lateness_us()}
        if operation == "cameras":
            return {"cameras": [self._describe(c) for c in self._simulator.cameras.values()]}
        camera = self._simulator.cameras.get(str(request.pop("camera", "")))
        if camera is None:
            raise ControlError("no such camera")
        return await self._do_for(camera, operation, request)

    async def _do_for(
        self, camera: Camera, operation: Any, request: dict[str, Any]
    ) -> dict[str, Any]:
        if operation == "inject":
            fault = FaultRequest.model_validate(request)
            return dict(await self._simulator.injector.inject(camera, fault))
        if operation == "clear":
            name = request.get("fault")
            await self._simulator.injector.clear(camera, Fault(name) if name else None)
            return {}
        if operation == "frames":
            return {
                "frames": _frames(camera, _integer(request, "first"), _integer(request, "last"))
            }
        if operation == "sample":
            nals = camera.expected(_integer(request, "number")).nals
            return {"nals": [base64.b64encode(nal).decode() for nal in nals]}
        if operation == "sent":
            return _sent(camera)
        raise ControlError(f"no such op: {operation}")

    def _describe(self, camera: Camera) -> dict[str, Any]:
        footage = camera.prepared.footage
        return {
            "id": camera.id,
            "url": self._simulator.url(camera.id),
            "codec": footage.codec,
            "width": footage.width,
            "height": footage.height,
            "frames_per_second": str(footage.frames_per_second),
            "loop_frames": camera.prepared.frame_count,
            "capture_us_of_frame_0": camera.capture_us(0),
            "sessions": self._simulator.session_count(camera.id),
            "frames_sent": camera.frames_sent,
            "overruns": camera.overruns,
            "audio_setups": camera.audio_setups,
            "receiver_reports": camera.receiver_reports,
            "faults": [fault.value for fault in camera.active],
        }


def _parse(line: bytes) -> dict[str, Any]:
    request = json.loads(line)
    if not isinstance(request, dict):
        raise ControlError("a request is a JSON object")
    return request


def _integer(request: dict[str, Any], name: str) -> int:
    value = request.get(name)
    if not isinstance(value, int) or value < 0:
        raise ControlError(f"{name} must be a number from 0 on")
    return value


def _frames(camera: Camera, first: int, last: int) -> list[dict[str, Any]]:
    if not 0 <= last - first < _FRAMES_LIMIT:
        raise ControlError(f"first and last must span 1 to {_FRAMES_LIMIT} frames")
    return [
        {
            "decode_number": number,
            "frame_number": frame.mark.frame_number,
            "capture_us": frame.mark.capture_us,
            "is_key": frame.is_key,
            "sha256": frame.sha256,
            "media_sha256": frame.media_sha256,
        }
        for number in range(first, last + 1)
        for frame in (camera.expected(number),)
    ]


def _sent(camera: Camera) -> dict[str, Any]:
    return {
        "spans": [
            {"session": span.session, "first": span.first, "last": span.last}
            for span in camera.sent.spans
        ],
        "damaged": [
            {"decode_number": number, "fault": fault.value} for number, fault in camera.sent.damaged
        ],
        "next_due": camera.next_due(),
    }
