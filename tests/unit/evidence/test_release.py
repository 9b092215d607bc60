"""A package is released when what is stored is what was verified."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vigie.evidence.rejection import RejectedError
from vigie.evidence.release import compare_stored
from vigie.platform.clock import ManualWallClock
from vigie.platform.objectstore import FileState
from vigie.platform.objectstore.directory import DirectoryObjectStore, open_directory_store

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = "evidence/a.zip"


class Counting:
    """A store that tells how often it was read from, and may hide that objects are files."""

    def __init__(self, inner: DirectoryObjectStore, *, remote: bool) -> None:
        self._inner = inner
        self._remote = remote
        self.reads = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def local_path(self, key: str) -> Path | None:
        return None if self._remote else await self._inner.local_path(key)

    def read(self, key: str, *, chunk_size: int) -> AsyncIterator[bytes]:
        self.reads += 1
        return self._inner.read(key, chunk_size=chunk_size)


async def put(
    tmp_path: Path, *, link: bool, remote: bool = False
) -> tuple[Counting, FileState, Path]:
    store = await open_directory_store(tmp_path / "store", ManualWallClock(1), link_sources=link)
    path = tmp_path / "package.zip"
    path.write_bytes(CONTENT)
    state = FileState.of(path.stat())
    await store.put_file(
        KEY, path, sha256=SHA256, content_type="application/zip", metadata={}, written=state
    )
    return Counting(store, remote=remote), state, path


async def test_the_very_file_need_not_be_read_again(tmp_path: Path) -> None:
    store, state, _ = await put(tmp_path, link=True)
    await compare_stored(store, KEY, SHA256, state)  # type: ignore[arg-type] # by __getattr__
    assert store.reads == 0


@pytest.mark.parametrize("remote", [False, True])
async def test_a_copy_is_read_back_whole(tmp_path: Path, *, remote: bool) -> None:
    store, state, _ = await put(tmp_path, link=False, remote=remote)
    await compare_stored(store, KEY, SHA256, state)  # type: ignore[arg-type] # by __getattr__
    assert store.reads == 1
    with pytest.raises(RejectedError) as caught:
        await compare_stored(store, KEY, "0" * 64, state)  # type: ignore[arg-type]
    assert caught.value.reason == "FILE_ALTERED"


async def test_a_file_that_was_written_to_since_is_refused(tmp_path: Path) -> None:
    store, state, path = await put(tmp_path, link=True)
    path.chmod(0o600)
    with path.open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"x")
        os.utime(stream.fileno(), ns=(state.written_ns, state.written_ns + 1))
    with pytest.raises(RejectedError) as caught:
        await compare_stored(store, KEY, SHA256, state)  # type: ignore[arg-type]
    assert caught.value.reason == "FILE_ALTERED"
