"""Closes runs that nobody closed: after a crash, or when the disk refused in mid-write.

What counts is only what lies in the directory of the run, so that it can be broken off at any
step and begun again:

1. half-written records (``*.tmp``) go, altered ones go to quarantine;
2. a segment without a record is cut at its last trusted fragment, indexed, synced, recorded;
   without a single one it goes;
3. the end of the run is recorded; a run without any footage goes, its record last.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import Counter

from vigie.ingest.engine import TIMESCALE
from vigie.ingest.recorder.metadata import SegmentFacts, segment_record
from vigie.ingest.recorder.names import end_key
from vigie.ingest.recorder.segment import SyncPolicy
from vigie.ingest.spool import faults as points
from vigie.ingest.spool.layout import RunDirectory, SpoolLayout
from vigie.ingest.spool.records import (
    EndRecord,
    R,
    RunRecord,
    SegmentRecord,
    SpoolRecordError,
    read_record,
    write_all,
    write_record,
)
from vigie.ingest.spool.scan import ScannedSegment, Unforced, scan_segment
from vigie.media.bmff.header import content_type
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.folders import sync_folder

_log = structlog.get_logger(__name__)

QUARANTINE_DAYS: Final = 28
"""No copy of footage outlives the shortest calendar month (CSI L252-5)."""
MAX_SLEW_PPM: Final = 500
_DAY_SECONDS: Final = 86_400
_MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class RunState:
    """What lies in the directory of a run that is over.

    Attributes:
        directory: the run.
        waiting: closed segments; the upload finds out which were acknowledged before.
        ended: whether the run has footage at all (else its directory was removed).
        damaged: whether the disk did not let it be closed; to be tried again.
    """

    directory: RunDirectory
    waiting: list[int]
    ended: bool
    damaged: bool = False


class RunRepair:
    """Closes runs; blocking, used from a worker thread.

    Args:
        layout: of the spool.
        boot: identifier of the boot of the machine.
        faults: fault points.
        quarantined: counter of what goes to quarantine, by reason.
    """

    def __init__(
        self, layout: SpoolLayout, *, boot: str, faults: FaultPoints, quarantined: Counter
    ) -> None:
        self._layout = layout
        self._boot = boot
        self._faults = faults
        self._quarantined = quarantined

    def close(self, directory: RunDirectory, reason: str) -> RunState:
        """Bring the run to its end (idempotent).

        Args:
            directory: the run; nobody writes to it any more.
            reason: why it ended, when that is not recorded yet.

        Raises:
            SpoolRecordError: it cannot be understood: quarantine it (`quarantine`).
            OSError: the disk refuses; try again later.
        """
        if directory.lacks(directory.path):
            return RunState(directory, [], ended=False)
        run = read_record(directory.run_record, RunRecord)
        if run is None:
            return self._nothing(directory)
        if run.run != directory.run or run.camera != directory.camera:
            raise SpoolRecordError("the run lies under another name")
        self._tidy(directory)
        for number in directory.unclosed():
            self._close_segment(directory, run, number)
        recorded = directory.numbers("json")
        end = self._read(directory.end_record, EndRecord)
        if end is None and not recorded:
            return self._nothing(directory)
        if end is None:
            self._end(directory, run, recorded[-1], reason)
        return RunState(directory, recorded, ended=True)

    def close_segment(self, directory: RunDirectory, number: int) -> None:
        """Make the record of one segment anew, because it was altered.

        Raises:
            SpoolRecordError, OSError: as `close`.
        """
        run = read_record(directory.run_record, RunRecord)
        if run is None:
            raise SpoolRecordError("media without a record of its run")
        self._close_segment(directory, run, number)

    def quarantine(self, path: Path, why: str, reason: str) -> Path:
        """Move what nobody understands out of the way, with the reason beside it."""
        self._quarantined.labels(reason=reason).inc()
        relative = path.relative_to(self._layout.runs)
        target = self._layout.quarantine / "_".join(relative.parts)
        number = 0
        while target.exists():
            number += 1
            target = target.with_name(f"{'_'.join(relative.parts)}.{number}")
        path.replace(target)
        sync_folder(target.parent)
        sync_folder(path.parent)
        target.with_name(target.name + ".why").write_text(why + "\n", encoding="utf-8")
        _log.error("quarantined", what=str(relative), why=why)
        return target

    def set_aside(self, directory: RunDirectory, why: str) -> None:
        """Move what keeps a run from being closed to quarantine, so that the rest of it can be.

        That is its unclosed segments; the whole run when it has none, and cannot be closed still.

        Raises:
            OSError: the disk refuses; try again later.
        """
        unclosed = directory.unclosed()
        if not unclosed:
            self.quarantine(directory.path, why, "RUN_UNCLOSABLE")
        for number in unclosed:
            kept = self.quarantine(directory.media(number), why, "SEGMENT_UNCLOSABLE")
            if directory.sums(number).exists():
                directory.sums(number).replace(kept.with_name(kept.name + ".sums"))

    def sweep_quarantine(self, now_us: int) -> int:
        """Destroy what has been in quarantine for too long: it may hold footage (I9).

        Returns:
            How many entries went.
        """
        oldest = now_us / _MICRO - QUARANTINE_DAYS * _DAY_SECONDS
        gone = 0
        for entry in self._layout.quarantine.iterdir():
            if entry.lstat().st_mtime >= oldest:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
            gone += 1
            _log.info("quarantine_destroyed", what=entry.name)
        return gone

    def _tidy(self, directory: RunDirectory) -> None:
        """Take away what is half-written, altered, or no longer needed."""
        for leftover in directory.path.glob("*.tmp"):
            leftover.unlink()
        for number in directory.numbers("json"):
            if self._read(directory.segment_record(number), SegmentRecord) is not None:
                directory.sums(number).unlink(missing_ok=True)

    def _read(self, path: Path, kind: type[R]) -> R | None:
        """A record that can be made anew: an altered one goes aside and counts as missing."""
        try:
            return read_record(path, kind)
        except SpoolRecordError as error:
            self.quarantine(path, str(error), "RECORD_ALTERED")
            return None

    def _nothing(self, directory: RunDirectory) -> RunState:
        """Remove a run without footage."""
        if directory.numbers("m4v"):
            raise SpoolRecordError("media without a record of its run")
        for path in sorted(directory.path.iterdir(), key=lambda path: path == directory.run_record):
            path.unlink()
        directory.path.rmdir()
        return RunState(directory, [], ended=False)

    def _close_segment(self, directory: RunDirectory, run: RunRecord, number: int) -> None:
        media, sums = directory.media(number), directory.sums(number)
        scanned = scan_segment(media, sums, unforced=self._unforced(run))
        if scanned.altered:
            kept = self._layout.quarantine / f"{run.camera}_{run.run}_{media.name}"
            shutil.copyfile(media, kept)
            self._quarantined.labels(reason="MEDIA_ALTERED").inc()
            _log.error("spool_file_altered", camera=run.camera, run=run.run, number=number)
        if not scanned.fragments:
            media.unlink()
            sums.unlink(missing_ok=True)
            return
        before = read_record(directory.segment_record(number - 1), SegmentRecord)
        facts = self._finish(media, number, scanned, before)
        self._faults.reach(points.SEGMENT_RECORD)
        write_record(directory.segment_record(number), segment_record(run, facts), self._faults)
        self._faults.reach(points.SEGMENT_RECORDED)
        sums.unlink(missing_ok=True)

    def _unforced(self, run: RunRecord) -> Unforced:
        """What of the run may never have reached the disk."""
        if run.boot == self._boot:
            return Unforced.NOTHING
        return Unforced.LAST if run.sync == SyncPolicy.FRAGMENT else Unforced.ANY

    def _finish(
        self, media: Path, number: int, scanned: ScannedSegment, before: SegmentRecord | None
    ) -> SegmentFacts:
        table = RandomAccessTable()
        assert scanned.header is not None
        for fragment in scanned.fragments:
            delay = scanned.header.presentation_delay
            shown_after = fragment.table.composition_offsets[0] - delay
            # Runs of older programs may hold what would be shown before they begin.
            key_time = max(0, fragment.base_decode_time + shown_after)
            table.append(key_time, fragment.moof_offset)
        index = table.mfra()
        self._faults.reach(points.SEGMENT_INDEX)
        _make_our_own(media)
        descriptor = os.open(media, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, scanned.size_bytes)
            os.lseek(descriptor, 0, os.SEEK_END)
            write_all(descriptor, index)
            self._faults.reach(points.SEGMENT_SYNC)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        digest = scanned.digest.copy()
        digest.update(index)
        first, last = scanned.fragments[0], scanned.fragments[-1]
        start_us, duration_us = _times(scanned, before)
        return SegmentFacts(
            number=number,
            start_us=start_us,
            duration_us=duration_us,
            media_start_ticks=first.base_decode_time,
            media_duration_ticks=last.end_decode_time - first.base_decode_time,
            sample_count=sum(len(fragment.table.sizes) for fragment in scanned.fragments),
            size_bytes=scanned.size_bytes + len(index),
            sha256=digest.hexdigest(),
            header_sha256=hashlib.sha256(scanned.header_bytes).hexdigest(),
            camera_clock_offset_us=before.camera_clock_offset_us if before else None,
            content_type=content_type(scanned.header.configuration),
            seek_table=table.seek_table(),
        )

    def _end(self, directory: RunDirectory, run: RunRecord, last: int, reason: str) -> None:
        newest = read_record(directory.segment_record(last), SegmentRecord)
        assert newest is not None
        record = EndRecord(
            camera=run.camera,
            run=run.run,
            end_us=newest.end_us,
            segment_count=last + 1,
            reason=reason,
            object_key=end_key(run.key_prefix, run.key_postfix, newest.end_us, last + 1),
        )
        self._faults.reach(points.RUN_END)
        write_record(directory.end_record, record, self._faults)
        self._faults.reach(points.RUN_ENDED)


def _make_our_own(media: Path) -> None:
    """Give ``media`` bytes of its own where it shares them with a stored object by a hard link.

    A segment is linked into the store only once it is closed, so one that has to be closed is not
    there; but what is stored must not depend on that.
    """
    if media.stat().st_nlink == 1:
        return
    copy = media.with_name(media.name + ".tmp")
    shutil.copyfile(media, copy)
    copy.replace(media)


def _times(scanned: ScannedSegment, before: SegmentRecord | None) -> tuple[int, int]:
    """Start and duration of a segment whose time model died with its process.

    The start is the end of the segment before; of the first segment, the last (best) estimate
    that a ``prft`` box carries. The duration follows the newest ``prft`` within 500 ppm.
    """
    first, last = scanned.fragments[0], scanned.fragments[-1]
    media_us = _ticks_us(last.end_decode_time - first.base_decode_time)
    last_us = _ticks_us(last.base_decode_time - first.base_decode_time)
    known_us = last.wall_us if last.wall_us is not None else 0
    start_us = before.end_us if before is not None else known_us - last_us
    limit_us = media_us * MAX_SLEW_PPM // _MICRO
    slew_us = known_us - last_us - start_us
    return start_us, media_us + max(-limit_us, min(limit_us, slew_us))


def _ticks_us(ticks: int) -> int:
    return (ticks * _MICRO + TIMESCALE // 2) // TIMESCALE
