"""The whole product with real cameras, and a wall clock that a test sets."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e import estate
from e2e.harness import DEPLOYMENTS, Installation, _Running
from faults import shifted_product
from faults.shifted_product import OFFSET, SetClock
from vigie.access.module import development_issuer
from vigie.access.settings import AccessConfig


class ShiftedInstallation(Installation):
    """An installation whose clock is wrong by `offset_us`.

    Attributes:
        wall: what the product takes for the time.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        super().__init__(DEPLOYMENTS["one-process"], folder, estate.PEOPLE, settings)
        self._offset_file = folder / "offset"
        self._offset_file.write_bytes(OFFSET.pack(0))
        self.wall = SetClock(self._offset_file)

    async def set_clock(self, offset_us: int) -> None:
        """Set the product's wall clock while it runs; everybody gets a new token."""
        with self._offset_file.open("r+b", buffering=0) as file:
            file.write(OFFSET.pack(offset_us))
        await self.close_channels()

    def token(self, person: str, *, lifetime_seconds: int = 3600, ago_seconds: int = 0) -> str:
        """A token made by the product's clock."""
        assert not ago_seconds
        issuer = development_issuer(AccessConfig(), self.data, self.wall)
        return issuer.create_token(person, lifetime_seconds)

    async def _launch(self, name: str, arguments: Sequence[str]) -> None:
        assert tuple(arguments) == ("up",)
        self._run_file(name).unlink(missing_ok=True)
        program = str(Path(shifted_product.__file__))
        with self.log_file(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, program, str(self.config_file), str(self._offset_file),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._running[name] = _Running(process)
