from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from integration.s3.between import Between
from integration.s3.rig import Rig
from servers_s3 import S3Server, new_bucket, remove_bucket, s3_server


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
async def rig(server: S3Server, bucket: str, tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(server, bucket, tmp_path)
    yield made
    await made.close()


@pytest.fixture
def between(server: S3Server) -> Iterator[Between]:
    made = Between(server.endpoint)
    yield made
    made.close()
