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
from grpc_health.v1 import health_pb2, health_pb2_grpc

from certificates import TRUST_DOMAIN, Authority
from e2e.external import SERVED, External, free_ports
from vigie.access.module import development_issuer
from vigie.access.settings import AccessConfig
from vigie.contracts import service_names
from vigie.platform.clock import ManualWallClock, SystemWallClock
from vigie.platform.grpc.client import ClientTls, StubType, open_channel
from vigie.platform.grpc.peers import service_host
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
class Outcome:
    """What a command that ran to its end left behind."""

    code: int
    out: str
    err: str


async def run_vigie(
    *arguments: str, environment: Mapping[str, str] | None = None, seconds: float = 180
) -> Outcome:
    """``vigie ARGUMENTS`` as a user runs it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vigie", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"LANG": "C.UTF-8", "COLUMNS": "200"} | dict(environment or {}),
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"vigie {arguments} did not end: {out!r} {err!r}") from None
    return Outcome(process.returncode or 0, out.decode(), err.decode())


@dataclass(slots=True)
class _Running:
    process: asyncio.subprocess.Process
    addresses: dict[str, str] = field(default_factory=dict)


class _FixedToken:
    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token


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
        self._channels: dict[tuple[str, str], grpc.aio.Channel] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._external = External.given(deployment.store, folder) if deployment.store else None
        self._prepared = False
        self._checker: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self.write_people(people)
        self._write_config()

    # --- files ---

    def write_people(self, text: str) -> None:
        """Replace the people file, whole, as an administrator's editor does."""
        temporary = self._people_file.with_suffix(".new")
        temporary.write_text(text, "utf-8")
        temporary.replace(self._people_file)

    def _write_config(self) -> None:
        sections: dict[str, dict[str, str]] = {
            "data": {"directory": '"data"', "store_directory": '"store"'},
            "grpc": {"listen": '["127.0.0.1:0"]'},
            "http": {"listen": '"127.0.0.1:0"'},
            "access": {"people_file": '"people.toml"', "reload_seconds": "0.5"},
            "ingest": {
                "segment_seconds": "2",
                "silence_timeout_seconds": "2",
                "reconnect_longest_seconds": "1",
                "heartbeat_seconds": "1",
            },
        }
        if self._external is not None:
            sections |= self._external.sections()
        if self.deployment.apart:
            sections["services"] = self._find_places()
            # Processes that have data directories of their own share these.
            sections["data"] |= {"sealing_key_file": '"data/sealing.key"'}
            sections["access"] |= {"issuer_key_file": '"data/access/issuer-key.json"'}
        if self.deployment.certified:
            self._authority = Authority(self.folder / "tls")
            for name in (*SERVED, "gateway"):
                self._authority.service(name)
            sections["tls"] = {
                "certificate_file": '"tls/{service}.pem"',
                "key_file": '"tls/{service}.key"',
                "ca_file": '"tls/ca.pem"',
            }
        for name, values in self._settings.items():
            sections.setdefault(name, {}).update(values)
        text = "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
            for name, values in sections.items()
        )
        self.config_file.write_text(text, "utf-8")

    def _find_places(self) -> dict[str, str]:
        """An address for every service; where there are two of one, it has two."""
        names = [name for name in self.deployment.targets if _context(name) != "gateway"]
        ports = free_ports(len(names))
        self._places = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
        lists: dict[str, list[str]] = {}
        for name, place in self._places.items():
            lists.setdefault(_context(name), []).append(f'"{place}"')
        return {context: f"[{', '.join(places)}]" for context, places in lists.items()}

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
            await self._external.prepare(self.config_file)
        for name, arguments in self.deployment.targets.items():
            await self._launch(name, arguments)
        for name in self.deployment.targets:
            await self._ready(name)
        if self.deployment.apart:
            await self._reached()

    async def _reached(self) -> None:
        """Wait until the gateway has connected to every service, as a load balancer would."""
        channel = open_channel(self.address(), source=None, tls=self._tls)
        stub = health_pb2_grpc.HealthStub(channel)

        async def serving() -> bool:
            for service in service_names():
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
                if answer.status != health_pb2.HealthCheckResponse.SERVING:
                    return False
            return True

        await until(serving, "the gateway reaches every service")
        await channel.close(None)

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
        if _context(name) == "ingest" and self.deployment.apart:
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
        file = "run.json" if name == "all" else f"run-{_context(name)}.json"
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
        who = (self.address(context), person or f"token {token}")
        channel = self._channels.get(who)
        if channel is None:
            if person is not None:
                token = self.token(person)
            source = None if token is None else _FixedToken(token)
            channel = open_channel(who[0], source=source, tls=self._tls, default_timeout_seconds=90)
            self._channels[who] = channel
        return make(channel)

    def channel_inside(self, name: str, person: str) -> grpc.aio.Channel:
        """A channel to one process, past the gateway and in its stead."""
        source = _FixedToken(self.token(person))
        place = self._running[name].addresses["services"]
        if not self.deployment.certified:
            return open_channel(place, source=source)
        folder = self.folder / "tls"
        files = ClientTls(folder / "ca.pem", folder / "gateway.pem", folder / "gateway.key")
        named = service_host(_context(name), TRUST_DOMAIN)
        override = (("grpc.ssl_target_name_override", named),)
        return open_channel(place, source=source, tls=files, more_options=override)

    async def close_channels(self) -> None:
        """End every connection of this side."""
        for channel in self._channels.values():
            await channel.close(None)
        self._channels.clear()

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


def _context(name: str) -> str:
    """What a process serves."""
    return name.removesuffix("-2")


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
