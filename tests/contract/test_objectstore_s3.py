import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from contract.objectstore_contract import KEY, ObjectStoreContract, put, refused
from servers_s3 import S3Server, new_bucket, remove_bucket, s3_server
from vigie.platform.clock import ManualWallClock
from vigie.platform.errors import VigieError
from vigie.platform.objectstore.s3.opening import open_s3_store
from vigie.platform.objectstore.s3.store import S3ObjectStore


class S3Harness:
    """Its clock begins at the real time, in whole seconds: the store has a clock of its own."""

    def __init__(self, server: S3Server, folder: Path, bucket: str, prefix: str) -> None:
        self._folder = folder
        self.config = server.config(folder, bucket, prefix=prefix)
        self.clock = ManualWallClock(int(time.time()) * 1_000_000)
        self.store: S3ObjectStore

    async def open(self) -> None:
        self.store = await open_s3_store(
            self.config, self.clock, workspace=self._folder / "workspace"
        )

    async def reopen(self) -> None:
        await self.store.close()
        await self.open()


@pytest.fixture(scope="module", params=["minio", "seaweedfs"])
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with s3_server(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def bucket(server: S3Server) -> Iterator[str]:
    name = new_bucket(server)
    yield name
    remove_bucket(server, name)


@pytest.fixture
async def harness(
    server: S3Server, bucket: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[S3Harness]:
    # Every test has a prefix of its own, hence an empty store.
    made = S3Harness(server, tmp_path, bucket, f"{abs(hash(request.node.name)):x}/")
    await made.open()
    yield made
    await made.store.close()


async def deleted(harness: S3Harness) -> bool:
    """Whether the object could be deleted; it may only be refused for its date."""
    try:
        return await harness.store.delete(KEY)
    except VigieError as error:
        if error.reason.name != "OBJECT_RETAINED":
            raise
        return False


class TestS3ObjectStore(ObjectStoreContract):
    """S3 keeps every promise of the port, on every server that is there."""

    async def test_retention_refuses_deletion_until_its_date(self, harness: S3Harness) -> None:
        """As the contract has it, by the store's clock, which nobody can set."""
        await put(harness)
        until_us = int(time.time() + 4) * 1_000_000
        await harness.store.set_retention(KEY, until_us)
        await refused(harness.store.delete(KEY), "OBJECT_RETAINED")
        await harness.store.set_retention(KEY, until_us + 1)
        await refused(harness.store.set_retention(KEY, until_us), "RETENTION_SHORTENED")
        deadline = time.monotonic() + 30
        while not await deleted(harness):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        assert time.time() >= until_us / 1e6
