"""The policies of `infra/s3`: each service can do its work with its own, and nothing else."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error

from integration.s3.people import (
    PREFIX,
    SERVICES,
    MinioPeople,
    People,
    SeaweedPeople,
    own_seaweedfs,
)
from integration.s3.rig import KEY, content_of, digest, put, reason_of
from servers_s3 import S3Server, new_bucket, remove_bucket, s3_server
from vigie.platform.clock import SystemWallClock
from vigie.platform.objectstore.s3.opening import open_s3_store
from vigie.platform.objectstore.s3.store import S3ObjectStore

_PACKAGE = "evidence/01a2149e.zip"


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedPeople]:
    with own_seaweedfs(tmp_path_factory.mktemp("weed"), "policies") as found:
        yield found


@pytest.fixture(params=["minio", "seaweedfs"])
def people(request: pytest.FixtureRequest) -> Iterator[People]:
    if request.param == "seaweedfs":
        own: SeaweedPeople = request.getfixturevalue("own_server")
        own.server.client().make_bucket(own.bucket, object_lock=True)
        yield own
        remove_bucket(own.server, own.bucket)
        return
    with s3_server("minio") as server:
        bucket = new_bucket(server)
        made = MinioPeople(server, bucket)
        yield made
        made.close()
        remove_bucket(server, bucket)


class Service:
    """A store and a plain client with one service's credentials."""

    def __init__(self, server: S3Server, store: S3ObjectStore, bucket: str) -> None:
        self.store = store
        self.plain: Minio = server.client()
        self._bucket = bucket

    def refused(self, operation: str, key: str, **given: object) -> bool:
        """Whether the server itself refuses an operation on a key."""
        with pytest.raises(S3Error) as raised:
            getattr(self.plain, operation)(self._bucket, PREFIX + key, **given)
        return raised.value.code == "AccessDenied"


async def service(people: People, name: str, folder: Path) -> Service:
    server = people.add(name)
    keys = folder / name
    keys.mkdir()
    config = server.config(keys, people.bucket, prefix=PREFIX, write_only=name == "ingest")
    store = await open_s3_store(config, SystemWallClock(), workspace=None)
    return Service(server, store, people.bucket)


async def prepared(people: People, folder: Path) -> S3ObjectStore:
    """The bucket as an administrator leaves it."""
    admin = folder / "admin"
    admin.mkdir()
    config = people.server.config(admin, people.bucket, prefix=PREFIX)
    return await open_s3_store(config, SystemWallClock(), workspace=None)


async def test_without_preparation_a_service_says_what_is_missing(
    people: People, tmp_path: Path
) -> None:
    assert await reason_of(service(people, "ingest", tmp_path)) == "STORE_BUCKET_MISSING"


async def test_ingest_writes_and_cannot_read(people: People, tmp_path: Path) -> None:
    admin = await prepared(people, tmp_path)
    ingest = await service(people, "ingest", tmp_path)
    try:
        assert (await put(ingest.store)).created
        assert not (await put(ingest.store)).created
        assert await reason_of(put(ingest.store, b"other")) == "OBJECT_EXISTS"
        info = await ingest.store.stat(KEY)
        assert info is not None
        assert (info.size_bytes, info.sha256) == (5, digest(b"media"))
        assert await ingest.store.stat("footage/nothing") is None
        await ingest.store.check()
        # What others see of it is whole.
        seen = await admin.stat(KEY)
        assert seen is not None
        assert (seen.sha256, dict(seen.metadata)) == (digest(b"media"), {"camera": "a"})
        assert await reason_of(content_of(ingest.store)) == "STORE_REFUSED"
        [version] = [
            one.version_id
            for one in people.server.client().list_objects(
                people.bucket, PREFIX + KEY, include_version=True, recursive=True
            )
        ]
        assert ingest.refused("get_object", KEY)
        assert ingest.refused("stat_object", KEY)
        assert ingest.refused("remove_object", KEY)
        assert ingest.refused("remove_object", KEY, version_id=version)
        assert ingest.refused("enable_object_legal_hold", KEY)
        assert ingest.refused("disable_object_legal_hold", KEY)
        for elsewhere in (_PACKAGE, ".vigie/installation", ".vigie/holds/x/p.y"):
            assert ingest.refused("put_object", elsewhere, data=io.BytesIO(b"x"), length=1)
        assert await reason_of(anext(ingest.store.list_keys("evidence/"))) == "STORE_REFUSED"
    finally:
        await ingest.store.close()
        await admin.close()


async def test_recording_reads_holds_and_destroys_footage(people: People, tmp_path: Path) -> None:
    admin = await prepared(people, tmp_path)
    await put(admin)
    await put(admin, key=_PACKAGE)
    recording = await service(people, "recording", tmp_path)
    store = recording.store
    try:
        assert await content_of(store) == b"media"
        assert [one.key async for one in store.list("footage/")] == [KEY]
        await store.place_hold(KEY, "hold-1")
        info = await store.stat(KEY)
        assert info is not None
        assert info.holds == {"hold-1"}
        assert await reason_of(store.delete(KEY)) == "OBJECT_HELD"
        await store.sweep()
        await store.check()
        await store.release_hold(KEY, "hold-1")
        assert recording.refused("put_object", KEY, data=io.BytesIO(b"x"), length=1)
        assert recording.refused("get_object", _PACKAGE)
        assert recording.refused("remove_object", _PACKAGE)
        assert await store.delete(KEY)
        assert await admin.stat(KEY) is None
    finally:
        await store.close()
        await admin.close()


async def test_evidence_reads_footage_and_keeps_packages(people: People, tmp_path: Path) -> None:
    admin = await prepared(people, tmp_path)
    await put(admin)
    evidence = await service(people, "evidence", tmp_path)
    store = evidence.store
    try:
        assert await content_of(store) == b"media"
        assert not await store.delete(_PACKAGE)
        content = bytes(range(256)) * (90 << 10)
        source = tmp_path / "package.zip"
        source.write_bytes(content)
        result = await store.put_file(
            _PACKAGE, source, sha256=digest(content), content_type="application/zip", metadata={}
        )
        assert result.created
        assert digest(await content_of(store, _PACKAGE)) == digest(content)
        assert await store.delete(_PACKAGE)
        for operation in ("remove_object", "enable_object_legal_hold", "disable_object_legal_hold"):
            assert evidence.refused(operation, KEY)
        assert evidence.refused("put_object", KEY, data=io.BytesIO(b"x"), length=1)
        assert await reason_of(store.delete(KEY)) == "STORE_REFUSED"
        assert await content_of(store) == b"media"
    finally:
        await store.close()
        await admin.close()


@pytest.mark.parametrize("name", SERVICES)
async def test_no_service_may_bypass_or_change_the_bucket(
    people: People, tmp_path: Path, name: str
) -> None:
    from minio.deleteobjects import DeleteObject
    from minio.versioningconfig import SUSPENDED, VersioningConfig

    admin = await prepared(people, tmp_path)
    await put(admin)
    await put(admin, key=_PACKAGE)
    until_us = SystemWallClock().now_us() + 3_600_000_000
    for key in (KEY, _PACKAGE):
        await admin.set_retention(key, until_us)
    one = await service(people, name, tmp_path)
    try:
        versions = people.server.client().list_objects(
            people.bucket, PREFIX, include_version=True, recursive=True
        )
        gone = [
            DeleteObject(v.object_name or "", v.version_id)
            for v in versions
            if (v.object_name or "").removeprefix(PREFIX) in {KEY, _PACKAGE}
        ]
        assert len(gone) == 2
        errors = list(one.plain.remove_objects(people.bucket, gone, bypass_governance_mode=True))
        assert len(errors) == 2
        with pytest.raises(S3Error):
            one.plain.set_bucket_versioning(people.bucket, VersioningConfig(SUSPENDED))
        with pytest.raises(S3Error):
            one.plain.delete_bucket_lifecycle(people.bucket)
        assert await content_of(admin) == b"media"
    finally:
        await one.store.close()
        await admin.close()


async def test_keys_of_a_rotated_user_are_taken_up(people: People, tmp_path: Path) -> None:
    """The old ones are withdrawn while the store is in use; then the files have the new ones."""
    admin = await prepared(people, tmp_path)
    first, second = people.add("ingest"), people.add("ingest")
    keys = tmp_path / "rotating"
    keys.mkdir()
    config = first.config(keys, people.bucket, prefix=PREFIX, write_only=True)
    store = await open_s3_store(config, SystemWallClock(), workspace=None)
    try:
        await put(store, key="footage/one")
        people.withdraw(first)
        assert await reason_of(put(store, key="footage/two")) == "STORE_REFUSED"
        second.config(keys, people.bucket)
        assert (await put(store, key="footage/two")).created
    finally:
        await store.close()
        await admin.close()
