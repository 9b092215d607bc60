"""For tests and demos: the simulator as a child process, and a client of its control port."""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any, Final, Self

from vigie.simcam.config import ServerConfig
from vigie.simcam.faults import Fault, FaultParameters

_LINE_BYTES: Final = 64 << 20


class ControlRefusedError(Exception):
    """The simulator answered a control request with an error; the message says which."""


class ControlClient:
    """Speaks the control protocol of `vigie.simcam.control`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Connect on loopback.

        Raises:
            OSError: nobody listens.
        """
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=_LINE_BYTES))

    async def close(self) -> None:
        """Disconnect."""
        self._writer.close()
        await self._writer.wait_closed()

    async def call(self, operation: str, **fields: Any) -> dict[str, Any]:
        """One request, one answer.

        Raises:
            ControlRefusedError: the simulator cannot do it.
            ConnectionError: it is gone.
        """
        async with self._turn:
            self._writer.write(json.dumps({"op": operation, **fields}).encode() + b"\n")
            await self._writer.drain()
            line = await self._reader.readline()
        if not line:
            raise ConnectionError("the simulator closed the control connection")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise ControlRefusedError(answer["error"])
        return answer

    async def worst_lateness_us(self) -> int:
        """How late the simulator itself was at worst since the last call."""
        return int((await self.call("status"))["worst_lateness_us"])

    async def cameras(self) -> dict[str, dict[str, Any]]:
        """State and counters of all cameras by id."""
        return {c["id"]: c for c in (await self.call("cameras"))["cameras"]}

    async def inject(
        self,
        camera: str,
        fault: Fault,
        *,
        duration_seconds: float | None = None,
        parameters: FaultParameters | None = None,
    ) -> dict[str, Any]:
        """Let a fault happen; see `Injector.inject` for the answer."""
        return await self.call(
            "inject",
            camera=camera,
            fault=fault.value,
            duration_seconds=duration_seconds,
            parameters=(parameters or FaultParameters()).model_dump(),
        )

    async def clear(self, camera: str, fault: Fault | None = None) -> None:
        """End one lasting fault, or all."""
        await self.call("clear", camera=camera, fault=fault.value if fault else None)

    async def frames(self, camera: str, first: int, last: int) -> list[dict[str, Any]]:
        """Numbers, capture times and hashes of frames by decode number, both ends included."""
        answer = await self.call("frames", camera=camera, first=first, last=last)
        frames: list[dict[str, Any]] = answer["frames"]
        return frames

    async def nals(self, camera: str, decode_number: int) -> list[bytes]:
        """NAL units of one frame exactly as sent."""
        answer = await self.call("sample", camera=camera, number=decode_number)
        return [base64.b64decode(nal) for nal in answer["nals"]]

    async def sent(self, camera: str) -> dict[str, Any]:
        """``spans`` and ``damaged`` of what was sent, and ``next_due``."""
        return await self.call("sent", camera=camera)


class SimCamProcess:
    """The simulator as a child process.

    Use as ``async with SimCamProcess(config, folder) as simulator``.

    Args:
        config: with a control port.
        folder: the configuration file is written here.
    """

    def __init__(self, config: ServerConfig, folder: Path) -> None:
        self._config = config
        self._file = folder / "simcam.json"
        self._process: asyncio.subprocess.Process | None = None
        self._control: ControlClient | None = None
        self.urls: dict[str, str] = {}

    @property
    def process_id(self) -> int:
        """Of the child."""
        assert self._process is not None
        return self._process.pid

    @property
    def control(self) -> ControlClient:
        """Connected to the child."""
        assert self._control is not None
        return self._control

    async def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            ChildProcessError: it ended instead; its message is on standard error.
        """
        text = json.dumps(_config_data(self._config))
        await asyncio.to_thread(self._file.write_text, text, "utf-8")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "vigie.simcam",
            str(self._file),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"simulator ended with code {await self._process.wait()}")
        ready = json.loads(line)
        self.urls = ready["cameras"]
        if ready["control_port"] is not None:
            self._control = await ControlClient.connect(ready["control_port"])

    async def stop(self) -> None:
        """End it and wait for the end."""
        if self._control is not None:
            await self._control.close()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def _config_data(config: ServerConfig) -> dict[str, Any]:
    """The configuration as JSON values, passwords of the simulated cameras included."""
    data: dict[str, Any] = config.model_dump(mode="json")
    return data
