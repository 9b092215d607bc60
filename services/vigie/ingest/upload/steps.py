"""What is done for one segment and for the end of a run, step by step, each repeatable."""

import asyncio
import errno
import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from vigie.ingest import metrics
from vigie.ingest.recorder.metadata import end_metadata
from vigie.ingest.spool import faults as points
from vigie.ingest.spool.layout import RunDirectory
from vigie.ingest.spool.quota import SpoolQuota
from vigie.ingest.spool.records import (
    EndRecord,
    SegmentRecord,
    SpoolRecordError,
    read_record,
)
from vigie.ingest.spool.repair import RunRepair
from vigie.ingest.upload.events import SEGMENTS_TOPIC, run_ended, segment_stored
from vigie.platform.clock import WallClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.folders import sync_folder
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import FileState, ObjectStore
from vigie.platform.reasons import KEY_INVALID, OBJECT_EXISTS, STORE_CHECKSUM_MISMATCH

_log = structlog.get_logger(__name__)

_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()


class LossListener(Protocol):
    """Told of footage that was recorded and cannot be stored."""

    def footage_lost(self, record: SegmentRecord, detail: str) -> Awaitable[None]:
        """Make it a gap STORE_REFUSED; done when that is durable."""
        ...


@dataclass(frozen=True, slots=True)
class UploadTools:
    """What the steps need."""

    instance: str
    store: ObjectStore
    log: EventLog
    quota: SpoolQuota
    repair: RunRepair
    wall_clock: WallClock
    faults: FaultPoints
    registry: MetricsRegistry
    losses: LossListener


class SegmentUpload:
    """Stores segments."""

    def __init__(self, tools: UploadTools) -> None:
        self._tools = tools
        self._quarantined = tools.registry.counter(metrics.QUARANTINED)

    async def perform(
        self, directory: RunDirectory, number: int, written: FileState | None = None
    ) -> bool:
        """Store one segment, tell it, remove it from the spool.

        What is raised for faults of the segment itself is tried again, too, but others go first.

        Args:
            directory: the run.
            number: of the segment.
            written: its file just after this process wrote and hashed it, if it did; then the
                store need not read it again.

        Returns:
            Whether it was stored; false when it was acknowledged before, or cannot be stored ever
            and lies in quarantine, its loss told.

        Raises:
            VigieError: store or event log refuse now; try again.
            OSError: the spool cannot be read now; try again.
        """
        record, has_media = await self._record(directory, number)
        if record is None:
            return False
        if not has_media:
            return await self._without_media(record)
        try:
            await self._store(record, directory, written)
        except VigieError as error:
            if not await self._is_hopeless(error, record, directory):
                raise
            await self._refuse(record, directory, error.reason.name, str(error))
            return False
        await self._publish(record)
        await asyncio.to_thread(self._remove, record, directory)
        return True

    async def _record(
        self, directory: RunDirectory, number: int
    ) -> tuple[SegmentRecord | None, bool]:
        """The record of a segment, and whether its media is there; neither: acknowledged."""
        repair = self._tools.repair
        path, media = directory.segment_record(number), directory.media(number)

        def look() -> tuple[SegmentRecord | None, bool]:
            record = None if directory.lacks(path) else _existing(path)
            return record, not directory.lacks(media)

        try:
            record, has_media = await asyncio.to_thread(look)
        except SpoolRecordError as error:
            await asyncio.to_thread(repair.quarantine, path, str(error), "RECORD_ALTERED")
            record, has_media = await asyncio.to_thread(look)
        if record is None and has_media:
            # Its record was altered, now or at an attempt before. The media is whole perhaps:
            # without its record, repair closes it anew.
            await asyncio.to_thread(repair.close_segment, directory, number)
            record, has_media = await asyncio.to_thread(look)
        return record, has_media

    async def _store(
        self, record: SegmentRecord, directory: RunDirectory, written: FileState | None
    ) -> None:
        self._tools.faults.reach(points.UPLOAD_STORE)
        if written is not None and written.size_bytes != record.size_bytes:
            written = None  # not what its digest was computed from, whoever wrote it: read it
        result = await self._tools.store.put_file(
            record.object_key,
            directory.media(record.number),
            sha256=record.sha256,
            content_type=record.content_type,
            metadata=record.metadata,
            written=written,
        )
        if result.info.sha256 != record.sha256:
            raise VigieError(STORE_CHECKSUM_MISMATCH, f"{record.object_key}: stored otherwise")

    async def _publish(self, record: SegmentRecord) -> None:
        self._tools.faults.reach(points.UPLOAD_PUBLISH)
        event = segment_stored(
            record, instance=self._tools.instance, now_us=self._tools.wall_clock.now_us()
        )
        await self._tools.log.append(SEGMENTS_TOPIC, [event])

    def _remove(self, record: SegmentRecord, directory: RunDirectory) -> None:
        self._tools.faults.reach(points.UPLOAD_REMOVE)
        media = directory.media(record.number)
        if not directory.lacks(media):
            media.unlink()
        directory.sums(record.number).unlink(missing_ok=True)
        self._tools.quota.release(record.size_bytes)
        # Media that comes back with the power, but without its record, would be taken for a
        # segment that nobody closed, and be stored a second time.
        self._tools.faults.reach(points.UPLOAD_SYNC)
        sync_folder(directory.path)
        self._tools.faults.reach(points.UPLOAD_FORGET)
        if record.number:
            directory.segment_record(record.number - 1).unlink(missing_ok=True)

    async def _without_media(self, record: SegmentRecord) -> bool:
        """The media has gone: acknowledged before the last stop, or taken away by somebody."""
        info = await self._tools.store.stat(record.object_key)
        if info is not None and info.sha256 == record.sha256:
            await self._publish(record)
            return False
        self._quarantined.labels(reason="MEDIA_MISSING").inc()
        _log.error("spool_file_missing", camera=record.camera, key=record.object_key)
        await self._tools.losses.footage_lost(record, "its file vanished from the spool")
        return False

    async def _is_hopeless(
        self, error: VigieError, record: SegmentRecord, directory: RunDirectory
    ) -> bool:
        if error.reason in {OBJECT_EXISTS, KEY_INVALID}:
            return True
        if error.reason != STORE_CHECKSUM_MISMATCH:
            return False
        # Is it the spool that gives other bytes than were recorded, or the store's doing?
        media = directory.media(record.number)
        return await asyncio.to_thread(_sha256, media) != record.sha256

    async def _refuse(
        self, record: SegmentRecord, directory: RunDirectory, reason: str, detail: str
    ) -> None:
        await self._tools.losses.footage_lost(record, f"a segment could not be stored: {reason}")
        media = directory.media(record.number)
        await asyncio.to_thread(self._tools.repair.quarantine, media, detail, reason)
        self._tools.quota.release(record.size_bytes)


class EndUpload:
    """Stores the ends of runs."""

    def __init__(self, tools: UploadTools) -> None:
        self._tools = tools

    async def perform(self, directory: RunDirectory) -> bool:
        """Store the span end object, tell it, remove the run from the spool.

        Returns:
            Whether that is done; false when the record was altered and lies in quarantine: repair
            has to write it anew.

        Raises:
            VigieError: store or event log refuse now; try again.
            OSError: the spool cannot be read now; try again.
        """
        try:
            record = await asyncio.to_thread(read_record, directory.end_record, EndRecord)
        except SpoolRecordError as error:
            await asyncio.to_thread(
                self._tools.repair.quarantine,
                directory.end_record,
                str(error),
                "RECORD_ALTERED",
            )
            return False
        if record is not None:
            await self._store_and_publish(record)
        await asyncio.to_thread(self._remove, directory)
        return True

    async def _store_and_publish(self, record: EndRecord) -> None:
        tools = self._tools
        tools.faults.reach(points.END_STORE)
        await tools.store.put_bytes(
            record.object_key,
            b"",
            sha256=_EMPTY_SHA256,
            content_type="video/mp4",
            metadata=end_metadata(record),
        )
        tools.faults.reach(points.END_PUBLISH)
        event = run_ended(record, instance=tools.instance, now_us=tools.wall_clock.now_us())
        await tools.log.append(SEGMENTS_TOPIC, [event])

    def _remove(self, directory: RunDirectory) -> None:
        """Records of segments first, the run's own last: a half-removed run is told again."""
        if directory.lacks(directory.path):
            return
        self._tools.faults.reach(points.END_REMOVE)
        self._clear(directory)
        for number in directory.numbers("json"):
            directory.segment_record(number).unlink(missing_ok=True)
        # If some came back with the power and the end record did not, the run would be ended
        # again, where the last of them ends: another span end object, in the middle of the span.
        sync_folder(directory.path)
        self._tools.faults.reach(points.END_FORGET)
        directory.end_record.unlink(missing_ok=True)
        directory.run_record.unlink(missing_ok=True)
        directory.path.rmdir()
        # A run that comes back with the power would be taken for one whose media has vanished.
        sync_folder(directory.path.parent)

    def _clear(self, directory: RunDirectory) -> None:
        """Take away what a disk that went and came back has left.

        The directory could not be removed with it, and all later runs of the camera would wait.
        """
        for number in directory.numbers("sums"):
            directory.sums(number).unlink(missing_ok=True)
        for leftover in directory.path.glob("*.tmp"):
            leftover.unlink(missing_ok=True)
        for number in directory.numbers("m4v"):
            why = "left over at the end of its run: stored, or its loss was told"
            self._tools.repair.quarantine(directory.media(number), why, "MEDIA_LEFT_OVER")


def _existing(path: Path) -> SegmentRecord:
    """The record in a file that was there a moment ago.

    Raises:
        SpoolRecordError: it was altered.
        OSError: the disk does not give it now.
    """
    record = read_record(path, SegmentRecord)
    if record is None:
        raise FileNotFoundError(errno.ENOENT, "the record of a segment has gone", str(path))
    return record


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
