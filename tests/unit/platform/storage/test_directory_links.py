"""How content comes into the directory store: by a link, by a copy, or not at all."""

import contextlib
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from unit.platform.storage.directory_support import (
    CONTENT,
    KEY,
    content_of,
    digest,
    put,
)
from vigie.platform.clock import ManualWallClock
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import (
    DirectoryObjectStore,
    FileState,
    open_directory_store,
)
from vigie.platform.objectstore.source import bring, digest_of


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
