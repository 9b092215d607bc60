import asyncio
import contextlib
import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from long_forms import examples
from vigie.platform.clock import ManualWallClock
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import CountingFaults, StrikingFaults, raise_errno
from vigie.platform.objectstore import (
    DirectoryObjectStore,
    FileState,
    ObjectStore,
    open_directory_store,
)
from vigie.platform.objectstore.listing import list_files
from vigie.platform.objectstore.source import bring, digest_of
from vigie.platform.objectstore.tree import FAULT_POINTS

KEY = "footage/cam-a/2026-11-22/10/00-00.000000Z.0.m4v"
CONTENT = b"media" * 1000
PUT_POINTS = [name for name in FAULT_POINTS if ".put." in name or ".describe." in name]
DELETE_POINTS = [name for name in FAULT_POINTS if ".delete." in name]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def put(store: ObjectStore, key: str = KEY, content: bytes = CONTENT) -> bool:
    result = await store.put_bytes(
        key, content, sha256=digest(content), content_type="video/mp4", metadata={}
    )
    return result.created


async def keys(store: ObjectStore) -> list[str]:
    return [info.key async for info in store.list()]


async def content_of(store: ObjectStore, key: str = KEY) -> bytes:
    return b"".join([chunk async for chunk in store.read(key)])


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
async def store(root: Path, wall_clock: ManualWallClock) -> AsyncIterator[DirectoryObjectStore]:
    opened = await open_directory_store(root, wall_clock)
    yield opened
    await opened.close()


# --- crashes ------------------------------------------------------------------------------------

PROGRAM = textwrap.dedent(
    """
    import asyncio, hashlib, os, pathlib, sys
    from vigie.platform.clock import SystemWallClock
    from vigie.platform.faultpoint import faults_from_environment
    from vigie.platform.objectstore import open_directory_store
    from vigie.platform.objectstore.tree import FAULT_POINTS

    async def main(root, source, key, doing):
        faults = faults_from_environment(os.environ, enabled=True, known=FAULT_POINTS)
        store = await open_directory_store(pathlib.Path(root), SystemWallClock(), faults=faults)
        if doing == "delete":
            await store.delete(key)
        elif doing == "hold":
            await store.place_hold(key, "hold-1")
        else:
            content = pathlib.Path(source).read_bytes()
            await store.put_file(
                key, pathlib.Path(source), sha256=hashlib.sha256(content).hexdigest(),
                content_type="video/mp4", metadata={},
            )

    asyncio.run(main(*sys.argv[1:]))
    """
)


async def run_and_kill(root: Path, source: Path, point: str, doing: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        str(root),
        str(source),
        KEY,
        doing,
        env=os.environ | {"VIGIE_FAULT": f"{point}:kill"},
    )
    assert await process.wait() == -9, "the fault point was not reached"


@pytest.mark.parametrize("point", PUT_POINTS)
async def test_a_put_killed_at_any_step_leaves_all_or_nothing(
    root: Path, tmp_path: Path, wall_clock: ManualWallClock, point: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    await run_and_kill(root, source, point, "put")
    store = await open_directory_store(root, wall_clock)
    visible = point in {"store.put.renamed", "store.put.durable"}
    info = await store.stat(KEY)
    assert (info is not None) == visible
    assert await keys(store) == ([KEY] if visible else [])
    if info is not None:
        assert (info.sha256, info.foreign) == (digest(CONTENT), False)
        assert await content_of(store) == CONTENT
    assert await put(store) is not visible
    assert await content_of(store) == CONTENT
    report = await store.sweep()
    assert (report.temporary_files, report.orphan_records) == (0, 0)
    assert files(root / ".vigie" / "temporary") == []
    await store.close()


@pytest.mark.parametrize("point", DELETE_POINTS)
async def test_a_delete_killed_at_any_step_leaves_all_or_nothing(
    root: Path, tmp_path: Path, wall_clock: ManualWallClock, point: str
) -> None:
    store = await open_directory_store(root, wall_clock)
    await put(store)
    await store.close()
    await run_and_kill(root, tmp_path, point, "delete")
    store = await open_directory_store(root, wall_clock)
    there = point == "store.delete.begun"
    assert await keys(store) == ([KEY] if there else [])
    assert (await store.sweep()).orphan_records == (point == "store.delete.unlinked")
    assert await store.delete(KEY) is there
    assert await put(store)
    await store.close()


@pytest.mark.parametrize("point", ["store.describe.written", "store.describe.renamed"])
async def test_a_hold_killed_at_any_step_is_whole_or_not_there(
    root: Path, tmp_path: Path, wall_clock: ManualWallClock, point: str
) -> None:
    store = await open_directory_store(root, wall_clock)
    await put(store)
    await store.close()
    await run_and_kill(root, tmp_path, point, "hold")
    store = await open_directory_store(root, wall_clock)
    info = await store.stat(KEY)
    assert info is not None
    assert not info.foreign
    assert info.holds == ({"hold-1"} if point.endswith("renamed") else set())
    await store.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("point", PUT_POINTS)
async def test_a_put_that_fails_at_any_step_can_be_repeated(
    root: Path, wall_clock: ManualWallClock, point: str, code: int
) -> None:
    faults = StrikingFaults(point, raise_errno(code), known=FAULT_POINTS)
    store = await open_directory_store(root, wall_clock, faults=faults)
    with pytest.raises(VigieError) as failure:
        await put(store)
    assert failure.value.reason.name == "STORE_UNAVAILABLE"
    assert failure.value.metadata["errno"] == errno.errorcode[code]
    assert files(root / ".vigie" / "temporary") == []
    await put(store)
    assert await content_of(store) == CONTENT
    await store.close()


async def test_every_fault_point_is_on_the_path(root: Path, wall_clock: ManualWallClock) -> None:
    faults = CountingFaults()
    store = await open_directory_store(root, wall_clock, faults=faults)
    await put(store)
    await store.delete(KEY)
    await store.close()
    assert set(faults.reached) == set(FAULT_POINTS)


async def test_the_record_is_durable_before_the_object_is_visible(
    root: Path, wall_clock: ManualWallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order of system calls: content synced, record synced and in place, only then the key."""
    calls: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        calls.append(f"sync {kind} {Path(f'/proc/self/fd/{descriptor}').readlink().parent.name}")
        real_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        calls.append(f"rename {Path(target).name}")
        real_rename(source, target)

    store = await open_directory_store(root, wall_clock)
    await put(store, "footage/a")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    await put(store, "footage/b")
    await store.close()
    assert calls == [
        "sync file temporary",
        "sync file temporary",
        "rename b.json",
        "sync folder meta",
        "rename b",
        "sync folder store",
    ]


# --- a directory is not a bucket ----------------------------------------------------------------


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


async def test_a_link_keeps_the_source_and_copies_nothing(
    root: Path, tmp_path: Path, wall_clock: ManualWallClock
) -> None:
    source = tmp_path / "closed-segment"
    source.write_bytes(CONTENT)
    store = await open_directory_store(root, wall_clock, link_sources=True)
    await store.put_file(KEY, source, sha256=digest(CONTENT), content_type="video/mp4", metadata={})
    assert (root / KEY).samefile(source)
    source.unlink()
    assert await content_of(store) == CONTENT
    await store.close()


async def test_a_linked_file_that_its_writer_hashed_is_not_read_again(
    root: Path, tmp_path: Path, wall_clock: ManualWallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "closed-segment"
    source.write_bytes(CONTENT)
    read: list[Path] = []

    def counting(path: Path) -> str:
        read.append(path)
        return digest_of(path)

    monkeypatch.setattr("vigie.platform.objectstore.tree.digest_of", counting)
    store = await open_directory_store(root, wall_clock, link_sources=True)
    attributes: dict[str, Any] = {
        "sha256": digest(CONTENT),
        "content_type": "video/mp4",
        "metadata": {},
        "written": FileState.of(source.stat()),
    }
    await store.put_file(KEY, source, **attributes)
    assert read == []
    await store.put_file(KEY, source, **attributes)  # a replay: what is there is read
    assert len(read) == 1
    await store.close()


@pytest.mark.parametrize("harm", ["content", "content, time put back", "length", "exchanged"])
async def test_a_file_that_changed_after_it_was_hashed_is_found_out(
    root: Path, tmp_path: Path, wall_clock: ManualWallClock, harm: str
) -> None:
    source = tmp_path / "closed-segment"
    source.write_bytes(CONTENT)
    before = source.stat()
    probe = tmp_path / "probe"
    probe.touch()
    while probe.stat().st_ctime_ns <= before.st_ctime_ns:
        probe.touch()  # some kernels count the times of files in steps of milliseconds
    other = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    if harm == "exchanged":
        source.rename(tmp_path / "kept")  # or its inode would be given to the new one
    source.write_bytes(other + b"x" if harm == "length" else other)
    if harm == "content, time put back":
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    store = await open_directory_store(root, wall_clock, link_sources=True)
    with pytest.raises(VigieError, match="STORE_CHECKSUM_MISMATCH"):
        await store.put_file(
            KEY,
            source,
            sha256=digest(CONTENT),
            content_type="video/mp4",
            metadata={},
            written=FileState.of(before),
        )
    assert await store.stat(KEY) is None
    await store.close()


async def test_without_links_source_and_object_are_two_files(
    store: DirectoryObjectStore, root: Path, tmp_path: Path
) -> None:
    source = tmp_path / "report"
    source.write_bytes(CONTENT)
    await store.put_file(KEY, source, sha256=digest(CONTENT), content_type="video/mp4", metadata={})
    source.write_bytes(b"changed afterwards")
    assert await content_of(store) == CONTENT


def test_copying_without_help_of_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EXDEV, "cross-device")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "source"
    source.write_bytes(CONTENT * 500)
    state = FileState.of(source.stat())
    size, same = bring(
        source,
        tmp_path / "copy",
        link=True,
        written=state,
        failed=lambda _: contextlib.nullcontext(),
    )
    assert (size, same) == (len(CONTENT) * 500, False)  # a copy is read back, whatever is said
    assert digest_of(tmp_path / "copy") == digest_of(source)


async def test_a_store_that_cannot_be_written_says_so(
    store: DirectoryObjectStore, root: Path, wall_clock: ManualWallClock
) -> None:
    await put(store, "file")
    with pytest.raises(VigieError, match="STORE_UNAVAILABLE"):
        await open_directory_store(root / "file", wall_clock)


async def test_check_notices_that_the_store_went_away(
    store: DirectoryObjectStore, root: Path
) -> None:
    await store.check()
    (root / ".vigie" / "temporary").rename(root / ".vigie" / "moved")
    with pytest.raises(VigieError, match="STORE_UNAVAILABLE"):
        await store.check()
    (root / ".vigie" / "moved").rename(root / ".vigie" / "temporary")


async def test_a_store_that_is_not_mounted_is_not_taken_for_an_empty_one(
    store: DirectoryObjectStore, root: Path
) -> None:
    """Its mount point is there and empty: no object counts as gone, none as destroyed."""
    await put(store, "a/file")
    await store.place_hold("a/file", "hold-1")
    aside = root.with_name("aside")
    root.rename(aside)
    root.mkdir()

    async def listed() -> list[str]:
        return [info.key async for info in store.list()]

    for question in (
        store.stat("a/file"), store.delete("a/file"), store.place_hold("a/file", "hold-2"),
        store.release_hold("a/file", "hold-1"), store.set_retention("a/file", 1), listed(),
        content_of(store, "a/file"), put(store, "a/other"), store.set_aside("a/file"),
        store.redescribe("a/file", sha256=digest(CONTENT), content_type="", metadata={}),
    ):  # fmt: skip
        with pytest.raises(VigieError, match="STORE_UNAVAILABLE"):
            await question
    root.rmdir()  # nothing was written below the mount point
    aside.rename(root)
    info = await store.stat("a/file")
    assert info is not None
    assert info.holds == frozenset({"hold-1"})
    assert await store.stat("a/other") is None


async def test_a_link_that_fails_is_the_stores_trouble(
    tmp_path: Path, wall_clock: ManualWallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    store = await open_directory_store(tmp_path / "store", wall_clock, link_sources=True)
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(VigieError, match="STORE_UNAVAILABLE"):
        await store.put_file(
            "file", source, sha256=digest_of(source), content_type="video/mp4", metadata={}
        )
    await store.close()


# --- listing ------------------------------------------------------------------------------------

PART = st.text(alphabet="a!-./0zé~", min_size=1, max_size=3).filter(
    lambda text: "/" not in text and text not in {".", ".."}
)
PATHS = st.lists(st.lists(PART, min_size=1, max_size=3).map("/".join), max_size=25)


def only_possible_in_a_folder(paths: list[str]) -> list[str]:
    folders = {path[:index] for path in paths for index, c in enumerate(path) if c == "/"}
    return sorted(set(paths) - folders, key=str.encode)


@settings(max_examples=examples(50), deadline=None)
@given(
    paths=PATHS,
    prefix=st.text(alphabet="a!-./0zé~", max_size=4),
    after=st.text("a!-./0z", max_size=4),
)
def test_any_listing_is_the_sorted_keys_that_match(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], prefix: str, after: str
) -> None:
    root = tmp_path_factory.mktemp("listing")
    present = only_possible_in_a_folder(paths)
    for path in present:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    expected = [p for p in present if p.startswith(prefix) and p.encode() > after.encode()]
    assert [key for key, _ in list_files(root, prefix, after)] == expected


def test_listing_reads_only_the_folders_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for camera in range(20):
        for day in range(10):
            folder = tmp_path / "footage" / f"cam-{camera:02}" / f"2026-11-{day:02}"
            folder.mkdir(parents=True)
            (folder / "x").touch()
    visited: list[bytes] = []
    real = os.scandir

    def counting(path: bytes) -> object:
        visited.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", counting)
    after = "footage/cam-07/2026-11-07/x"
    listing = list_files(tmp_path, "footage/cam-07/2026-", after)
    assert [key for key, _ in listing] == [f"footage/cam-07/2026-11-0{day}/x" for day in (8, 9)]
    assert len(visited) <= 4
    visited.clear()
    first, _ = next(list_files(tmp_path, "", ""))
    assert first == "footage/cam-00/2026-11-00/x"
    assert len(visited) == 4


def test_the_program_of_the_crash_tests_runs_without_a_fault(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), str(source), KEY, "put"]
    subprocess.run(arguments, check=True)
    assert (tmp_path / "store" / KEY).read_bytes() == CONTENT


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
