"""A small recorded installation at rest, built once, copied for each thing that is broken in it.

Nothing runs while it is broken: a mutation is what a person with a shell, a failing disk or a
careless copy does to files and rows. Times are those of `recording_support`.
"""

import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from faults.places import FilePlace, Place
from recording_footage import RecordedRun, RecordedSegment, record_run
from recording_rig import Rig, recording_rig
from recording_support import DAY, HOUR, RUN_A, RUN_B, SECOND, T0
from vigie.audit.recorder import TOPICS as AUDIT_TOPICS
from vigie.audit.recorder import record_of
from vigie.common.v1 import access_pb2
from vigie.common.v1.types_pb2 import GapCause
from vigie.ingest.recorder.metadata import segment_metadata
from vigie.ingest.spool.records import RunRecord, SegmentRecord, write_record
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.database import EmbeddedDatabase
from vigie.platform.eventlog import EmbeddedEventLog, Event, Quarantine
from vigie.platform.faultpoint import NO_FAULTS
from vigie.platform.grpc.record import AccessEntry, Phase
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore.directory import DirectoryObjectStore, open_directory_store
from vigie.recording.config import RecordingConfig
from vigie.recording.fsck import FsckOptions, Installation, Parts, Report, run_fsck
from vigie.recording.holdkeeper import HoldKeeper
from vigie.recording.metrics import RecordingMetrics
from vigie.recording.retention.planner import RetentionPlanner
from vigie.recording.retention.sweeper import RetentionSweeper, SweeperParts

CAMERA: Final = "cam-a"
OTHER: Final = "cam-b"
RUN_C: Final = "0195" + "c" * 28
RUN_D: Final = "0195" + "d" * 28
RUN_E: Final = "0195" + "e" * 28
NOW: Final = T0 + 600 * SECOND
A: Final = record_run(CAMERA, RUN_A, T0)
B: Final = record_run(CAMERA, RUN_B, T0 + 10 * SECOND)
GONE: Final = record_run(OTHER, RUN_C, T0 - 3 * DAY)
"""Was destroyed by retention before the rest was recorded."""
D: Final = record_run(OTHER, RUN_D, T0 + 20 * SECOND)
LONG_OUTAGE: Final = f"{OTHER}-{T0 - 20 * HOUR}"
DATABASE: Final = Path("data/vigie.sqlite")
INDEX: Final = {
    "recording_segments": "*",
    "recording_spans": "*",
    "recording_destroyed_spans": "*",
    "recording_run_ends": "*",
    "recording_outages": "*",
    "recording_camera_states": "*",
    "recording_hold_cameras": "*",
    "recording_hold_objects": "*",
    "recording_holds": "hold, start_us, end_us, released_us",
}
"""What a repair must bring back to what it was, to the last row."""


async def _accesses(rig: Rig) -> None:
    await rig.log.declare(AUDIT_TOPICS)
    for number in range(3):
        for phase in (Phase.OPENED, Phase.CLOSED):
            name = f"{number}-{phase.value}"
            entry = AccessEntry(
                record=name,
                request_id=f"request-{number}",
                phase=phase,
                time_us=T0 + number * SECOND,
                subject="anne@ville.example",
                method="/vigie.recording.v1.PlaybackService/Play",
                kind=access_pb2.RECORD_KIND_CONSULTATION,
                permission="footage.play",
                allowed=True,
                objects=(f"cameras/{CAMERA}",),
            )
            record = record_of(entry)
            content = record.SerializeToString(deterministic=True)
            kind, subject = record.DESCRIPTOR.full_name, entry.subject
            event = Event(subject, kind, content, name, entry.time_us, "vigie/audit")
            await rig.log.append("accesses", [event])


async def build(folder: Path) -> None:
    """Record the installation, without waiting for the time it tells of."""
    config = RecordingConfig(retention_enabled=False)
    async with recording_rig(folder, T0 - 3 * DAY, config=config) as rig:
        await rig.camera(OTHER, T0 - 4 * DAY, retention_days=1)
        await rig.camera(CAMERA, T0 - 4 * DAY, revision=1)
        rig.wall.set(T0 - 3 * DAY + 60 * SECOND)
        await rig.run(GONE)
        await rig.settle()
        rig.wall.set(T0 - HOUR)
        await rig.module.sweeper.sweep()
        await rig.camera(CAMERA, T0, revision=2, zone="zone-2")
        unreachable = GapCause.GAP_CAUSE_CAMERA_UNREACHABLE
        await rig.outage(OTHER, T0 - 20 * HOUR, T0 - 10 * HOUR, unreachable)
        rig.wall.set(T0 + 60 * SECOND)
        await rig.run(A)
        silent = GapCause.GAP_CAUSE_CAMERA_SILENT
        await rig.outage(CAMERA, A.end_us, T0 + 10 * SECOND, silent)
        await rig.run(B)
        await rig.run(D)
        await rig.settle()
        await rig.hold("hold-1", CAMERA, T0, T0 + 3 * SECOND)
        await rig.hold("hold-2", CAMERA, T0 + 10 * SECOND, T0 + 12 * SECOND)
        await rig.hold("hold-2", CAMERA, T0 + 10 * SECOND, T0 + 12 * SECOND, released=True)
        await _accesses(rig)
        await rig.settle()
    for path in (folder / "store").rglob("*"):
        os.utime(path, ((T0 + 60 * SECOND) / SECOND,) * 2)
    (folder / "spool" / "runs").mkdir(parents=True)
    (folder / "spool" / "quarantine").mkdir()


@dataclass(frozen=True)
class Estate:
    """A copy of the installation, to be broken.

    Attributes:
        folder: its files.
        elsewhere: where its rows are, if they are not in a file among them.
    """

    folder: Path
    elsewhere: Place | None = None

    @property
    def place(self) -> Place:
        return self.elsewhere or FilePlace(self.folder, DATABASE)

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Change rows by hand; what was to be changed must be there."""
        rows, count = self.place.sql(statement, *values)
        changes = statement.lstrip()[:6].upper() in {"UPDATE", "DELETE", "INSERT"}
        assert not changes or count > 0, f"nothing changed by: {statement}"
        return rows

    def columns(self, table: str) -> list[str]:
        """Names of the columns of a table, in order."""
        return self.place.columns(table)

    def rows(self) -> dict[str, list[Any]]:
        """The index, whole."""
        return {
            table: sorted(self.sql(f"SELECT {columns} FROM {table}"), key=repr)
            for table, columns in INDEX.items()
        }

    def object(self, key: str) -> Path:
        """The content of an object."""
        return self.folder / "store" / key

    def record(self, key: str) -> Path:
        """The record of an object."""
        *folders, name = key.split("/")
        root = self.folder / "store" / ".vigie" / "meta"
        return root.joinpath(*(f"{one}.d" for one in folders), f"{name}.json")

    def write(self, path: Path, content: bytes, at_us: int = T0) -> None:
        """Put bytes into a file, as of a time."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.chmod(0o644)
        path.write_bytes(content)
        self.touch(path, at_us)

    def touch(self, path: Path, at_us: int = T0) -> None:
        os.utime(path, (at_us / SECOND, at_us / SECOND))

    def topic(self, name: str) -> int:
        """The number of a topic."""
        return int(self.sql("SELECT topic FROM eventlog_topic WHERE name = ?", name)[0][0])

    def append(self, topic: str, key: str, kind: str, value: bytes | None, event_id: str) -> None:
        """Append an event by hand, as of a minute after everything was recorded."""
        number = self.topic(topic)
        self.sql(
            "INSERT INTO eventlog_event SELECT topic, next_offset, ?, ?, ?, ?, ?, 'by hand', NULL,"
            " ? FROM eventlog_topic WHERE topic = ?",
            key, kind, value, event_id, T0 + 60 * SECOND, T0 + 60 * SECOND, number,
        )  # fmt: skip
        self.sql("UPDATE eventlog_topic SET next_offset = next_offset + 1 WHERE topic = ?", number)

    def contents(self) -> set[str]:
        """Digests of everything with content in the store and in its quarantine."""
        store = self.folder / "store"
        found = [p for p in store.rglob("*") if p.is_file() and "meta" not in p.parts]
        return {_sha256(path) for path in found if path.stat().st_size and path.name != "LOCK"}

    def fingerprint(self) -> str:
        """Digest of every file: of the database its rows, of the rest the bytes."""
        digest = hashlib.sha256(repr(self.rows()).encode())
        for table in ("eventlog_event", "recording_destructions"):
            digest.update(repr(sorted(self.sql(f"SELECT * FROM {table}"), key=repr)).encode())
        for root in (self.folder / "store", self.spool):
            for path in sorted(root.rglob("*")):
                if path.is_file() and path.name != "LOCK":
                    digest.update(f"{path}{_sha256(path)}".encode())
        return digest.hexdigest()

    def spooled(self, run: RecordedRun, *, end: bool = False) -> Path:
        """Put the first segment of a run into the spool, closed, as ingest leaves it."""
        folder = self.spool / "runs" / run.camera / run.run
        folder.mkdir(parents=True)
        segment = run.segments[0]
        write_record(folder / "run.json", _run_record(run), NO_FAULTS)
        write_record(folder / "000000.json", spool_record(segment), NO_FAULTS)
        (folder / "000000.m4v").write_bytes(segment.data)
        for path in (*folder.iterdir(), folder):
            self.touch(path)
        return folder


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run_record(run: RecordedRun) -> RunRecord:
    segment = run.segments[0]
    key_prefix = f"footage/{run.camera}"
    return RunRecord(
        run.camera, run.run, "instance", T0, "boot", "h264", segment.codec, 192, 64, [],
        key_prefix, key_postfix=run.run,
    )  # fmt: skip


def spool_record(segment: RecordedSegment) -> SegmentRecord:
    """The record of a closed segment."""
    record = SegmentRecord(
        camera=segment.camera,
        run=segment.run,
        number=segment.number,
        object_key=segment.key,
        start_us=segment.start_us,
        duration_us=segment.duration_us,
        media_start_ticks=segment.media_start,
        media_duration_ticks=segment.media_duration,
        timescale=90_000,
        sample_count=segment.sample_count,
        size_bytes=len(segment.data),
        sha256=segment.sha256,
        header_sha256=segment.header_sha256,
        codec=segment.codec,
        width=192,
        height=64,
        camera_clock_offset_us=None,
        content_type=segment.mime,
    )
    record.metadata.update(segment_metadata(record, seek_table=segment.seek_table))
    return record


@dataclass(frozen=True)
class Opened:
    """The storage of an estate, and the checker on it."""

    database: EmbeddedDatabase
    log: EmbeddedEventLog
    store: DirectoryObjectStore
    wall: ManualWallClock
    keeper: HoldKeeper
    spool: Path

    async def check(self, *, deep: bool = False) -> Report:
        installation = Installation(
            self.database,
            self.store,
            self.log,
            self.wall,
            quarantine=Quarantine(self.database, self.wall, self.log),
            numbering=self.log,
            spool=self.spool,
        )
        return await run_fsck(installation, FsckOptions(deep=deep))

    async def retention(self) -> None:
        """One round of it."""
        planner = RetentionPlanner(self.database, ZoneInfo("Europe/Paris"))
        metrics = RecordingMetrics(MetricsRegistry())
        parts = SweeperParts(self.database, self.store, self.log, self.wall, planner, metrics)
        await RetentionSweeper(parts, ahead_us=0).sweep()

    def parts(self) -> Parts:
        return Parts(self.database, self.store, self.log, self.wall, self.keeper)


@asynccontextmanager
async def opened(estate: Estate, now_us: int = NOW) -> AsyncIterator[Opened]:
    """Open the storage of an estate, with nothing running on it."""
    wall = ManualWallClock(now_us)
    database = await estate.place.opened()
    log = EmbeddedEventLog(database, wall)  # its tables are there
    store = await open_directory_store(estate.folder / "store", wall)
    metrics = RecordingMetrics(MetricsRegistry())
    keeper = HoldKeeper(database, store, wall, ManualMonotonicClock(), metrics)
    try:
        yield Opened(database, log, store, wall, keeper, estate.spool)
    finally:
        await store.close()
        await log.close()
        await database.close()


def copy(template: Path, folder: Path, elsewhere: Place | None = None) -> Estate:
    """A copy of the installation that may be broken; of its rows, too, if they are elsewhere."""
    shutil.copytree(template, folder, symlinks=True)
    return Estate(folder, None if elsewhere is None else elsewhere.copied(folder))


def names(report: Report) -> Sequence[str]:
    """The findings in one line each, for a failing test to show."""
    return [str(finding) for finding in report.findings]
