"""A directory is not a bucket: what keys, records, links and other people do to it."""

import asyncio
import contextlib
import json
import os
from pathlib import Path

import pytest

from unit.platform.storage.directory_support import (
    CONTENT,
    KEY,
    content_of,
    digest,
    keys,
    put,
)
from vigie.platform.clock import ManualWallClock
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import (
    DirectoryObjectStore,
    open_directory_store,
)


async def test_a_key_cannot_be_a_folder_of_other_keys(store: DirectoryObjectStore) -> None:
    await put(store, "a/b")
    for key in ("a", "a/b/c"):
        with pytest.raises(VigieError, match="KEY_INVALID"):
            await put(store, key)
    assert await keys(store) == ["a/b"]
    assert await store.stat("a") is None
    assert await store.stat("a/b/c") is None
    assert await store.delete("a") is False
    with pytest.raises(VigieError, match="OBJECT_NOT_FOUND"):
        await content_of(store, "a")


async def test_names_of_records_stand_in_nobodys_way(store: DirectoryObjectStore) -> None:
    names = ["a", "a.json/b", "a.d/c", "b.json", "b/c", "b.d"]
    for name in names:
        await put(store, name, name.encode())
    for name in names:
        assert await content_of(store, name) == name.encode()
        info = await store.stat(name)
        assert info is not None
        assert info.sha256 == digest(name.encode())


async def test_symbolic_links_lead_nowhere(
    store: DirectoryObjectStore, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    for work in (
        store.stat("folder/secret"),
        put(store, "folder/x"),
        store.delete("folder/secret"),
    ):
        with pytest.raises(VigieError, match="KEY_INVALID"):
            await work
    with pytest.raises(VigieError, match="OBJECT_NOT_FOUND"):
        await content_of(store, "file")
    with pytest.raises(VigieError, match="KEY_INVALID"):
        await put(store, "file")
    assert await store.stat("file") is None
    assert await store.delete("file") is False
    assert await keys(store) == []
    assert (outside / "secret").read_bytes() == b"secret"
    assert [path.name for path in outside.iterdir()] == ["secret"]


async def test_a_file_that_is_not_ours_is_shown_as_foreign(
    store: DirectoryObjectStore, root: Path
) -> None:
    (root / "stray.mp4").write_bytes(b"stray")
    [info] = [info async for info in store.list()]
    assert (info.key, info.size_bytes, info.sha256, info.foreign) == ("stray.mp4", 5, "", True)
    assert await store.stat("stray.mp4") == info
    with pytest.raises(VigieError, match="OBJECT_EXISTS"):
        await put(store, "stray.mp4", b"other")
    assert await put(store, "stray.mp4", b"stray") is False
    adopted = await store.stat("stray.mp4")
    assert adopted is not None
    assert (adopted.sha256, adopted.foreign) == (digest(b"stray"), False)


async def test_a_hold_can_be_put_on_a_foreign_file(store: DirectoryObjectStore, root: Path) -> None:
    (root / "stray.mp4").write_bytes(b"stray")
    await store.place_hold("stray.mp4", "hold-1")
    with pytest.raises(VigieError, match="OBJECT_HELD"):
        await store.delete("stray.mp4")


async def test_an_object_whose_record_is_damaged_counts_as_held(
    store: DirectoryObjectStore, root: Path
) -> None:
    await put(store, "a")
    record = root / ".vigie" / "meta" / "a.json"
    record.write_text("{")
    with pytest.raises(VigieError, match=r"STORE_UNAVAILABLE.*damaged"):
        await store.delete("a")
    [info] = [info async for info in store.list()]
    assert info.foreign
    assert (root / "a").exists()


async def test_a_record_of_a_later_version_counts_as_damaged(
    store: DirectoryObjectStore, root: Path
) -> None:
    await put(store, "a")
    record = root / ".vigie" / "meta" / "a.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"version": 2}))
    with pytest.raises(VigieError, match="version 2"):
        await store.delete("a")


async def test_a_replayed_put_reads_what_is_there(store: DirectoryObjectStore, root: Path) -> None:
    await put(store)
    path = root / KEY
    path.chmod(0o640)
    path.write_bytes(b"rotten" * 1000)
    with pytest.raises(VigieError, match="STORE_CHECKSUM_MISMATCH"):
        await put(store)


async def test_objects_cannot_be_written_by_accident(
    store: DirectoryObjectStore, root: Path
) -> None:
    await put(store)
    assert (root / KEY).stat().st_mode & 0o222 == 0


async def test_empty_folders_go_with_their_last_object(
    store: DirectoryObjectStore, root: Path
) -> None:
    await put(store, "footage/cam-a/x")
    await put(store, "footage/cam-b/x")
    await store.delete("footage/cam-a/x")
    assert not (root / "footage" / "cam-a").exists()
    assert not (root / ".vigie" / "meta" / "footage.d" / "cam-a.d").exists()
    await store.delete("footage/cam-b/x")
    assert os.listdir(root) == [".vigie"]  # noqa: PTH208 - names are what is asked for


async def test_putting_and_deleting_in_one_folder_at_once(store: DirectoryObjectStore) -> None:
    async def churn(name: str) -> None:
        for _ in range(15):
            assert await put(store, f"a/b/{name}")
            assert await store.delete(f"a/b/{name}")

    await asyncio.gather(*(churn(f"{n}") for n in range(8)))
    assert await keys(store) == []


async def test_sweeping_while_putting_harms_nothing(store: DirectoryObjectStore) -> None:
    async def sweep() -> None:
        for _ in range(20):
            await store.sweep()

    await asyncio.gather(sweep(), *(put(store, f"a/{n}") for n in range(40)))
    assert len(await keys(store)) == 40
    for n in range(40):
        info = await store.stat(f"a/{n}")
        assert info is not None
        assert not info.foreign


async def test_one_process_at_a_time(
    store: DirectoryObjectStore, root: Path, wall_clock: ManualWallClock
) -> None:
    with pytest.raises(VigieError, match="DATA_DIRECTORY_IN_USE"):
        await open_directory_store(root, wall_clock)


async def test_a_missing_source_is_the_callers_trouble(
    store: DirectoryObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await store.put_file(
            KEY, tmp_path / "no", sha256=digest(b""), content_type="video/mp4", metadata={}
        )


@pytest.mark.parametrize(
    ("sha256", "content_type", "metadata"),
    [
        ("ABC", "video/mp4", {}),
        (digest(b"").upper(), "video/mp4", {}),
        (digest(b""), "vidéo/mp4", {}),
        (digest(b""), "video/mp4", {"camera": "a\nb"}),
    ],
)
async def test_malformed_attributes_are_refused(
    store: DirectoryObjectStore, sha256: str, content_type: str, metadata: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=r"SHA-256|US-ASCII"):
        await store.put_bytes(KEY, b"", sha256=sha256, content_type=content_type, metadata=metadata)


async def test_a_reader_goes_on_while_the_object_is_deleted(store: DirectoryObjectStore) -> None:
    await put(store)
    reading = store.read(KEY, chunk_size=1000)
    first = await anext(aiter(reading))
    await store.delete(KEY)
    rest = [chunk async for chunk in reading]
    assert first + b"".join(rest) == CONTENT


async def test_a_reader_that_stops_early_leaves_no_file_open(
    store: DirectoryObjectStore, root: Path
) -> None:
    await put(store)
    reading = store.read(KEY, chunk_size=10)
    await anext(aiter(reading))
    await reading.aclose()  # type: ignore[attr-defined] # an async generator, as `async for` knows
    assert not [path for path in open_files() if path.is_relative_to(root / "footage")]


def open_files() -> list[Path]:
    opened = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed while we look
            opened.append(entry.readlink())
    return opened


async def test_what_is_set_aside_is_out_of_the_bucket_and_goes_after_28_days(
    store: DirectoryObjectStore, root: Path, wall_clock: ManualWallClock
) -> None:
    await put(store)
    await store.set_aside(KEY)
    assert await keys(store) == []
    aside = root / ".vigie" / "quarantine"
    content, record = sorted(aside.iterdir())
    assert content.read_bytes() == CONTENT
    assert json.loads(record.read_bytes())["key"] == KEY
    wall_clock.advance(27 * 86_400)
    assert (await store.sweep()).set_aside == 0
    wall_clock.advance(2 * 86_400)
    assert (await store.sweep()).set_aside == 1
    assert list(aside.iterdir()) == []
    with pytest.raises(VigieError, match="OBJECT_NOT_FOUND"):
        await store.set_aside(KEY)


async def test_an_object_set_aside_is_never_taken_for_the_record_of_another(
    store: DirectoryObjectStore, root: Path, wall_clock: ManualWallClock
) -> None:
    await put(store, "list.json", b"{}")
    await put(store, "list")
    await store.set_aside("list.json")
    await store.set_aside("list")
    aside = root / ".vigie" / "quarantine"
    assert (aside / "list.json").read_bytes() == b"{}"
    assert (aside / "list").read_bytes() == CONTENT
    wall_clock.advance(29 * 86_400)
    assert (await store.sweep()).set_aside == 2
    assert list(aside.iterdir()) == []


async def test_what_is_held_is_never_set_aside(store: DirectoryObjectStore) -> None:
    await put(store)
    await store.place_hold(KEY, "hold-1")
    with pytest.raises(VigieError, match="OBJECT_HELD"):
        await store.set_aside(KEY)
    assert await keys(store) == [KEY]


async def test_a_record_is_made_anew_only_for_the_content_it_describes(
    store: DirectoryObjectStore,
) -> None:
    await put(store)
    await store.place_hold(KEY, "hold-1")
    attributes = {"Source": "cam-a"}
    with pytest.raises(VigieError, match="STORE_CHECKSUM_MISMATCH"):
        await store.redescribe(
            KEY, sha256=digest(b"other"), content_type="video/mp4", metadata=attributes
        )
    await store.redescribe(
        KEY, sha256=digest(CONTENT), content_type="video/mp4", metadata=attributes
    )
    info = await store.stat(KEY)
    assert info is not None
    assert (dict(info.metadata), info.holds) == (attributes, frozenset({"hold-1"}))
