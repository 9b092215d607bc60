"""An installation whose services have each a way of their own to the database, to be harmed."""

import contextlib
import os
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from e2e.harness import simulated_cameras
from faults.services.takers import Takers
from faults.services.town import CAMERAS, NAMES, Services, Town
from faults.services.wire import Wire
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
        wires: service -> its way to the database.
    """

    def __init__(self, folder: Path, wires: Mapping[str, Wire]) -> None:
        super().__init__(folder)
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


@dataclass(slots=True)
class Harm:
    """The installation, and what can be done to it.

    Attributes:
        town: at work.
        vigie: its processes.
    """

    town: Town
    vigie: HarmedServices


@contextlib.asynccontextmanager
async def harmed(folder: Path, footage: Path, seed: int) -> AsyncIterator[Harm]:
    """An installation at work that can be harmed.

    Args:
        folder: everything lies in it.
        footage: where simulated cameras keep what ffmpeg has made for them.
        seed: of what people do and what is struck.
    """
    with contextlib.ExitStack() as stack:
        wires = _before_the_database(stack)
        vigie = HarmedServices(folder / "vigie", wires)
        cameras = ServerConfig(cameras=CAMERAS, port_per_camera=True, cache_folder=footage)
        try:
            async with simulated_cameras(cameras, folder / "cameras") as simulator:
                await vigie.start()
                town = Town(vigie, simulator, None)
                takers = Takers(vigie, NAMES, chance=random.Random(f"{seed} takers"))
                takers.requests = town.requests
                town.people = takers
                try:
                    await town.move_in()
                    yield Harm(town, vigie)
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
