"""The directory store is killed, or its disk fails, at every step: all of an object or nothing."""

import asyncio
import errno
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from unit.platform.storage.directory_support import (
    CONTENT,
    DELETE_POINTS,
    KEY,
    PUT_POINTS,
    content_of,
    digest,
    files,
    keys,
    put,
)
from vigie.platform.clock import ManualWallClock
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import CountingFaults, StrikingFaults, raise_errno
from vigie.platform.objectstore import (
    open_directory_store,
)
from vigie.platform.objectstore.tree import FAULT_POINTS

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


def test_the_program_of_the_crash_tests_runs_without_a_fault(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), str(source), KEY, "put"]
    subprocess.run(arguments, check=True)
    assert (tmp_path / "store" / KEY).read_bytes() == CONTENT
