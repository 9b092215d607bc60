"""The write path from frames to destroyed objects, and what must hold when it starts again."""

import errno
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import select

from faults.disk_record import DiskRecorder, Mark, Operation
from ingest_support import START_US, Installation, eventually, footage, frames_of
from vigie.app import TOPICS
from vigie.evidence.v1.events_pb2 import HoldState
from vigie.ingest.spool.faults import UPLOAD_STORE
from vigie.ingest.v1.events_pb2 import SegmentStored
from vigie.platform.clock import ManualWallClock, SystemMonotonicClock
from vigie.platform.eventlog import Quarantine, make_event
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.metrics import MetricsRegistry
from vigie.recording.config import RecordingConfig
from vigie.recording.fsck.run import FsckOptions, run_fsck
from vigie.recording.fsck.run import Installation as Checked
from vigie.recording.index.tables import DESTRUCTIONS
from vigie.recording.module import RecordingDependencies, RecordingModule
from vigie.recording.requests import timestamp

FILM: Final = footage()
CAMERA: Final = "cam-test-01"
DATABASE: Final = "machine/data/vigie.db"
DISKS: Final = ("machine", "array")
"""Folders that are there before anything is installed."""
GROUPS: Final = 10
"""Key-frame intervals of one second: three segments of three and one of one."""
AWAY_FROM: Final = 4
"""After this interval the store is away until the last: the segments then go in one go."""
_SECOND_US: Final = 1_000_000
_DELAY_US: Final = 20_000
_JITTER_US: Final = (0, 5_000, -3_000, 2_000, -6_000, 1_000, -8_000, 3_000, -2_000, -9_000)
"""Of the arrivals of each interval: times are then more than a sum of lengths."""
_MINUTE_US: Final = 60 * _SECOND_US
_DAY_US: Final = 86_400 * _SECOND_US
PACKAGE: Final = ("evidence/requests-1.zip", b"a package that is whole or not there" * 500)


class StoreAway:
    """As `FaultPoints`, given to ingest: uploads fail while the store is away."""

    def __init__(self) -> None:
        self.away = False

    def reach(self, name: str) -> None:
        if self.away and name == UPLOAD_STORE:
            raise OSError(errno.EIO, "the store is away")


@dataclass(slots=True)
class Works:
    """Ingest and recording on one machine."""

    ingest: Installation
    module: RecordingModule
    wall: ManualWallClock

    async def settle(self) -> None:
        """Everything taken in is stored, told, indexed, and held where it must be."""
        assert await self.ingest.path.uploader.drain(30)
        for consumer in self.module.consumers.values():
            await eventually(lambda consumer=consumer: consumer.joined)
            assert await consumer.drain(timeout_seconds=30)
        done = await self.module.keeper.work()
        assert not done.failed

    async def hold(self, start_us: int, end_us: int, *, released: bool) -> None:
        """Place or release a hold."""
        state = HoldState(
            hold="hold-1",
            cameras=[CAMERA],
            start_us=start_us,
            end_us=end_us,
            legal_reference="REQ 12",
            evidence_request="evidenceRequests/e1",
            place_time=timestamp(START_US),
        )
        if released:
            state.release_time.CopyFrom(timestamp(self.wall.now_us()))
        event = make_event(
            state, key="hold-1", source="test", wall_clock=self.wall, event_id=f"h{released}"
        )
        await self.ingest.log.append("holds", [event])
        await self.settle()


@asynccontextmanager
async def works(
    root: Path,
    now_us: int,
    *,
    boot: str,
    database_faults: FaultPoints = NO_FAULTS,
    faults: FaultPoints = NO_FAULTS,
) -> AsyncIterator[Works]:
    """Both contexts, started on what lies in ``root``."""
    wall, metrics = ManualWallClock(now_us), MetricsRegistry()
    ingest = Installation(root, wall_clock=wall)
    # As the product lays it out, the bucket in a folder of its own.
    ingest.data_root = root / "machine" / "data"
    ingest.spool_root = ingest.data_root / "spool"
    ingest.store_root = root / "array" / "store"
    await ingest.open(boot=boot, database_faults=database_faults, faults=faults, link_sources=True)
    try:
        await ingest.log.declare(TOPICS)
        module = RecordingModule(
            RecordingConfig(retention_enabled=False),
            RecordingDependencies(
                ingest.database,
                ingest.log,
                Quarantine(ingest.database, wall, ingest.log),
                ingest.store,
                wall,
                SystemMonotonicClock(),
                metrics,
            ),
        )
        await module.start()
        try:
            yield Works(ingest, module, wall)
        finally:
            await module.stop(timeout_seconds=5)
    finally:
        await ingest.close()


async def live(root: Path, recorder: DiskRecorder) -> None:
    """Record footage, store it, hold a part, destroy the rest, release, destroy that too."""
    recorder.mark("wall", START_US)
    store = StoreAway()
    async with works(
        root, START_US, boot="boot-1", database_faults=recorder, faults=store
    ) as all_of_it:
        ingest = all_of_it.ingest
        intake = ingest.intake()
        for index in range(GROUPS):
            recorder.mark("began", index + 1)
            delay_us = _DELAY_US + _JITTER_US[index]
            group = FILM.group(index, delay_us=delay_us, last=index + 1 == GROUPS)
            intake.group(FILM.parameters, group)
            assert await ingest.path.drain_writers(30)
            recorder.mark("kept", index + 1)
            if index + 1 == AWAY_FROM:
                assert await ingest.path.uploader.drain(30)
                store.away = True
        intake.ended("CLOSED_BY_CAMERA", "", 0)
        assert await ingest.path.drain_writers(30)
        store.away = False
        await all_of_it.settle()
        await _package(all_of_it, root / "machine" / "package.zip")
        recorder.mark("package")
        middle_us = START_US + _DELAY_US + 4 * _SECOND_US
        await all_of_it.hold(middle_us, middle_us + _SECOND_US, released=False)
        _later(all_of_it, recorder, 40 * _DAY_US)
        report = await all_of_it.module.sweeper.sweep()
        assert report.objects == 3
        await all_of_it.hold(middle_us, middle_us + _SECOND_US, released=True)
        report = await all_of_it.module.sweeper.sweep()
        assert (report.objects, report.run_ends) == (1, 1)


async def _package(all_of_it: Works, path: Path) -> None:
    """As evidence does: a file that nobody has forced to the disk, given to the store."""
    key, content = PACKAGE
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, content)
    os.close(descriptor)
    await all_of_it.ingest.store.put_file(
        key, path, sha256=hashlib.sha256(content).hexdigest(),
        content_type="application/zip", metadata={},
    )  # fmt: skip
    path.unlink()


def _later(all_of_it: Works, recorder: DiskRecorder, by_us: int) -> None:
    all_of_it.wall.set(all_of_it.wall.now_us() + by_us)
    recorder.mark("wall", all_of_it.wall.now_us())


async def start_again(root: Path, recorder: DiskRecorder, now_us: int) -> None:
    """What the next start does with what it finds, recorded."""
    async with works(root, now_us, boot="boot-2", database_faults=recorder) as all_of_it:
        await all_of_it.settle()


@dataclass(slots=True)
class Promised:
    """What had been promised when the power went."""

    wall_us: int = START_US
    began: int = 0
    kept: int = 0
    package: bool = False
    boot: str = "boot-2"

    def after(self, operations: list[Operation]) -> "Promised":
        """The same, and what these operations have promised."""
        made = Promised(self.wall_us, self.began, self.kept, self.package, self.boot)
        for each in operations:
            if isinstance(each, Mark):
                if each.what == "package":
                    made.package = True
                else:
                    setattr(made, "wall_us" if each.what == "wall" else each.what, each.value)
        return made


@dataclass(slots=True)
class Found:
    """What a start on a tree came to."""

    wrong: list[str] = field(default_factory=list)
    groups: int = 0


async def judge(root: Path, promised: Promised) -> Found:
    """Start again on a tree: everything promised is there, nothing is altered or doubled."""
    found = Found()
    try:
        now_us = promised.wall_us + _MINUTE_US
        async with works(root, now_us, boot=promised.boot) as all_of_it:
            await all_of_it.settle()
            await all_of_it.module.sweeper.sweep()
            await _look(all_of_it, promised, found)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what must not happen
        found.wrong.append(f"the start fails: {type(error).__name__}: {error}")
    return found


async def _look(all_of_it: Works, promised: Promised, found: Found) -> None:
    ingest = all_of_it.ingest
    found.wrong += [f"left in the spool: {name}" for name in ingest.spool_files()]
    quarantine = ingest.spool_root / "quarantine"
    found.wrong += [f"in the quarantine: {path.name}" for path in quarantine.iterdir()]
    await _look_at_footage(all_of_it, promised, found)
    if promised.package:
        info = await ingest.store.stat(PACKAGE[0])
        if info is None or await ingest.content(PACKAGE[0]) != PACKAGE[1]:
            found.wrong.append("the evidence package is not what was stored")
    checked = Checked(
        ingest.database, ingest.store, ingest.log, all_of_it.wall,
        Quarantine(ingest.database, all_of_it.wall, ingest.log), spool=ingest.spool_root,
    )  # fmt: skip
    report = await run_fsck(checked, FsckOptions(deep=True, grace_us=0))
    found.wrong += [f"fsck: {finding.invariant} {finding.what}" for finding in report.findings]


async def _look_at_footage(all_of_it: Works, promised: Promised, found: Found) -> None:
    ingest = all_of_it.ingest
    async with ingest.database.reading() as connection:
        gone = {key for (key,) in await connection.execute(select(DESTRUCTIONS.c.object_key))}
    groups: list[int] = []
    for segment in sorted(await ingest.stored(), key=lambda each: each.start_us):
        covered = _groups_of(segment)
        groups += covered
        if segment.object_key in gone:
            continue
        try:
            content = await ingest.content(segment.object_key)
        except Exception as error:  # noqa: BLE001 - reported as what is wrong
            found.wrong.append(f"footage that was told of cannot be read: {error}")
            continue
        if hashlib.sha256(content).hexdigest() != segment.sha256:
            found.wrong.append("footage that was told of is altered")
        elif frames_of(content) != FILM.frames(covered):
            found.wrong.append("footage is served with other frames than were received")
    found.groups = len(groups)
    if groups != list(range(len(groups))):
        found.wrong.append(f"footage is doubled or missing in the middle: {groups}")
    if not promised.kept <= len(groups) <= promised.began:
        found.wrong.append(
            f"{promised.kept} intervals were on the disk, {promised.began} begun,"
            f" {len(groups)} are there"
        )


def _groups_of(segment: SegmentStored) -> range:
    first = round((segment.start_us - START_US - _DELAY_US) / _SECOND_US)
    return range(first, first + round(segment.duration_us / _SECOND_US))
