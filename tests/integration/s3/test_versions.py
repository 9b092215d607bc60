"""Deleted is gone, held is kept: against what an administrator does past us, too."""

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from minio.commonconfig import ENABLED
from minio.error import S3Error
from minio.versioningconfig import SUSPENDED, VersioningConfig

from integration.s3.rig import KEY, Rig, content_of, digest, put, reason_of
from servers_s3 import S3Server, new_bucket, remove_bucket


async def test_nothing_is_left_of_a_deleted_object(rig: Rig) -> None:
    store = await rig.open()
    await put(store)
    await store.place_hold(KEY, "hold-1")
    await store.release_hold(KEY, "hold-1")
    assert len(rig.versions()) == 1
    assert await store.delete(KEY)
    assert rig.versions() == []
    assert rig.names(".vigie/holds/") == []


async def test_overwritten_and_hidden_versions_go_too(rig: Rig) -> None:
    store = await rig.open()
    await put(store)
    for content in (b"second", b"third"):
        rig.plain.put_object(rig.bucket, rig.prefix + KEY, io.BytesIO(content), len(content))
    rig.plain.remove_object(rig.bucket, rig.prefix + KEY)
    assert len(rig.versions()) == 4
    assert await store.stat(KEY) is None
    assert await store.delete(KEY)
    assert rig.versions() == []
    assert not await store.delete(KEY)


async def test_neighbours_of_a_deleted_object_stay(rig: Rig) -> None:
    store = await rig.open()
    for key in (KEY, f"{KEY}_end", f"{KEY}.x"):
        await put(store, key=key)
    assert await store.delete(KEY)
    assert rig.names("footage/") == sorted([f"{KEY}_end", f"{KEY}.x"])


async def test_what_is_held_cannot_be_deleted_by_an_administrator(rig: Rig) -> None:
    store = await rig.open()
    await put(store)
    await store.place_hold(KEY, "hold-1")
    [(version, _)] = rig.versions()
    with pytest.raises(S3Error):
        rig.plain.remove_object(rig.bucket, rig.prefix + KEY, version)
    # Without a version it is only hidden, and shown again by removing the delete marker.
    rig.plain.remove_object(rig.bucket, rig.prefix + KEY)
    assert await reason_of(store.delete(KEY)) == "OBJECT_HELD"
    [marker] = [version for version, is_marker in rig.versions() if is_marker]
    rig.plain.remove_object(rig.bucket, rig.prefix + KEY, marker)
    assert await content_of(store) == b"media"


async def test_a_legal_hold_of_others_counts(rig: Rig) -> None:
    store = await rig.open()
    await put(store)
    rig.plain.enable_object_legal_hold(rig.bucket, rig.prefix + KEY)
    assert await reason_of(store.delete(KEY)) == "OBJECT_HELD"
    assert await content_of(store) == b"media"
    rig.plain.disable_object_legal_hold(rig.bucket, rig.prefix + KEY)
    assert await store.delete(KEY)


async def test_of_several_versions_none_goes_when_one_is_held(rig: Rig) -> None:
    store = await rig.open()
    await put(store)
    rig.plain.put_object(rig.bucket, rig.prefix + KEY, io.BytesIO(b"other"), 5)
    first = rig.versions()[-1][0]
    rig.plain.enable_object_legal_hold(rig.bucket, rig.prefix + KEY, first)
    assert await reason_of(store.delete(KEY)) == "OBJECT_HELD"
    assert len(rig.versions()) == 2
    rig.plain.disable_object_legal_hold(rig.bucket, rig.prefix + KEY, first)


async def test_a_hold_holds_every_version(rig: Rig) -> None:
    store = await rig.open()
    await put(store)
    rig.plain.put_object(rig.bucket, rig.prefix + KEY, io.BytesIO(b"other"), 5)
    await store.place_hold(KEY, "hold-1")
    for version, _ in rig.versions():
        with pytest.raises(S3Error):
            rig.plain.remove_object(rig.bucket, rig.prefix + KEY, version)
    await store.release_hold(KEY, "hold-1")
    assert await store.delete(KEY)


async def test_the_right_to_bypass_is_never_used(rig: Rig) -> None:
    """These credentials have it: governance would give way to them."""
    store = await rig.open()
    await put(store)
    until_us = int(time.time() + 3600) * 1_000_000
    await store.set_retention(KEY, until_us)
    assert await reason_of(store.delete(KEY)) == "OBJECT_RETAINED"
    [(version, _)] = rig.versions()
    with pytest.raises(S3Error):
        rig.plain.remove_object(rig.bucket, rig.prefix + KEY, version)


async def test_objects_of_others_are_foreign_and_can_be_described(rig: Rig) -> None:
    store = await rig.open()
    rig.plain.put_object(rig.bucket, rig.prefix + KEY, io.BytesIO(b"media"), 5)
    info = await store.stat(KEY)
    assert info is not None
    assert (info.foreign, info.sha256, dict(info.metadata)) == (True, "", {})
    assert [one.foreign async for one in store.list()] == [True]
    await store.place_hold(KEY, "hold-1")
    wrong = store.redescribe(KEY, sha256=digest(b"other"), content_type="video/mp4", metadata={})
    assert await reason_of(wrong) == "STORE_CHECKSUM_MISMATCH"
    await store.redescribe(
        KEY, sha256=digest(b"media"), content_type="video/mp4", metadata={"camera": "a"}
    )
    info = await store.stat(KEY)
    assert info is not None
    assert (info.foreign, info.sha256, info.holds) == (False, digest(b"media"), {"hold-1"})
    assert (info.content_type, dict(info.metadata)) == ("video/mp4", {"camera": "a"})
    assert rig.legal_hold()
    assert await reason_of(store.delete(KEY)) == "OBJECT_HELD"
    await store.release_hold(KEY, "hold-1")
    assert await store.delete(KEY)
    assert rig.versions() == []


async def test_putting_what_others_have_put_describes_it(rig: Rig) -> None:
    store = await rig.open()
    rig.plain.put_object(rig.bucket, rig.prefix + KEY, io.BytesIO(b"media"), 5)
    result = await put(store)
    assert not result.created
    assert (result.info.foreign, result.info.sha256) == (False, digest(b"media"))
    assert len(rig.versions()) == 1
    rig.plain.put_object(rig.bucket, rig.prefix + "b", io.BytesIO(b"media"), 5)
    assert await reason_of(put(store, b"other", key="b")) == "OBJECT_EXISTS"


@pytest.fixture(scope="module")
def unversioned(server: S3Server) -> Iterator[str]:
    name = new_bucket(server, object_lock=False)
    yield name
    remove_bucket(server, name)


async def test_describing_keeps_the_only_copy_where_there_are_no_versions(
    server: S3Server, unversioned: str, tmp_path: Path
) -> None:
    rig = Rig(server, unversioned, tmp_path)
    store = await rig.open(accept_without=["object-lock"])
    await put(store)
    for camera in ("b", "c"):
        await store.redescribe(
            KEY, sha256=digest(b"media"), content_type="video/mp4", metadata={"camera": camera}
        )
        info = await store.stat(KEY)
        assert info is not None
        assert dict(info.metadata) == {"camera": camera}
        assert await content_of(store) == b"media"
    assert await store.delete(KEY)
    assert rig.versions() == []
    await rig.close()


async def test_describing_keeps_what_is_there_while_versions_are_suspended(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = new_bucket(server, object_lock=False)
    try:
        rig = Rig(server, bucket, tmp_path)
        rig.plain.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
        store = await rig.open(accept_without=["object-lock"])
        await put(store)
        rig.plain.set_bucket_versioning(bucket, VersioningConfig(SUSPENDED))
        for camera in ("b", "c"):
            await store.redescribe(
                KEY, sha256=digest(b"media"), content_type="video/mp4", metadata={"camera": camera}
            )
            assert await content_of(store) == b"media"
        await rig.close()
    finally:
        remove_bucket(server, bucket)


async def test_describing_leaves_one_version(rig: Rig) -> None:
    store = await rig.open()
    await put(store)
    [(before, _)] = rig.versions()
    await store.redescribe(
        KEY, sha256=digest(b"media"), content_type="video/mp4", metadata={"camera": "b"}
    )
    [(after, is_marker)] = rig.versions()
    assert (after != before, is_marker) == (True, False)
    assert await content_of(store) == b"media"


async def test_foreign_objects_are_set_aside_and_removed_later(rig: Rig) -> None:
    store = await rig.open()
    rig.plain.put_object(rig.bucket, rig.prefix + KEY, io.BytesIO(b"media"), 5)
    await store.place_hold(KEY, "hold-1")
    assert await reason_of(store.set_aside(KEY)) == "OBJECT_HELD"
    await store.release_hold(KEY, "hold-1")
    await store.set_aside(KEY)
    assert rig.versions() == []
    [aside] = rig.names(".vigie/quarantine/")
    assert [one.key async for one in store.list()] == []
    report = await store.sweep()
    assert (report.set_aside, rig.names(".vigie/quarantine/")) == (0, [aside])


async def test_names_that_are_no_keys_are_listed_and_harm_nothing(rig: Rig) -> None:
    store = await rig.open()
    await put(store)
    rig.plain.put_object(rig.bucket, rig.prefix + "x" * 245, io.BytesIO(b"x"), 1)
    listed = {one.key: one.foreign async for one in store.list()}
    assert listed.pop(KEY) is False
    assert all(listed.values())
