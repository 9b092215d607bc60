"""Real S3 servers for tests: by the environment, else by Docker, else the test is skipped aloud.

A test gives itself a bucket of its own with `new_bucket`, and `remove_bucket` empties it again,
whatever is locked in it: the tests have the administrator's credentials.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from minio import Minio
from minio.deleteobjects import DeleteObject

from servers_docker import image_of, running
from vigie.platform.objectstore.s3.settings import S3Config

_VARIABLES = {"minio": "VIGIE_TEST_S3", "seaweedfs": "VIGIE_TEST_SEAWEED_S3"}
_READY_SECONDS = 300


@dataclass(frozen=True, slots=True)
class S3Server:
    """An S3 server with an administrator's credentials."""

    kind: str
    endpoint: str
    access_key: str
    secret_key: str

    def client(self) -> Minio:
        """A plain client, past everything of ours."""
        parts = urlsplit(self.endpoint)
        return Minio(
            parts.netloc,
            self.access_key,
            self.secret_key,
            secure=parts.scheme == "https",
            region="us-east-1",
        )

    def config(self, folder: Path, bucket: str, **changes: object) -> S3Config:
        """The configuration for a bucket, the keys in files of ``folder``."""
        access, secret = folder / "access-key", folder / "secret-key"
        access.write_text(self.access_key)
        secret.write_text(self.secret_key)
        given = {
            "endpoint": self.endpoint,
            "bucket": bucket,
            "access_key_file": access,
            "secret_key_file": secret,
            **changes,
        }
        return S3Config.model_validate(given)


@contextlib.contextmanager
def s3_server(kind: str) -> Iterator[S3Server]:
    """The server ``minio`` or ``seaweedfs``; skips the test where there is none."""
    variable = _VARIABLES[kind]
    if endpoint := os.environ.get(variable):
        yield S3Server(
            kind,
            endpoint,
            os.environ[f"{variable}_ACCESS_KEY"],
            os.environ[f"{variable}_SECRET_KEY"],
        )
        return
    with _container(kind, image_of(variable)) as server:
        yield server


@contextlib.contextmanager
def _container(kind: str, image: str) -> Iterator[S3Server]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    secret = uuid.uuid4().hex
    container = DockerContainer(image)
    if kind == "minio":
        container.with_env("MINIO_ROOT_USER", "vigie").with_env("MINIO_ROOT_PASSWORD", secret)
        container.with_command("server /data")
        port, ready = 9000, HttpWaitStrategy(9000, "/minio/health/cluster").for_status_code(200)
    else:
        container.with_env("AWS_ACCESS_KEY_ID", "vigie").with_env("AWS_SECRET_ACCESS_KEY", secret)
        container.with_command("server -s3 -volume.max=100 -master.volumeSizeLimitMB=256")
        port, ready = 8333, HttpWaitStrategy(8333, "/").for_status_code_matching(lambda _: True)
    ready = ready.with_startup_timeout(_READY_SECONDS)
    container.with_exposed_ports(port).waiting_for(ready)
    with running(container) as (host, mapped):
        yield S3Server(kind, f"http://{host}:{mapped}", "vigie", secret)


def new_bucket(server: S3Server, *, object_lock: bool = True) -> str:
    """A bucket of a random name."""
    name = f"vigie-test-{uuid.uuid4().hex[:12]}"
    server.client().make_bucket(name, object_lock=object_lock)
    return name


def remove_bucket(server: S3Server, name: str) -> None:
    """Remove a bucket with everything in it, locked or not."""
    client = server.client()
    versions = list(client.list_objects(name, recursive=True, include_version=True))
    for one in versions:
        if not one.is_delete_marker:
            with contextlib.suppress(Exception):  # no lock in this bucket
                client.disable_object_legal_hold(name, one.object_name or "", one.version_id)
    gone = [DeleteObject(one.object_name or "", one.version_id) for one in versions]
    errors = list(client.remove_objects(name, gone, bypass_governance_mode=True))
    assert not errors, errors
    client.remove_bucket(name)
