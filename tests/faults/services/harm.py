"""An installation of which everything can be harmed: store, database, disks, clocks, certificates.

It is one for all tests of these: between services and store stands a proxy that misbehaves as it is
told, every service has a way of its own to the database, both ingest processes have spools on disks
of their own and clocks that can be set, every process breaks where its file of faults says.
"""

import asyncio
import contextlib
import http.client
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc.aio
import pytest

from certificates import Authority
from e2e.callers import accesses, timelines
from e2e.harness import WALL, _Running, simulated_cameras, until
from faults import shifted_product
from faults.disks import SPOOL_STEPS, Disk, FaultFile, own_disk
from faults.services.storefaults import Misbehaviour
from faults.services.takers import Takers
from faults.services.town import CAMERAS, INGEST, NAMES, Services, Town
from faults.services.wire import Wire
from faults.services.witness import Witness
from faults.shifted_product import OFFSET
from integration.s3.between import Between
from integration.s3.toxiproxy import Toxiproxy
from vigie.evidence.v1.evidence_service_pb2 import ListEvidenceRequestsRequest
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.platform.grpc.client import ClientError, StubType
from vigie.recording.index.tables import HOLD_PLACED
from vigie.registry.v1.cameras_pb2 import ListCamerasRequest
from vigie.registry.v1.cameras_pb2_grpc import CameraServiceStub
from vigie.simcam import ServerConfig

STATEFUL: Final = ("registry", "recording", "evidence", "audit")
"""Services with a database."""
_MIB: Final = 1 << 20
_SPOOL_BYTES: Final = 96 * _MIB
_SETTINGS: Final = {
    "debug": {"fault_points": "true"},
    "tls": {"reload_seconds": "0.5"},
    "ingest": {"spool_reserve_bytes": str(_MIB)},
    "database": {
        "pool_size": "2", "pool_overflow": "1", "pool_wait_seconds": "2.0",
        "connect_timeout_seconds": "2.0",
    },
}  # fmt: skip


class HarmedServices(Services):
    """See `Services`; every process with what harms it.

    Attributes:
        witness: sees what people are delivered.
        wires: service -> its way to the database.
        faults: process -> the steps at which it breaks.
        disks: ingest process -> the disk of its spool.
    """

    def __init__(self, folder: Path, wires: Mapping[str, Wire]) -> None:
        super().__init__(folder)
        self.witness = Witness()
        self.wires = wires
        self.faults = {
            name: FaultFile(folder / f"faults-{name}") for name in self.deployment.targets
        }
        self.disks: dict[str, Disk] = {}
        for name in INGEST:
            self._offset_file(name).write_bytes(OFFSET.pack(0))

    def _write_config(self) -> None:
        for section, values in _SETTINGS.items():
            self._settings = {**self._settings, section: values}
        super()._write_config()

    def _own_environment(self, name: str) -> dict[str, str]:
        own = super()._own_environment(name)
        own["VIGIE_DEBUG__FAULT_FILE"] = str(self.faults[name].path)
        if name in self.wires and self._external is not None:
            user, database = self._external.postgres.user, self._external.database
            own["VIGIE_DATABASE__URL"] = (
                f"postgresql://{user}@{self.wires[name].address}/{database}"
            )
        return own

    def stub(self, make: Callable[[grpc.aio.Channel], StubType], context: str, **who: Any) -> Any:
        return super().stub(lambda channel: make(self.witness.watched(channel)), context, **who)

    # --- disks and clocks ---

    @contextlib.contextmanager
    def own_disks(self) -> Iterator[None]:
        """Before the start: spools on disks of their own, where that is permitted."""
        with contextlib.ExitStack() as stack:
            for name in INGEST:
                disk = own_disk(
                    self.data_of(name) / "spool", SPOOL_STEPS, self.faults[name],
                    size_bytes=_SPOOL_BYTES,
                )  # fmt: skip
                self.disks[name] = stack.enter_context(disk)
            yield

    def _offset_file(self, name: str) -> Path:
        return self.folder / f"offset-{name}"

    def set_clock(self, name: str, offset_us: int) -> None:
        """Let the wall clock of an ingest process be wrong by so much, from now on."""
        with self._offset_file(name).open("r+b", buffering=0) as file:
            file.write(OFFSET.pack(offset_us))

    async def _launch(self, name: str, arguments: Sequence[str]) -> None:
        if name not in INGEST:
            await super()._launch(name, arguments)
            return
        self._run_file(name).unlink(missing_ok=True)
        program = str(Path(shifted_product.__file__))
        with self.log_file(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, program, str(self.config_file), str(self._offset_file(name)),
                arguments[-1],
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._environment | self._own_environment(name),
            )  # fmt: skip
        self._running[name] = _Running(process)

    # --- the database ---

    @contextlib.asynccontextmanager
    async def locked(self, *tables: str) -> AsyncIterator[None]:
        """While this lasts, whoever reads or writes these tables waits."""
        assert self._external is not None
        connection = await self._external.postgres.connect(self._external.database)
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
                yield
        finally:
            await connection.close()

    # --- looking ---

    @property
    def authority(self) -> Authority:
        """Who signs the certificates of services."""
        return self._authority

    async def reason_of_call(self, context: str) -> str:
        """Why a call to a context is refused; empty: it is answered."""
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "recording": lambda: timelines(self, NAMES, WALL.now_us() - 1_000_000),
            "audit": lambda: accesses(self),
            "registry": lambda: self.stub(
                CameraServiceStub, "registry", person="operateur"
            ).ListCameras(ListCamerasRequest()),
            "evidence": lambda: self.stub(
                EvidenceServiceStub, "evidence", person="enqueteur"
            ).ListEvidenceRequests(ListEvidenceRequestsRequest()),
        }
        try:
            await calls[context]()
        except grpc.aio.AioRpcError as error:
            return ClientError.of(error).reason
        return ""

    def unheld_of(self, keys: Sequence[str]) -> list[str]:
        """Those objects that have no legal hold; asked past the product."""
        assert self._external is not None
        client, bucket = self._external.store.client(), self._external.name
        return [key for key in keys if not client.is_object_legal_hold_enabled(bucket, key)]

    async def not_ready(self, name: str) -> dict[str, str]:
        """Module of a process -> why it says that it cannot work."""
        text = await asyncio.to_thread(_page, self.http_address(name), "/readyz")
        modules: dict[str, dict[str, Any]] = json.loads(text)["modules"]
        return {name: each["reason"] for name, each in modules.items() if not each["ready"]}

    async def says(self, name: str, words: str, *, seconds: float = 60) -> None:
        """Wait until a process says why it is not ready."""

        async def said() -> bool:
            return any(words in why for why in (await self.not_ready(name)).values())

        await until(said, f"{name} says {words!r}", seconds=seconds)

    def http_address(self, name: str) -> str:
        return self._running[name].addresses["http"]

    async def died(self, name: str, *, seconds: float) -> None:
        """Wait until a process has ended by itself. Raises TimeoutError."""
        await asyncio.wait_for(self._running[name].process.wait(), seconds)

    async def metric(self, name: str, sample: str) -> float:
        """A sample of a process, by its name and labels as they are written; 0: it is not there."""
        text = await asyncio.to_thread(_page, self.http_address(name), "/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines())
        return sum(float(value) for told, _, value in lines if told == sample)


def _page(address: str, path: str) -> str:
    """A page for machines, whatever its status."""
    connection = http.client.HTTPConnection(address, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()


@dataclass(slots=True)
class Harm:
    """The installation, and what can be done to it.

    Attributes:
        town: at work.
        vigie: its processes.
        store: what the store does wrong.
        network: between services and store; ``None``: there is no toxiproxy.
    """

    town: Town
    vigie: HarmedServices
    store: Misbehaviour
    network: Toxiproxy | None

    async def unheld(self) -> list[str]:
        """Objects of which the index says that a hold is on them, and the store does not."""
        rows = await self.vigie.database(
            "SELECT DISTINCT object_key FROM recording.recording_hold_objects"
            f" WHERE state = {HOLD_PLACED}"
        )
        return await asyncio.to_thread(self.vigie.unheld_of, [str(key) for (key,) in rows])


@contextlib.asynccontextmanager
async def harmed(folder: Path, footage: Path, seed: int) -> AsyncIterator[Harm]:
    """An installation at work that can be harmed.

    Args:
        folder: everything lies in it.
        footage: where simulated cameras keep what ffmpeg has made for them.
        seed: of what people do and what is struck.
    """
    with contextlib.ExitStack() as stack:
        between, network = _before_the_store(stack)
        wires = _before_the_database(stack)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VIGIE_TEST_S3", (network or between).endpoint)
            vigie = HarmedServices(folder / "vigie", wires)
        stack.enter_context(vigie.own_disks())
        cameras = ServerConfig(cameras=CAMERAS, port_per_camera=True, cache_folder=footage)
        store = Misbehaviour(between, random.Random(f"{seed} store"))
        try:
            async with simulated_cameras(cameras, folder / "cameras") as simulator:
                await vigie.start()
                town = Town(vigie, simulator, None)
                takers = Takers(vigie, NAMES, chance=random.Random(f"{seed} takers"))
                takers.requests = town.requests
                town.people = takers
                try:
                    await town.move_in()
                    yield Harm(town, vigie, store, network)
                finally:
                    await town.people.end()
        finally:
            await vigie.remove()


def _before_the_store(stack: contextlib.ExitStack) -> tuple[Between, Toxiproxy | None]:
    between = Between(_given("VIGIE_TEST_S3"))
    stack.callback(between.close)
    if not os.environ.get("VIGIE_TEST_TOXIPROXY"):
        return between, None
    network = Toxiproxy(between.endpoint)
    stack.callback(network.close)
    return between, network


def _before_the_database(stack: contextlib.ExitStack) -> dict[str, Wire]:
    url = urlsplit(_given("VIGIE_TEST_POSTGRES"))
    made = {name: Wire(url.hostname or "", url.port or 5432) for name in STATEFUL}
    for wire in made.values():
        stack.callback(wire.close)
    return made


def _given(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"no server: wants the server {variable}")
    return value
