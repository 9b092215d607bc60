"""Every step of the write path refused by its disk for a while, in process and to the microsecond.

No file system is mounted for this: what `test_disk.py` shows with real disks where it may is
shown here on every machine.
"""

import asyncio
import errno
import fnmatch
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.disks import SPOOL_STEPS
from faults.ledger import Entry, Ledger
from ingest_support import START_US, Installation, eventually, footage, frames_of
from vigie.ingest.spool.gauges import SpoolGauges
from vigie.ingest.v1.events_pb2 import SegmentStored
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import raise_errno
from vigie.platform.objectstore import ObjectStore, PutResult
from vigie.platform.reasons import STORE_UNAVAILABLE

FILM = footage()
SECOND = 1_000_000
CAMERA = "cam-test-01"
CODES = {"full": errno.ENOSPC, "read-only": errno.EROFS, "failing": errno.EIO}


class Switch:
    """Fault points that strike while they are on."""

    def __init__(self) -> None:
        self.steps: tuple[str, ...] = ()
        self.action: Callable[[], None] = lambda: None
        self.strikes = 0

    def reach(self, name: str) -> None:
        if any(fnmatch.fnmatchcase(name, step) for step in self.steps):
            self.strikes += 1
            self.action()


class Delivery:
    """A camera whose session ends never: a group a second."""

    def __init__(self, installation: Installation, camera: str = CAMERA) -> None:
        self.installation = installation
        self.camera = camera
        self.intake = installation.intake(camera)
        self.told = installation.told
        self.next = 0

    async def groups(self, count: int) -> None:
        for _ in range(count):
            assert self.intake.group(FILM.parameters, FILM.group(self.next))
            self.next += 1
        assert await self.installation.path.drain_writers(10)

    def end(self) -> None:
        self.intake.ended("CLOSED_BY_CAMERA", "", 0)

    async def footage(self) -> tuple[list[SegmentStored], list[int]]:
        """Stored segments by time, and which groups are in them, proved by their bytes."""
        mine = [e for e in await self.installation.events() if e.camera == self.camera]
        stored = [e.segment_stored for e in mine if e.HasField("segment_stored")]
        stored.sort(key=lambda segment: segment.start_us)
        kept: list[int] = []
        for segment in stored:
            frames = frames_of(await self.installation.content(segment.object_key))
            for start in range(0, len(frames), 25):
                # The film repeats: which group it is follows from the time, the bytes must fit.
                position = (segment.start_us - START_US + SECOND // 2) // SECOND + start // 25
                assert frames[start : start + 25] == FILM.frames([position])
                kept.append(position)
        return stored, kept


def holes(stored: list[SegmentStored]) -> list[tuple[int, int]]:
    """Where footage does not touch, beyond the error of an estimate: (from, to)."""
    ends = [segment.start_us + segment.duration_us for segment in stored]
    pairs = zip(ends[:-1], stored[1:], strict=True)
    return [(end, after.start_us) for end, after in pairs if after.start_us - end > SECOND // 2]


@pytest.mark.parametrize("step", SPOOL_STEPS)
@pytest.mark.parametrize("code", CODES)
async def test_a_spool_that_refuses_is_a_gap_that_begins_where_footage_ends(
    tmp_path: Path, step: str, code: str, ledger: Ledger
) -> None:
    switch = Switch()
    installation = await Installation(tmp_path).open(faults=switch)
    camera = Delivery(installation)
    await camera.groups(7)
    switch.steps, switch.action = (step,), raise_errno(CODES[code])
    if step == "ingest.run.*":  # which begin only where continuity was broken
        camera.intake.lost("PACKETS_LOST", "", START_US + 7 * SECOND)
    await camera.groups(13)
    switch.steps = ()
    assert switch.strikes
    await installation.path.repair_damaged()
    await camera.groups(40)  # longer than the longest wait before the next attempt
    camera.end()
    assert await installation.path.drain_writers(10)
    await installation.path.repair_damaged()
    assert await installation.path.uploader.drain(20)

    stored, kept = await camera.footage()
    expected = "SPOOL_FULL" if CODES[code] == errno.ENOSPC else "STORE_REFUSED"
    begun = [told for told in camera.told.interruptions if told[0] == expected]
    assert begun, camera.told.interruptions
    assert kept == sorted(set(kept))
    assert set(range(7)) <= set(kept), "what was written before is there"
    assert set(range(50, 60)) <= set(kept), "and it goes on by itself"
    # The first gap begins where its footage ends: nothing between them is left unexplained.
    ends_us = [segment.start_us + segment.duration_us for segment in stored]
    assert any(0 <= end_us - begun[0][2] <= 2 * SECOND for end_us in ends_us), (begun[0], ends_us)
    for start_us, _ in holes(stored):
        assert any(at_us <= start_us for _, _, at_us in begun)
    assert installation.spool_files() == []
    assert installation.tools.quota.used_bytes == 0
    await installation.close()
    ledger.note(
        Entry(
            "disk",
            f"the disk of the spool is {code} at the steps `{step}`",
            f"a gap {expected} from where footage ends; the rest is there, recording goes on alone",
            seen=f"{switch.strikes} refusals in 13 s",
            missing_seconds=60.0 - len(kept),
        )
    )


async def test_a_spool_that_goes_away_is_not_taken_for_done_with(
    tmp_path: Path, ledger: Ledger
) -> None:
    """Segments that wait for their upload wait on while the disk is away, and are stored after."""
    store = UnreachableStore()
    installation = await Installation(tmp_path).open(store=store)  # type: ignore[arg-type]  # __getattr__
    store.inner = installation.directory_store
    camera = Delivery(installation)
    await camera.groups(7)
    waiting = installation.path.uploader.backlog.waiting_segments
    assert waiting == 2
    spool, aside = tmp_path / "spool", tmp_path / "aside"
    spool.rename(aside)
    spool.mkdir()
    store.away = False

    failures = "vigie_ingest_upload_failures_total"
    await eventually(
        lambda: (installation.registry.value(failures, reason="SPOOL_UNREADABLE") or 0) >= 3
    )
    await camera.groups(5)  # the open segment goes on, then nothing new begins
    await installation.path.repair_damaged()
    assert list(spool.iterdir()) == [], "nothing is written below the mount point"
    assert installation.path.uploader.backlog.waiting_segments >= waiting

    spool.rmdir()
    aside.rename(spool)
    await installation.path.repair_damaged()
    await camera.groups(40)
    camera.end()
    assert await installation.path.drain_writers(10)
    await installation.path.repair_damaged()
    assert await installation.path.uploader.drain(20)
    _, kept = await camera.footage()
    assert set(range(7)) <= set(kept)
    assert set(range(45, 52)) <= set(kept)
    assert installation.losses.lost == []
    assert installation.spool_files() == []
    await installation.close()
    ledger.note(
        Entry(
            "disk",
            "the disk of the spool goes away while footage waits there for its upload",
            "what waits is not taken for stored; it is stored once the disk is back",
            seen=f"{waiting} segments waited",
        )
    )


async def test_a_spool_that_goes_away_in_the_middle_of_an_upload_is_not_held_up_by_it(
    tmp_path: Path, ledger: Ledger
) -> None:
    """Stored and told, and not yet removed from the spool: the file comes back with the disk."""
    spool, aside = tmp_path / "spool", tmp_path / "aside"
    switch = Switch()

    def go_away() -> None:
        switch.steps = ()
        spool.rename(aside)
        spool.mkdir()

    installation = await Installation(tmp_path).open(faults=switch)
    camera = Delivery(installation)
    switch.steps, switch.action = ("ingest.upload.remove",), go_away
    await camera.groups(4)
    failures = "vigie_ingest_upload_failures_total"
    await eventually(
        lambda: (installation.registry.value(failures, reason="SPOOL_UNREADABLE") or 0) >= 1
    )
    spool.rmdir()
    aside.rename(spool)
    await camera.groups(8)
    camera.end()
    assert await installation.path.drain_writers(10)
    await installation.path.repair_damaged()
    assert await installation.path.uploader.drain(20)
    _, kept = await camera.footage()
    assert kept == list(range(12))
    assert installation.spool_files() == []
    await installation.close()
    ledger.note(
        Entry(
            "disk",
            "the disk of the spool goes away between the storing of a segment and its removal",
            "the segment is stored once, removed when the disk is back, and holds up nothing",
            missing_seconds=0.0,
        )
    )


async def test_what_is_left_in_a_run_at_its_end_does_not_hold_up_the_next(
    tmp_path: Path,
) -> None:
    installation = await Installation(tmp_path).open()
    camera = Delivery(installation)
    await camera.groups(4)
    assert await installation.path.uploader.drain(20)
    [run] = (tmp_path / "spool" / "runs" / CAMERA).iterdir()
    for name in ("000000.m4v", "000000.sums", "000000.json.tmp"):
        (run / name).write_bytes(b"left over")
    camera.end()
    await camera.groups(4)
    camera.end()
    assert await installation.path.drain_writers(10)
    assert await installation.path.uploader.drain(20)
    _, kept = await camera.footage()
    assert kept == list(range(8))
    assert installation.spool_files() == []
    [media] = (tmp_path / "spool" / "quarantine").glob("*.m4v")
    assert media.read_bytes() == b"left over"
    await installation.close()


class UnreachableStore:
    """The directory store, away for as long as a test wants."""

    def __init__(self) -> None:
        self.away = True
        self.inner: ObjectStore | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    async def put_file(self, key: str, path: Path, **rest: object) -> PutResult:
        if self.away:
            raise VigieError(STORE_UNAVAILABLE, "the line is down")
        assert self.inner is not None
        return await self.inner.put_file(key, path, **rest)  # type: ignore[arg-type]  # passed on


async def test_recording_goes_on_as_far_as_the_spool_reaches(
    tmp_path: Path, ledger: Ledger
) -> None:
    """The store is away for two minutes and the spool holds one: a warning, then a gap, then all
    goes on by itself."""
    minute = sum(FILM.group(index).size_bytes for index in range(60))
    store = UnreachableStore()
    installation = await Installation(tmp_path).open(quota_bytes=minute, store=store)  # type: ignore[arg-type]  # __getattr__
    store.inner = installation.directory_store
    gauges = SpoolGauges(
        pool=installation.path.pool,
        backlog=installation.path.uploader.backlog,
        quota=installation.tools.quota,
        quota_bytes=minute,
        wall_clock=installation.wall,
        registry=installation.registry,
    )
    camera = Delivery(installation)
    first: dict[str, int] = {}
    for second in range(120):
        await camera.groups(1)
        gauges.measure()
        first.setdefault(gauges.level, second)
    refused = first["full"]
    assert list(first) == ["none", "filling", "nearly_full", "full"]
    assert first["filling"] < 35, "warned half a minute before"
    assert refused > 50
    store.away = False
    assert await installation.path.uploader.drain(20)
    await camera.groups(10)
    gauges.measure()
    assert gauges.level == "none"
    camera.end()
    assert await installation.path.drain_writers(10)
    assert await installation.path.uploader.drain(20)

    stored, kept = await camera.footage()
    assert kept == [*range(refused), *range(120, 130)], "older footage is never dropped"
    assert [cause for cause, _, _ in camera.told.interruptions[:1]] == ["SPOOL_FULL"]
    assert camera.told.interruptions[0][2] == holes(stored)[0][0], "to the microsecond"
    await installation.close()
    ledger.note(
        Entry(
            "disk",
            "the store is away for 120 s, the spool holds 60 s",
            "recording goes on as far as the spool reaches, then SPOOL_FULL; older footage is never"
            " dropped; all of it is stored and recording goes on once the store is back",
            seen=f"warned `filling` after {first['filling']} s, `nearly_full` after"
            f" {first['nearly_full']} s, full after {refused} s",
            missing_seconds=120.0 - refused,
        )
    )


async def test_one_camera_whose_folder_is_broken_costs_the_others_nothing(
    tmp_path: Path, ledger: Ledger
) -> None:
    installation = await Installation(tmp_path).open()
    (tmp_path / "spool" / "runs" / "cam-test-02").write_text("not a folder")
    cameras = [Delivery(installation, f"cam-test-0{number}") for number in (1, 2, 3)]
    for _ in range(12):
        await asyncio.gather(*(camera.groups(1) for camera in cameras))
    for camera in cameras:
        camera.end()
    assert await installation.path.drain_writers(10)
    assert await installation.path.uploader.drain(20)
    kept = [(await camera.footage())[1] for camera in cameras]
    assert kept == [list(range(12)), [], list(range(12))]
    assert {cause for cause, _, _ in installation.told.interruptions[:1]} == {"STORE_REFUSED"}
    await installation.close()
    ledger.note(
        Entry(
            "disk",
            "the spool folder of one camera cannot be used",
            "STORE_REFUSED for this camera; its neighbours lose not a frame",
        )
    )
