from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.objectstore_contract import ObjectStoreContract
from vigie.platform.clock import ManualWallClock
from vigie.platform.objectstore import DirectoryObjectStore, open_directory_store


class DirectoryHarness:
    def __init__(self, root: Path, *, link_sources: bool) -> None:
        self.root = root
        self.link_sources = link_sources
        self.clock = ManualWallClock(1_700_000_000_000_000)
        self.store: DirectoryObjectStore

    async def open(self) -> None:
        self.store = await open_directory_store(
            self.root, self.clock, link_sources=self.link_sources
        )

    async def reopen(self) -> None:
        await self.store.close()
        await self.open()


@pytest.fixture(params=[False, True], ids=["copy", "link"])
async def harness(
    tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[DirectoryHarness]:
    made = DirectoryHarness(tmp_path / "store", link_sources=request.param)
    await made.open()
    yield made
    await made.store.close()


class TestDirectoryObjectStore(ObjectStoreContract):
    """The directory keeps every promise of the port, whether it copies or links sources."""
