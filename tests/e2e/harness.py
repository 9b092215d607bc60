"""The product and its cameras as real processes on loopback, for the end-to-end tests.

A `Deployment` says which processes the product is made of; tests know only `Installation`, so
that the same scenarios run against one process and against separate services.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import grpc.aio

from certificates import Authority
from e2e.channels import Channels, open_inside, serves_all
from e2e.commands import Outcome, run_vigie
from e2e.configuration import configuration, context_of, find_places
from e2e.external import SERVED, External
from vigie.access.module import development_issuer
from vigie.access.settings import AccessConfig
from vigie.platform.clock import ManualWallClock, SystemWallClock
from vigie.platform.grpc.client import ClientTls, StubType, open_channel
from vigie.simcam import ServerConfig
from vigie.simcam.client import ControlClient, SimCamProcess

T = TypeVar("T")
POLL_SECONDS: Final = 0.1
READY_SECONDS: Final = 180
STOP_SECONDS: Final = 120
_LOG_TAIL_BYTES: Final = 3000
WALL: Final = SystemWallClock()


async def until(
    question: Callable[[], Awaitable[T | None]], what: str, *, seconds: float = 120
) -> T:
    """Ask until the answer is neither ``None`` nor ``False``; the only way tests wait."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await question()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Deployment:
    """How the product is run.

    Attributes:
        name: what ``--deployment`` says.
        targets: process -> arguments after ``vigie``; ``ingest-2`` is a second ingest process.
        serving: context -> process that serves it.
        store: which S3 store, with Kafka and PostgreSQL; ``None``: everything is embedded.
        certified: services know each other by certificates, and not by tokens.
    """

    name: str
    targets: Mapping[str, Sequence[str]]
    serving: Mapping[str, str]
    store: str | None = None
    certified: bool = False

    @property
    def apart(self) -> bool:
        """Whether services are processes of their own."""
        return "gateway" in self.targets


_ONE: Final = {"all": ("up",)}
_SIX: Final = {name: ("serve", name) for name in (*SERVED, "gateway")}
DEPLOYMENTS: Final = {
    each.name: each
    for each in (
        Deployment("one-process", _ONE, dict.fromkeys(SERVED, "all")),
        Deployment("one-process-external", _ONE, dict.fromkeys(SERVED, "all"), "minio"),
        Deployment("six-services", _SIX, dict.fromkeys(SERVED, "gateway"), "minio", certified=True),
        Deployment("six-services-seaweedfs", _SIX, dict.fromkeys(SERVED, "gateway"), "seaweedfs"),
    )
}


@dataclass(slots=True)
class _Running:
    process: asyncio.subprocess.Process
    addresses: dict[str, str] = field(default_factory=dict)


class Installation:
    """One installation of the product in a folder: configuration, data, store, processes, logs.

    Args:
        deployment: the processes it is made of.
        folder: everything lies in it.
        people: content of the people file.
        settings: section -> key -> TOML value, beyond what the harness sets.
        environment: of the processes, beyond that of the test.
        tls: how clients reach it, where ``settings`` make it serve people by TLS.
    """

    def __init__(
        self,
        deployment: Deployment,
        folder: Path,
        people: str,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        tls: ClientTls | None = None,
    ) -> None:
        self._tls = tls
        self._environment = os.environ | dict(environment or {})
        self.deployment = deployment
        self.folder = folder
        self.data = folder / "data"
        self.store = folder / "store"
        self.spool = self.data / "spool"
        self.config_file = folder / "vigie.toml"
        self._people_file = folder / "people.toml"
        self._settings = settings or {}
        self._running: dict[str, _Running] = {}
        self._channels = Channels(tls)
        folder.mkdir(parents=True, exist_ok=True)
        self._external = External.given(deployment.store, folder) if deployment.store else None
        self._prepared = False
        self._administrator: dict[str, str] = {}
        self._checker: dict[str, str] = {}
        self._places: dict[str, str] = {}
        if deployment.apart:
            self._places = find_places(deployment.targets)
        self.write_people(people)
        self._write_config()

    # --- files ---

    def write_people(self, text: str) -> None:
        """Replace the people file, whole, as an administrator's editor does."""
        temporary = self._people_file.with_suffix(".new")
        temporary.write_text(text, "utf-8")
        temporary.replace(self._people_file)

    def _write_config(self) -> None:
        if self.deployment.certified:
            self._authority = Authority(self.folder / "tls")
            for name in (*SERVED, "gateway"):
                self._authority.service(name)
        text = configuration(
            self._settings,
            external=self._external,
            places=self._places,
            certified=self.deployment.certified,
        )
        self.config_file.write_text(text, "utf-8")

    def data_of(self, name: str) -> Path:
        """The data directory of a process."""
        return self.folder / "data-2" if name.endswith("-2") else self.data

    @property
    def external(self) -> External:
        """The servers it stands on; of an installation that is not embedded."""
        assert self._external is not None
        return self._external

    def objects(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Stored objects below ``prefix`` (a folder of keys), read around the product."""
        if self._external is not None:
            yield from self._external.objects(f"{prefix}/")
            return
        root = self.store / prefix
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            yield path.relative_to(self.store).as_posix(), path.read_bytes()

    def spooled(self) -> list[Path]:
        """Footage that waits to be stored."""
        return [path for path in self.spool.rglob("*.m4v") if path.is_file()]

    # --- life ---

    async def start(self) -> None:
        """Start every process; returns when all are ready."""
        if self._external is not None and not self._prepared:
            self._prepared = True
            await self._external.prepare(self.config_file, self._administrator)
        for name, arguments in self.deployment.targets.items():
            await self._launch(name, arguments)
        for name in self.deployment.targets:
            await self._ready(name)
        if self.deployment.apart:
            await self._reached()

    async def _reached(self) -> None:
        """Wait until the gateway has connected to every service, as a load balancer would."""
        async with open_channel(self.address(), source=None, tls=self._tls) as channel:
            await until(lambda: serves_all(channel), "the gateway reaches every service")

    async def _launch(self, name: str, arguments: Sequence[str]) -> None:
        self._run_file(name).unlink(missing_ok=True)
        with self.log_file(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "vigie", *arguments, "--config", str(self.config_file),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._environment | self._own_environment(name),
            )  # fmt: skip
        self._running[name] = _Running(process)

    def _own_environment(self, name: str) -> dict[str, str]:
        own = {}
        if name in self._places:
            own["VIGIE_SERVICES__LISTEN"] = self._places[name]
        if name.endswith("-2"):
            own["VIGIE_DATA__DIRECTORY"] = str(self.data_of(name))
        if context_of(name) == "ingest" and self.deployment.apart:
            own["VIGIE_INGEST__INSTANCE"] = name
        return own

    async def _ready(self, name: str) -> None:
        running = self._running[name]

        async def announced() -> str | None:
            if running.process.returncode is not None:
                said = self.log_file(name).read_text("utf-8", "replace")
                raise AssertionError(f"{name} ended: {said[-_LOG_TAIL_BYTES:]}")
            file = self._run_file(name)
            return file.read_text("utf-8") if file.exists() else None

        text = await until(announced, f"{name} is ready", seconds=READY_SECONDS)
        running.addresses = json.loads(text)

    def _run_file(self, name: str) -> Path:
        file = "run.json" if name == "all" else f"run-{context_of(name)}.json"
        return self.data_of(name) / file

    def log_file(self, name: str) -> Path:
        """What a process wrote to its standard output and error."""
        return self.folder / f"{name}.log"

    def log_text(self) -> str:
        """The logs of all processes."""
        files = [self.log_file(name) for name in self.deployment.targets]
        return "\n".join(file.read_text("utf-8", "replace") for file in files if file.exists())

    def log_tail(self) -> str:
        """The end of the logs, for a failed test; calls that went well are left out."""
        lines = self.log_text().splitlines()
        return "\n".join(line for line in lines if " code=OK " not in line)[-_LOG_TAIL_BYTES:]

    async def ended(self) -> None:
        """Wait until every process has ended by itself."""
        for running in self._running.values():
            await running.process.wait()
        await self.close_channels()

    async def kill(self) -> None:
        """SIGKILL to every process."""
        for running in self._running.values():
            if running.process.returncode is None:
                running.process.send_signal(signal.SIGKILL)
            await running.process.wait()
        await self.close_channels()

    async def kill_one(self, name: str) -> None:
        """SIGKILL to one process."""
        process = self._running[name].process
        process.send_signal(signal.SIGKILL)
        await process.wait()

    def signal_one(self, name: str, number: signal.Signals) -> None:
        """A signal to one process, which goes on running."""
        self._running[name].process.send_signal(number)

    async def start_one(self, name: str) -> None:
        """Start one process again; returns when it is ready."""
        await self._launch(name, self.deployment.targets[name])
        await self._ready(name)

    async def restart_one(self, name: str) -> None:
        """SIGTERM to one process, and start it again."""
        assert await self._stop_some([name], STOP_SECONDS) == {name: 0}
        await self.start_one(name)

    async def stop(self, *, seconds: float = STOP_SECONDS) -> dict[str, int]:
        """SIGTERM; process -> exit code (negative: it had to be killed)."""
        await self.close_channels()
        codes: dict[str, int] = {}
        # What tells comes before what listens, as within one process: then nothing is left.
        for turn in (("gateway", "evidence", "ingest", "ingest-2"), ("recording",), ()):
            names = [name for name in self._running if name not in codes]
            chosen = [name for name in names if name in turn] if turn else names
            codes |= await self._stop_some(chosen, seconds)
        return codes

    async def _stop_some(self, names: Sequence[str], seconds: float) -> dict[str, int]:
        codes = {}
        for name in names:
            process = self._running[name].process
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        for name in names:
            process = self._running[name].process
            try:
                codes[name] = await asyncio.wait_for(process.wait(), seconds)
            except TimeoutError:
                process.kill()
                codes[name] = await process.wait()
        return codes

    async def remove(self) -> None:
        """Stop, and leave nothing behind outside of the folder."""
        await self.stop()
        if self._external is not None and self._prepared:
            self._prepared = False
            await self._external.remove()

    def process_ids(self) -> list[int]:
        """Of the processes that run."""
        return [running.process.pid for running in self._running.values()]

    # --- callers ---

    def address(self, context: str = "recording") -> str:
        """Where a context is served by gRPC."""
        return self._running[self.deployment.serving[context]].addresses["grpc"]

    def http_addresses(self) -> list[str]:
        """Where metrics and health are, one for each process."""
        return [running.addresses["http"] for running in self._running.values()]

    def token(self, person: str, *, lifetime_seconds: int = 3600, ago_seconds: int = 0) -> str:
        """A token of the development issuer, as if made ``ago_seconds`` ago."""
        then = ManualWallClock(WALL.now_us() - ago_seconds * 1_000_000)
        issuer = development_issuer(AccessConfig(), self.data, then)
        return issuer.create_token(person, lifetime_seconds)

    def stub(
        self,
        make: Callable[[grpc.aio.Channel], StubType],
        context: str,
        *,
        person: str | None = None,
        token: str | None = None,
    ) -> StubType:
        """A stub in the name of a person, with a given token, or with none."""
        address = self.address(context)
        if person is None:
            return make(self._channels.kept(address, f"token {token}", lambda: token))
        return make(self._channels.kept(address, person, lambda: self.token(person)))

    def channel_inside(self, name: str, person: str) -> grpc.aio.Channel:
        """A channel to one process, past the gateway and in its stead."""
        place = self._running[name].addresses["services"]
        certificates = self.folder / "tls" if self.deployment.certified else None
        return open_inside(place, context_of(name), self.token(person), certificates)

    async def close_channels(self) -> None:
        """End every connection of this side."""
        await self._channels.close()

    async def command(self, *arguments: str, person: str | None = "operateur") -> Outcome:
        """``vigie ARGUMENTS`` in the name of a person, as a user runs it."""
        environment = {"VIGIE_ADDRESS": self.address()}
        if person is not None:
            environment["VIGIE_TOKEN"] = self.token(person)
        return await run_vigie(*arguments, environment=environment)

    async def fsck(self, *arguments: str, seconds: float = 60) -> Outcome:
        """``vigie fsck`` over this installation, nothing left out for being young."""
        return await run_vigie(
            "--json", "fsck", "--deep", "--grace", "0s", *arguments,
            "--config", str(self.config_file), environment=self._checker, seconds=seconds,
        )  # fmt: skip

    async def reindex(self) -> Outcome:
        """``vigie recording reindex``: the product must be stopped."""
        return await run_vigie("recording", "reindex", "--config", str(self.config_file))


@asynccontextmanager
async def simulated_cameras(config: ServerConfig, folder: Path) -> AsyncIterator[SimCamProcess]:
    """Simulated cameras as a process of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    async with SimCamProcess(config, folder) as simulator:
        yield simulator


@dataclass(slots=True)
class Cameras:
    """The simulated cameras of both simulators."""

    plain: SimCamProcess
    secure: SimCamProcess
    urls: dict[str, str] = field(default_factory=dict)

    def control(self, camera: str) -> ControlClient:
        """Who can be asked about a camera."""
        return (self.secure if camera in self.secure.urls else self.plain).control
