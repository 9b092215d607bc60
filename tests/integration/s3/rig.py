"""Stores on one prefix of a real bucket, and a plain client that looks past them."""

import contextlib
import hashlib
import uuid
from pathlib import Path

from minio import Minio

from servers_s3 import S3Server
from vigie.platform.clock import SystemWallClock, WallClock
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import PutResult
from vigie.platform.objectstore.s3.opening import open_s3_store
from vigie.platform.objectstore.s3.store import S3ObjectStore

KEY = "footage/cam-a/2026-11-22/10/00-00.000000Z.0.m4v"
QUICK = {"attempts": 2, "connect_timeout_seconds": 1, "read_timeout_seconds": 2}


class Rig:
    """What the tests of S3 work with."""

    def __init__(self, server: S3Server, bucket: str, folder: Path) -> None:
        self.server = server
        self.bucket = bucket
        self.prefix = f"{uuid.uuid4().hex[:12]}/"
        self.folder = folder
        self.registry = MetricsRegistry()
        self.plain: Minio = server.client()
        self._open: list[S3ObjectStore] = []

    async def open(
        self,
        *,
        faults: FaultPoints = NO_FAULTS,
        wall_clock: WallClock | None = None,
        workspace: str | None = None,
        **changes: object,
    ) -> S3ObjectStore:
        bucket = str(changes.pop("bucket", self.bucket))
        config = self.server.config(self.folder, bucket, **{"prefix": self.prefix, **changes})
        store = await open_s3_store(
            config,
            wall_clock or SystemWallClock(),
            workspace=None if workspace is None else self.folder / workspace,
            registry=self.registry,
            faults=faults,
        )
        self._open.append(store)
        return store

    def versions(self, key: str = KEY) -> list[tuple[str, bool]]:
        """Identifiers of all versions under a key, and whether each is a delete marker."""
        found = self.plain.list_objects(
            self.bucket, self.prefix + key, recursive=True, include_version=True
        )
        return [(one.version_id or "", one.is_delete_marker) for one in found]

    def names(self, below: str = "") -> list[str]:
        """All keys that have a version, the store's own included."""
        found = self.plain.list_objects(
            self.bucket, self.prefix + below, recursive=True, include_version=True
        )
        return sorted({(one.object_name or "").removeprefix(self.prefix) for one in found})

    def legal_hold(self, key: str = KEY) -> bool:
        """Whether the store's own flag is on."""
        with contextlib.suppress(Exception):  # a store without the flag set answers with an error
            return self.plain.is_object_legal_hold_enabled(self.bucket, self.prefix + key)
        return False

    def uploads(self) -> list[str]:
        """Unfinished uploads in parts."""
        found = self.plain._list_multipart_uploads(self.bucket, prefix="").uploads
        return [one.object_name for one in found if one.object_name.startswith(self.prefix)]

    async def close(self) -> None:
        for store in self._open:
            await store.close()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def put(store: S3ObjectStore, content: bytes = b"media", key: str = KEY) -> PutResult:
    return await store.put_bytes(
        key, content, sha256=digest(content), content_type="video/mp4", metadata={"camera": "a"}
    )


async def content_of(store: S3ObjectStore, key: str = KEY) -> bytes:
    return b"".join([chunk async for chunk in store.read(key)])


async def reason_of(work: object) -> str:
    """Name of the reason of a failure; "" when there is none."""
    try:
        await work  # type: ignore[misc] # any awaitable of the port
    except VigieError as error:
        return error.reason.name
    return ""
