"""The stage: a folder, the simulated cameras and the product as processes, a client a person."""

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

import grpc.aio

from vigie.access.module import development_issuer
from vigie.access.settings import AccessConfig
from vigie.demo.estate import CAMERAS, PEOPLE
from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.grpc.client import StubType, open_channel
from vigie.simcam import ServerConfig
from vigie.simcam.client import SimCamProcess

MARKER: Final = "demo.json"
SEGMENT_SECONDS: Final = 2
_READY_SECONDS: Final = 60
_STOP_SECONDS: Final = 40
_POLL_SECONDS: Final = 0.1
_DAY_SECONDS: Final = 86_400


class StageError(Exception):
    """The demonstration cannot begin or go on; one line says why."""


class _FixedToken:
    """A token source that always shows the same token."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """See `TokenSource.token`."""
        return self._token


class Stage:
    """Everything the demonstration runs on; an async context manager."""

    def __init__(
        self,
        folder: Path,
        wall_clock: WallClock,
        monotonic_clock: MonotonicClock,
        *,
        listen: str = "127.0.0.1:0",
        http: str = "127.0.0.1:0",
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._listen, self._http = listen, http
        self._wall_clock = wall_clock
        self._clock = monotonic_clock
        self._closing = AsyncExitStack()
        self._process: asyncio.subprocess.Process | None = None
        self._addresses: dict[str, Any] = {}
        self.cameras: SimCamProcess

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._clear)
        config = ServerConfig(
            cameras=tuple(camera.simulated() for camera in CAMERAS),
            port_per_camera=True,
            cache_folder=self.folder / "cameras",
        )
        self.cameras = SimCamProcess(config, self.folder)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()
        if self._process is not None and self._process.returncode is None:
            await self.stop_product()

    def _clear(self) -> None:
        """Begin anew, but never in a folder that holds something else."""
        if self.folder.exists() and any(self.folder.iterdir()):
            ours = (self.folder / MARKER).exists() or (self.folder / "vigie.toml").exists()
            if not ours:
                raise StageError(f"{self.folder} is not empty and not of a demonstration")
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    async def start_cameras(self) -> None:
        """Make the footage (first time: a few seconds) and serve it."""
        await self.cameras.start()
        self._closing.push_async_callback(self.cameras.stop)

    async def start_product(self) -> None:
        """`vigie up` on embedded defaults; returns when it is ready.

        Raises:
            StageError: it ended, or was not ready in time.
        """
        await asyncio.to_thread(self._write_files)
        log = await asyncio.to_thread((self.folder / "vigie.log").open, "wb")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "vigie", "up", "--config", str(self.folder / "vigie.toml"),
                stdout=log, stderr=log,
            )  # fmt: skip
        run_file = self.data / "run.json"
        deadline = self._clock.now_us() + _READY_SECONDS * 1_000_000
        while not await asyncio.to_thread(run_file.exists):
            if self._process.returncode is not None:
                raise StageError(f"vigie up ended: see {self.folder / 'vigie.log'}")
            if self._clock.now_us() > deadline:
                raise StageError(f"vigie up is not ready: see {self.folder / 'vigie.log'}")
            await self._clock.sleep(_POLL_SECONDS)
        self._addresses = json.loads(await asyncio.to_thread(run_file.read_text, "utf-8"))

    def _write_files(self) -> None:
        (self.folder / "people.toml").write_text(PEOPLE, "utf-8")
        text = (
            f'[data]\ndirectory = "data"\nstore_directory = "store"\n'
            f'[grpc]\nlisten = ["{self._listen}"]\n[http]\nlisten = "{self._http}"\n'
            f'[access]\npeople_file = "people.toml"\n'
            f"[ingest]\nsegment_seconds = {SEGMENT_SECONDS}\n"
            f'[evidence]\ninstallation = "Vigie, démonstration"\n'
        )
        (self.folder / "vigie.toml").write_text(text, "utf-8")

    async def stop_product(self) -> int:
        """SIGTERM, and the exit code of an orderly stop."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            return await process.wait()

    @property
    def address(self) -> str:
        """Where the product serves gRPC."""
        return str(self._addresses["grpc"])

    @property
    def http_address(self) -> str:
        """Where it serves metrics and health."""
        return str(self._addresses["http"])

    def token(self, person: str) -> str:
        """A token of the embedded issuer, valid for a day."""
        issuer = development_issuer(AccessConfig(), self.data, self._wall_clock)
        return issuer.create_token(person, _DAY_SECONDS)

    def client(self, make: Callable[[grpc.aio.Channel], StubType], person: str | None) -> StubType:
        """A stub in the name of a person; ``None``: without a token."""
        source = None if person is None else _FixedToken(self.token(person))
        channel = open_channel(self.address, source=source, default_timeout_seconds=60)
        self._closing.push_async_callback(channel.close, None)
        return make(channel)
