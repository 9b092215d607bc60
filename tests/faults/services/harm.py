"""An installation whose store and database can be harmed.

Between services and store stands a proxy that misbehaves as it is told; every service with a
database has a way of its own to it; and whatever people are delivered is witnessed.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc.aio
import pytest

from e2e.harness import simulated_cameras
from faults.services.storefaults import Misbehaviour
from faults.services.takers import Takers
from faults.services.town import CAMERAS, NAMES, Services, Town
from faults.services.wire import Wire
from faults.services.witness import Witness
from integration.s3.between import Between
from vigie.platform.grpc.client import StubType
from vigie.recording.index.tables import HOLD_PLACED
from vigie.simcam import ServerConfig

STATEFUL: Final = ("registry", "recording", "evidence", "audit")
"""Services with a database."""
_SETTINGS: Final = {
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
    """

    def __init__(self, folder: Path, wires: Mapping[str, Wire]) -> None:
        super().__init__(folder)
        self.witness = Witness()
        self.wires = wires

    def _write_config(self) -> None:
        for section, values in _SETTINGS.items():
            self._settings = {**self._settings, section: values}
        super()._write_config()

    def _own_environment(self, name: str) -> dict[str, str]:
        own = super()._own_environment(name)
        if name in self.wires and self._external is not None:
            user, database = self._external.postgres.user, self._external.database
            own["VIGIE_DATABASE__URL"] = (
                f"postgresql://{user}@{self.wires[name].address}/{database}"
            )
        return own

    def stub(self, make: Callable[[grpc.aio.Channel], StubType], context: str, **who: Any) -> Any:
        return super().stub(lambda channel: make(self.witness.watched(channel)), context, **who)

    # --- looking ---

    def unheld_of(self, keys: Sequence[str]) -> list[str]:
        """Those objects that have no legal hold; asked past the product."""
        assert self._external is not None
        client, bucket = self._external.store.client(), self._external.name
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
        between = _before_the_store(stack)
        wires = _before_the_database(stack)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VIGIE_TEST_S3", between.endpoint)
            vigie = HarmedServices(folder / "vigie", wires)
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


def _before_the_store(stack: contextlib.ExitStack) -> Between:
    between = Between(_given("VIGIE_TEST_S3"))
    stack.callback(between.close)
    return between


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
