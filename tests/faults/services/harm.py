"""An installation of which everything can be harmed: store, database, disks, clocks, certificates.

Between services and store stands a proxy that misbehaves as it is told; every service with a
database has a way of its own to it; both ingest processes have spools on disks of their own and
clocks that can be set; every process breaks where its file of faults says.
"""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import pytest

from certificates import Authority
from e2e.harness import _Running, simulated_cameras
from faults import shifted_product
from faults.disks import SPOOL_STEPS, Disk, FaultFile, own_disk
from faults.services.processes import INGEST, Services
from faults.services.storefaults import Misbehaviour
from faults.services.takers import Takers
from faults.services.town import CAMERAS, NAMES, Town
from faults.services.wire import Wire
from faults.shifted_product import OFFSET
from integration.s3.between import Between
from vigie.recording.index.tables import HOLD_PLACED
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

    Args:
        folder: everything lies in it.
        wires: service -> its way to the database.
        store: the store itself, behind the proxy.

    Attributes:
        wires: service -> its way to the database.
        faults: process -> the steps at which it breaks.
        disks: ingest process -> the disk of its spool.
    """

    def __init__(self, folder: Path, wires: Mapping[str, Wire], store: str) -> None:
        super().__init__(folder, settings=_SETTINGS)
        # The checker goes past the proxy, which would only make it slow.
        self._checker = {"VIGIE_S3__ENDPOINT": store}
        self.wires = wires
        self.faults = {
            name: FaultFile(folder / f"faults-{name}") for name in self.deployment.targets
        }
        self.disks: dict[str, Disk] = {}
        for name in INGEST:
            self._offset_file(name).write_bytes(OFFSET.pack(0))

    @property
    def authority(self) -> Authority:
        """Who signs the certificates of services."""
        return self._authority

    def _own_environment(self, name: str) -> dict[str, str]:
        own = super()._own_environment(name)
        own["VIGIE_DEBUG__FAULT_FILE"] = str(self.faults[name].path)
        if name in self.wires:
            user, database = self.external.postgres.user, self.external.database
            own["VIGIE_DATABASE__URL"] = (
                f"postgresql://{user}@{self.wires[name].address}/{database}"
            )
        return own

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

    # --- past the product ---

    @contextlib.asynccontextmanager
    async def locked(self, *tables: str) -> AsyncIterator[None]:
        """While this lasts, whoever reads or writes these tables waits."""
        connection = await self.external.postgres.connect(self.external.database)
        statement = f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE"
        try:
            while True:
                transaction = connection.transaction()
                await transaction.start()
                try:
                    await connection.execute(statement)
                except asyncpg.DeadlockDetectedError:  # with the product, and the server chose us
                    await transaction.rollback()
                    continue
                yield
                await transaction.rollback()
                break
        finally:
            await connection.close()

    async def unheld(self) -> list[str]:
        """Objects of which the index says that a hold is on them, and the store does not."""
        rows = await self.database(
            "SELECT DISTINCT object_key FROM recording.recording_hold_objects"
            f" WHERE state = {HOLD_PLACED}"
        )
        return await asyncio.to_thread(self._unheld_of, [str(key) for (key,) in rows])

    def _unheld_of(self, keys: Sequence[str]) -> list[str]:
        client, bucket = self.external.store.client(), self.external.name
        return [key for key in keys if not client.is_object_legal_hold_enabled(bucket, key)]


@dataclass(slots=True)
class Harm:
    """The installation, and what can be done to it.

    Attributes:
        town: at work.
        vigie: its processes.
        store: what the store does wrong.
    """

    town: Town
    vigie: HarmedServices
    store: Misbehaviour


@contextlib.asynccontextmanager
async def harmed(folder: Path, footage: Path, seed: int) -> AsyncIterator[Harm]:
    """An installation at work that can be harmed.

    Args:
        folder: everything lies in it.
        footage: where simulated cameras keep what ffmpeg has made for them.
        seed: of what people do and what is struck.
    """
    with contextlib.ExitStack() as stack:
        between = Between(_given("VIGIE_TEST_S3"))
        stack.callback(between.close)
        wires = _before_the_database(stack)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VIGIE_TEST_S3", between.endpoint)
            vigie = HarmedServices(folder / "vigie", wires, between.upstream)
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
                    yield Harm(town, vigie, store)
                finally:
                    await town.people.end()
        finally:
            await vigie.remove()


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
