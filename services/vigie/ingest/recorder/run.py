"""One run being recorded: fragments into segments, segments closed and recorded, the end."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from vigie.ingest.engine import CodecParameters, FrameGroup, SenderReport
from vigie.ingest.recorder.clock import RunTime
from vigie.ingest.recorder.media import MediaWriter
from vigie.ingest.recorder.metadata import SegmentFacts, segment_record
from vigie.ingest.recorder.names import end_key
from vigie.ingest.recorder.segment import SegmentFile, SyncPolicy
from vigie.ingest.recorder.spread import first_lengths
from vigie.ingest.spool import faults as points
from vigie.ingest.spool.layout import RunDirectory
from vigie.ingest.spool.records import (
    EndRecord,
    RunRecord,
    SegmentRecord,
    write_record,
)
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.folders import sync_folder


class ByteCounter(Protocol):
    """Counts bytes that entered the spool (`SpoolQuota`)."""

    def add(self, size_bytes: int) -> None:
        """Count them."""
        ...


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How runs are written.

    Attributes:
        segment_ticks: length of a segment, in media ticks; cut at the nearest key frame.
        sync: when media is forced to the disk.
        spread: begin with shorter segments (`vigie.ingest.recorder.spread`).
    """

    segment_ticks: int
    sync: SyncPolicy
    spread: bool


def sync_new_run(directory: RunDirectory, record: RunRecord, faults: FaultPoints) -> None:
    """Make the directory of a run and its record durable.

    Raises:
        OSError: the run cannot begin.
    """
    faults.reach(points.RUN_CREATE)
    # Never the directory of all runs: where that is missing the disk of the spool is not mounted,
    # and what is written below the mount point is hidden as soon as it is.
    directory.path.parent.mkdir(exist_ok=True)
    directory.path.mkdir()
    sync_folder(directory.path.parent.parent)
    sync_folder(directory.path.parent)
    write_record(directory.run_record, record, faults)


class RunRecorder:
    """Writes one run; used by one thread at a time.

    Args:
        directory: where the run lies; made and recorded already (`sync_new_run`).
        record: what the run is.
        parameters: of the codec.
        media: makes boxes; the seam where encrypted recording comes in.
        time: the wall clock of this run.
        settings: how to cut and sync.
        quota: counts what enters the spool beyond the media of groups, which was taken before.
        faults: fault points.
    """

    def __init__(
        self,
        directory: RunDirectory,
        record: RunRecord,
        parameters: CodecParameters,
        *,
        media: MediaWriter,
        time: RunTime,
        settings: RunSettings,
        quota: ByteCounter,
        faults: FaultPoints,
    ) -> None:
        self.record = record
        self.directory = directory
        self.parameters = parameters
        self._media = media
        self._time = time
        self._settings = settings
        self._first = first_lengths(record.run, settings.segment_ticks) if settings.spread else ()
        self._quota = quota
        self._faults = faults
        self._table = RandomAccessTable()
        self._file: SegmentFile | None = None
        self._number = 0
        self._segment_start = 0
        self._samples = 0
        self._written_ticks = 0
        self._counted_bytes = 0
        self._end_us: int | None = None
        self.report: SenderReport | None = None

    @property
    def run(self) -> str:
        """Run identifier."""
        return self.record.run

    @property
    def end_us(self) -> int:
        """End of what is written: exact after a segment was closed, else an estimate."""
        if self._end_us is not None and self._file is None:
            return self._end_us
        return self._time.estimate_us(self._written_ticks)

    @property
    def start_estimate_us(self) -> int:
        """Start of the run; an estimate until its first segment is closed."""
        return self._time.estimate_us(0)

    def observe(self, group: FrameGroup) -> bool:
        """Whether ``group`` continues this run by the clock; learns its arrivals."""
        return self._time.observe(group, self._media.end_ticks)

    def append(self, group: FrameGroup) -> SegmentRecord | None:
        """Write a group as a fragment; close the segment when it is long enough.

        Raises:
            OSError: the disk refused; nothing of the group counts. Give the run up then, and after
                any other exception (`abandon`): recovery closes it.
        """
        before = self._media.end_ticks
        fragment = self._media.fragment(group, wall_us=self._time.estimate_us(before))
        if self._file is None:
            self._file = self._begin_segment(before)
        # The index cannot hold a time before the run; no group has one (`CameraRecorder._follows`).
        key_time = max(0, fragment.key_time)
        self._table.append(key_time, self._file.size_bytes + fragment.moof_position)
        self._file.append(fragment.head, fragment.samples)
        self._written_ticks = self._media.end_ticks
        self._samples += len(fragment.samples)
        interval = self._media.end_ticks - before
        length = self._media.end_ticks - self._segment_start
        # Nearest key frame: stop here when the next one would be further from the target.
        closed = None
        if length + interval // 2 >= self._target_ticks:
            closed = self._close_segment()
        size_bytes = closed.size_bytes if closed is not None else self._file.size_bytes
        self._quota.add(size_bytes - self._counted_bytes - group.size_bytes)
        self._counted_bytes = 0 if closed is not None else size_bytes
        return closed

    @property
    def camera_clock_offset_us(self) -> int | None:
        """Clock of the camera minus clock of the receiver, by the last sender report."""
        origin = self._media.origin_ticks
        if self.report is None or origin is None:
            return None
        return self.report.camera_us - self._time.estimate_us(self.report.ticks - origin)

    def close_segment(self) -> SegmentRecord | None:
        """Close what is open, if anything is.

        Raises:
            OSError: it is not closed; recovery can close it.
        """
        if self._file is None:
            return None
        closed = self._close_segment()
        self._quota.add(closed.size_bytes - self._counted_bytes)
        self._counted_bytes = 0
        return closed

    def end(self, reason: str) -> EndRecord:
        """Record that the run is over (its last segment is closed).

        Raises:
            OSError: the end is not recorded; recovery will.
        """
        assert self._file is None
        assert self._end_us is not None
        record = EndRecord(
            camera=self.record.camera,
            run=self.run,
            end_us=self._end_us,
            segment_count=self._number,
            reason=reason,
            object_key=end_key(
                self.record.key_prefix, self.record.key_postfix, self._end_us, self._number
            ),
        )
        self._faults.reach(points.RUN_END)
        write_record(self.directory.end_record, record, self._faults)
        self._faults.reach(points.RUN_ENDED)
        return record

    def abandon(self) -> None:
        """Release the files as they are; what a failed write has left of a group is counted.

        Raises:
            OSError: the disk refuses even that; they are released and counted all the same.
        """
        if self._file is None:
            return
        try:
            self._file.close()
        finally:
            with suppress(OSError):  # the disk is gone: what is on it is counted when it is back
                size_bytes = self.directory.media(self._number).stat().st_size
                self._quota.add(size_bytes - self._counted_bytes)

    @property
    def _target_ticks(self) -> int:
        """How long the open segment is to become."""
        if self._number < len(self._first):
            return self._first[self._number]
        return self._settings.segment_ticks

    def _begin_segment(self, start_ticks: int) -> SegmentFile:
        header = self._media.header
        self._table = RandomAccessTable()
        self._segment_start = start_ticks
        self._samples = 0
        return SegmentFile(
            self.directory,
            self._number,
            header,
            sync=self._settings.sync,
            faults=self._faults,
        )

    def _close_segment(self) -> SegmentRecord:
        assert self._file is not None
        index = self._table.mfra()
        size_bytes, sha256 = self._file.finish(index)
        end_ticks = self._media.end_ticks
        start_us, duration_us = self._time.close(end_ticks)
        facts = SegmentFacts(
            number=self._number,
            start_us=start_us,
            duration_us=duration_us,
            media_start_ticks=self._segment_start,
            media_duration_ticks=end_ticks - self._segment_start,
            sample_count=self._samples,
            size_bytes=size_bytes,
            sha256=sha256,
            header_sha256=hashlib.sha256(self._media.header).hexdigest(),
            camera_clock_offset_us=self.camera_clock_offset_us,
            content_type=self._media.content_type,
            seek_table=self._table.seek_table(),
        )
        record = segment_record(self.record, facts)
        self._faults.reach(points.SEGMENT_RECORD)
        write_record(self.directory.segment_record(self._number), record, self._faults)
        self._faults.reach(points.SEGMENT_RECORDED)
        self.directory.sums(self._number).unlink(missing_ok=True)
        self._file = None
        self._number += 1
        self._end_us = record.end_us
        return record
