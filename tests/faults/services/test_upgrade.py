"""The services are upgraded one after the other, as the guide says, put back, and upgraded again.

``VIGIE_UPGRADE_FROM`` names the commit (or tag) of the version before; its program is taken out of
the repository and run with the packages that are installed. All the while cameras are recorded,
people look, and a package of evidence is made. `docs/guide/operations.md`, "Services apart".
"""

import os
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from e2e.external import administer
from faults.ledger import Ledger
from faults.services.processes import Services
from faults.services.test_services import RECEPTION_SECONDS, WHOLE, note
from faults.services.town import Town, at_work

FROM: Final = os.environ.get("VIGIE_UPGRADE_FROM", "")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not FROM, reason="no version to upgrade from: VIGIE_UPGRADE_FROM names it"),
]
ORDER: Final = (
    "recording", "audit", "evidence", "registry", "access", "ingest", "ingest-2", "gateway",
)  # fmt: skip
"""Readers before those who say new things, as the guide has it."""
_ROOT: Final = Path(__file__).parents[3]


class Versions(Services):
    """Services of which each may be run from another version of the program.

    Args:
        folder: everything lies in it.
        before: folder of the version before.
    """

    def __init__(self, folder: Path, before: Path) -> None:
        super().__init__(folder)
        self._before = {"PYTHONPATH": str(before)}
        self._administrator = self._before
        self.behind: set[str] = set(self.deployment.targets)

    def _own_environment(self, name: str) -> dict[str, str]:
        return super()._own_environment(name) | (self._before if name in self.behind else {})

    async def replace(self, names: Sequence[str], *, back: bool) -> None:
        """Stop each process in its turn, and start it from the other version; wait until ready."""
        for name in names:
            if back:
                self.behind.add(name)
            else:
                self.behind.discard(name)
            await self.restart_one(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(
    tmp_path_factory: pytest.TempPathFactory, simulated_footage: Path
) -> AsyncIterator[Town]:
    """The installation at work, of the version before."""
    folder = tmp_path_factory.mktemp("upgrade")
    vigie = Versions(folder / "vigie", _program_of(FROM, folder / "before"))
    async with at_work(vigie, folder, simulated_footage, None) as town:
        yield town


def _program_of(revision: str, folder: Path) -> Path:
    """The packages of another commit, taken out of the repository."""
    packed = subprocess.run(
        ["git", "archive", revision, "services"], cwd=_ROOT, check=True, capture_output=True
    )
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "services"


def _versions(town: Town) -> Versions:
    assert isinstance(town.vigie, Versions)
    return town.vigie


async def _upgraded(town: Town) -> float:
    """What the guide says, in its order."""
    vigie = _versions(town)
    for arguments in (("topics", "apply"), ("migrate",)):
        await administer(*arguments, "--config", str(vigie.config_file))
    await vigie.replace(ORDER, back=False)
    return time.monotonic()


async def test_services_are_upgraded_while_cameras_are_recorded(town: Town, ledger: Ledger) -> None:
    found = await town.survive(lambda: _upgraded(town))
    assert found.causes <= {"INGEST_DOWN"}
    assert found.missing_seconds <= RECEPTION_SECONDS
    note(ledger, "all services are upgraded, one after the other", WHOLE, found)


async def test_the_version_before_is_put_back(town: Town, ledger: Ledger) -> None:
    async def act() -> float:
        await _versions(town).replace(ORDER[::-1], back=True)
        return time.monotonic()

    found = await town.survive(act)
    assert found.causes <= {"INGEST_DOWN"}
    assert found.missing_seconds <= RECEPTION_SECONDS
    note(ledger, "the version before is put back, one service after the other", WHOLE, found)


async def test_they_are_upgraded_again(town: Town, ledger: Ledger) -> None:
    found = await town.survive(lambda: _upgraded(town))
    assert found.causes <= {"INGEST_DOWN"}
    assert found.missing_seconds <= RECEPTION_SECONDS
    note(ledger, "services are upgraded again", WHOLE, found)


async def test_in_the_end_the_checker_finds_nothing_of_either_version(town: Town) -> None:
    assert await town.in_the_end()
