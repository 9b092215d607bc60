"""Users of a server who have one policy of `infra/s3` each."""

import contextlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest
from minio import MinioAdmin
from minio.credentials import StaticProvider
from minio.error import MinioException
from urllib3.exceptions import HTTPError

from ports import quiet_ports
from servers_s3 import S3Server

PREFIX = "north/"
SERVICES = ("ingest", "recording", "evidence")
_POLICIES = Path(__file__).resolve().parents[3] / "infra" / "s3"
_READY_SECONDS = 60


class People(Protocol):
    """Gives credentials for one bucket."""

    server: S3Server
    bucket: str

    def add(self, service: str) -> S3Server:
        """The server with the credentials of a user who has the policy of ``service``."""
        ...

    def withdraw(self, user: S3Server) -> None:
        """Make a user's credentials worthless; skips the test where that cannot be done."""
        ...


def policy(service: str, bucket: str) -> str:
    """The policy of a service for a bucket, as its README says to make it."""
    text = (_POLICIES / f"{service}.json").read_text("utf-8")
    return text.replace("BUCKET", bucket).replace("PREFIX", PREFIX)


class MinioPeople:
    """Users made by MinIO's own administration, removed at the end."""

    def __init__(self, server: S3Server, bucket: str) -> None:
        parts = urlsplit(server.endpoint)
        self.server = server
        self.bucket = bucket
        self._admin = MinioAdmin(
            endpoint=parts.netloc,
            credentials=StaticProvider(server.access_key, server.secret_key),
            secure=parts.scheme == "https",
        )
        self._made: list[str] = []

    def add(self, service: str) -> S3Server:
        name, secret = f"{service}-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
        self._admin.policy_add(name, policy=json.loads(policy(service, self.bucket)))
        self._admin.user_add(name, secret)
        self._admin.policy_set(name, user=name)
        self._made.append(name)
        return S3Server(self.server.kind, self.server.endpoint, name, secret)

    def withdraw(self, user: S3Server) -> None:
        self._admin.user_disable(user.access_key)

    def close(self) -> None:
        for name in self._made:
            self._admin.user_remove(name)
            self._admin.policy_remove(name)


class SeaweedPeople:
    """Users in the configuration file of a SeaweedFS of the test's own."""

    def __init__(self, server: S3Server, bucket: str, secrets: dict[str, str]) -> None:
        self.server = server
        self.bucket = bucket
        self._secrets = secrets

    def add(self, service: str) -> S3Server:
        return S3Server(self.server.kind, self.server.endpoint, service, self._secrets[service])

    def withdraw(self, user: S3Server) -> None:
        pytest.skip("users of SeaweedFS change with its configuration file only")


@contextlib.contextmanager
def own_seaweedfs(folder: Path, bucket: str) -> Iterator[SeaweedPeople]:
    """A SeaweedFS on loopback, by the program that VIGIE_TEST_WEED or PATH names."""
    program = os.environ.get("VIGIE_TEST_WEED") or shutil.which("weed")
    if program is None:
        pytest.skip("no server: VIGIE_TEST_WEED is not set and there is no weed on PATH")
    secrets = {name: uuid.uuid4().hex for name in ("admin", *SERVICES)}
    ports = quiet_ports(8)
    (folder / "s3.json").write_text(json.dumps(_identities(secrets, bucket)))
    (folder / "data").mkdir()
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [program, *_arguments(folder, ports)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "GOMEMLIMIT": "256MiB"},
        )
    server = S3Server("seaweedfs", f"http://127.0.0.1:{ports[0]}", "admin", secrets["admin"])
    try:
        _wait(server, process)
        yield SeaweedPeople(server, bucket, secrets)
    finally:
        process.kill()
        process.wait()


def _identities(secrets: dict[str, str], bucket: str) -> dict[str, object]:
    def identity(name: str, **rights: object) -> dict[str, object]:
        return {"name": name, "credentials": [{"accessKey": name, "secretKey": secrets[name]}],
                **rights}  # fmt: skip

    everything = ["Admin", "Read", "List", "Tagging", "Write"]
    return {
        "identities": [
            identity("admin", actions=everything),
            *(identity(name, actions=[], policyNames=[name]) for name in SERVICES),
        ],
        "policies": [{"name": name, "content": policy(name, bucket)} for name in SERVICES],
    }


def _arguments(folder: Path, ports: list[int]) -> list[str]:
    s3, master, volume, filer, s3_grpc, master_grpc, volume_grpc, filer_grpc = ports
    return [
        "-logtostderr=true", "server", f"-dir={folder}/data", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", f"-master.port={master}", f"-master.port.grpc={master_grpc}",
        "-master.volumeSizeLimitMB=64", "-master.peers=none", "-master.telemetry=false",
        f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", "-volume.max=100",
        "-volume.preStopSeconds=0", "-filer", f"-filer.port={filer}",
        f"-filer.port.grpc={filer_grpc}", f"-filer.localSocket={folder}/filer.sock",
        "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={folder}/s3.json",
        f"-s3.localSocket={folder}/s3.sock", "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip


def _wait(server: S3Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    client = server.client()
    while True:
        assert process.poll() is None, "SeaweedFS has ended"
        try:
            client.make_bucket("ready", object_lock=True)
            client.remove_bucket("ready")
        except (MinioException, HTTPError):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return
