"""The footage of one camera: which run a group belongs to, and what ends a run."""

import errno
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from vigie.ingest.engine import TIMESCALE, CodecParameters, EndCause, FrameGroup, SenderReport
from vigie.ingest.recorder.clock import RunTimeFactory
from vigie.ingest.recorder.media import MediaWriterFactory
from vigie.ingest.recorder.names import key_lead
from vigie.ingest.recorder.run import RunRecorder, RunSettings, sync_new_run
from vigie.ingest.recorder.segment import SyncPolicy
from vigie.ingest.spool.layout import SpoolLayout
from vigie.ingest.spool.quota import SpoolQuota
from vigie.ingest.spool.records import EndRecord, RunRecord, SegmentRecord
from vigie.media.errors import MediaError
from vigie.media.gop import Limits
from vigie.platform.clock import WallClock
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.identifiers import IdentifierSource

_log = structlog.get_logger(__name__)

OVERLAP_TOLERANCE_US: Final = 2_000_000
"""Runs of a camera that seem to overlap by less do so only by the error of the estimate; more is
a clock that was set back, and times are never rewritten."""

EARLY_TICKS: Final = Limits().backward_ticks
"""A group may begin so much before the group before was said to end: frames that step back are
followed that far. None begins later: what is missing in between is told as lost."""

RETRY_STEP_US: Final = 5_000_000
RETRY_STEPS: Final = 6
"""After the second failed write in a row, wait 5 s before the next, then 10 s ... 30 s."""


class RecorderListener(Protocol):
    """Told from a writer thread, in order; must return at once."""

    def run_began(self, run: RunRecord, start_us: int) -> None:
        """The first fragment of a run is in the spool; ``start_us`` is an estimate."""
        ...

    def segment_closed(self, record: SegmentRecord) -> None:
        """A segment waits for its upload."""
        ...

    def run_ended(self, record: EndRecord) -> None:
        """A run is over, its record waits for its upload."""
        ...

    def interrupted(self, cause: str, detail: str, at_us: int) -> None:
        """No footage from ``at_us`` on, for a cause on this side of the cable or that of it."""
        ...

    def run_damaged(self, camera: str, run: str) -> None:
        """A run could not be closed; repair has to, once the disk works again."""
        ...


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """How footage is recorded.

    Attributes:
        instance: this ingest process.
        boot: identifier of the boot of the machine.
        key_prefix: what object keys begin with, before the camera.
        sync: when media is forced to the disk.
        spread: let runs begin with shorter segments, so that cameras that were started together do
            not close theirs together.
    """

    instance: str
    boot: str
    key_prefix: str
    sync: SyncPolicy
    spread: bool


@dataclass(frozen=True, slots=True)
class RecorderTools:
    """What every camera's recorder shares."""

    layout: SpoolLayout
    quota: SpoolQuota
    media: MediaWriterFactory
    time: RunTimeFactory
    identifiers: IdentifierSource
    wall_clock: WallClock
    faults: FaultPoints


class CameraRecorder:
    """Turns what a session delivers into runs; used by one writer thread.

    Args:
        camera: camera identifier.
        segment_seconds: length of a segment.
        settings: of the installation.
        tools: what all cameras share.
        listener: is told what happens.
    """

    def __init__(
        self,
        camera: str,
        *,
        segment_seconds: int,
        settings: RecorderSettings,
        tools: RecorderTools,
        listener: RecorderListener,
    ) -> None:
        self._camera = camera
        self._settings = settings
        self._tools = tools
        self._listener = listener
        self.configure(segment_seconds)
        self._run: RunRecorder | None = None
        self._report: SenderReport | None = None
        self._end_us: int | None = None
        self._gap_told = False
        self._continues = False
        self._next_ticks = 0  # where the next group of the run begins, while it continues
        self._failures = 0
        self._retry_us = 0
        self._refused_as = ("", "")

    def group(self, parameters: CodecParameters, group: FrameGroup) -> None:
        """Record one key-frame interval."""
        if self._run is not None and self._continues and not self._follows(group):
            # Else it would be placed by times that do not count from where the run began.
            detail = "the frames do not begin where the ones before end"
            self._interrupt(EndCause.CLOCK_JUMP, detail, group.arrival_us[0])
        if self._run is not None and self._run.parameters != parameters:
            # Nothing was lost in between, or `lost` had been called: the runs touch.
            self._end_run("PARAMETERS_CHANGED", continues=True)
        if self._run is not None and not self._continues:
            detail = "the frames do not follow the ones before"
            self._interrupt(EndCause.PACKETS_LOST, detail, group.arrival_us[0])
        if group.arrival_monotonic_us[-1] < self._retry_us:
            self._interrupt(*self._refused_as, group.arrival_us[0])
            return
        try:
            if not self._tools.quota.take(group.size_bytes):
                detail = "the spool has no room for new footage"
                self._interrupt("SPOOL_FULL", detail, group.arrival_us[0])
                return
        except OSError as error:  # the disk does not even say how much room it has
            self._give_up(error, group)
            return
        try:
            self._record(parameters, group)
        except Exception as error:  # noqa: BLE001 - the boundary of a group's work; `_give_up` logs it
            # Even what nobody expects: a run that went on would have a hole in its middle.
            self._tools.quota.release(group.size_bytes)
            self._give_up(error, group)

    def configure(self, segment_seconds: int) -> None:
        """Cut segments of another length from the next run on."""
        settings = self._settings
        self._run_settings = RunSettings(
            segment_seconds * TIMESCALE, settings.sync, settings.spread
        )

    def lost(self, cause: str, detail: str, at_us: int) -> None:
        """Continuity is broken at about ``at_us``."""
        self._interrupt(cause, detail, at_us)

    def ended(self, cause: str, detail: str, at_us: int) -> None:
        """The session is over."""
        self._interrupt(cause, detail, at_us)
        self._report = None

    def refused(self) -> None:
        """Footage was refused because the writers cannot keep up."""
        detail = "the disk of the spool is too slow for the footage"
        self._interrupt("STORE_REFUSED", detail, self._tools.wall_clock.now_us())

    def note_sender_report(self, report: SenderReport) -> None:
        """The camera told its clock; may be called from another thread (one reference is set)."""
        self._report = report

    def _record(self, parameters: CodecParameters, group: FrameGroup) -> None:
        if self._run is not None and not self._run.observe(group):
            detail = "arrivals no longer fit the times before"
            self._interrupt(EndCause.CLOCK_JUMP, detail, group.arrival_us[0])
        began = self._run is None
        if self._run is None:
            self._run = self._open_run(parameters, group)
        run = self._run
        run.report = self._report
        closed = run.append(group)
        self._continues = group.next_ticks is not None
        self._next_ticks = group.next_ticks or 0
        if began:
            self._failures = 0
            self._gap_told = False
            self._listener.run_began(run.record, run.start_estimate_us)
        if closed is not None:
            self._closed(closed)

    def _follows(self, group: FrameGroup) -> bool:
        """Whether the times of the group go on where it was said that they would."""
        return 0 <= self._next_ticks - min(group.presentation_ticks) <= EARLY_TICKS

    def _open_run(self, parameters: CodecParameters, group: FrameGroup) -> RunRecorder:
        tools = self._tools
        media, run_id = tools.media(parameters), tools.identifiers.hex()
        record = RunRecord(
            camera=self._camera,
            run=run_id,
            instance=self._settings.instance,
            created_us=tools.wall_clock.now_us(),
            boot=self._settings.boot,
            codec=parameters.codec,
            codec_string=parameters.codec_string,
            width=parameters.width,
            height=parameters.height,
            parameter_sets=[nal.hex() for nal in parameters.parameter_sets],
            key_prefix=key_lead(self._settings.key_prefix, self._camera),
            sync=self._settings.sync.value,
            key_postfix=run_id,
        )
        directory = tools.layout.run(self._camera, record.run)
        try:
            sync_new_run(directory, record, tools.faults)
        except BaseException:
            # What was made of it must not stay: a disk that refuses for hours is tried often.
            self._listener.run_damaged(self._camera, record.run)
            raise
        run = RunRecorder(
            directory,
            record,
            parameters,
            media=media,
            time=tools.time(
                start_us=self._end_us if self._continues else None,
                not_before_us=self._not_before(group),
            ),
            settings=self._run_settings,
            quota=tools.quota,
            faults=tools.faults,
        )
        run.observe(group)
        return run

    def _not_before(self, group: FrameGroup) -> int | None:
        if self._end_us is None:
            return None
        # By the clock as it is now: the group may have begun before the clock was set.
        passed_us = group.arrival_monotonic_us[-1] - group.arrival_monotonic_us[0]
        behind = self._end_us - (group.arrival_us[-1] - passed_us)
        return self._end_us if behind < OVERLAP_TOLERANCE_US else None

    def _interrupt(self, cause: str, detail: str, at_us: int) -> None:
        """Tell that there is no footage, from the end of the last on.

        What is missing since then was told with its own cause, if anything was: then ``at_us``
        is when this one was met.
        """
        if self._run is not None:
            self._end_run(_end_reason(cause), continues=False)
        self._continues = False
        if self._end_us is not None and not self._gap_told:
            at_us = self._end_us
        self._gap_told = True
        self._listener.interrupted(cause, detail, at_us)

    def _end_run(self, reason: str, *, continues: bool) -> None:
        run, self._run = self._run, None
        self._continues = continues
        if run is None:
            return
        self._end_us = run.end_us
        try:
            closed = run.close_segment()
            if closed is not None:
                self._closed(closed)
            self._listener.run_ended(run.end(reason))
        except Exception as error:  # noqa: BLE001 - the boundary of a run's work: repair ends it
            _log.warning(
                "run_not_closed",
                camera=self._camera,
                run=run.run,
                error=str(error),
                exc_info=not _is_foreseen(error),
            )
            self._damaged(run)

    def _give_up(self, error: Exception, group: FrameGroup) -> None:
        """A write failed: nothing of the group counts; what was written before does."""
        run, self._run = self._run, None
        self._continues = False
        wait_us = RETRY_STEP_US * min(self._failures, RETRY_STEPS)
        self._failures += 1
        self._retry_us = group.arrival_monotonic_us[-1] + wait_us
        self._refused_as = _write_failure(error)
        _log.warning(
            "footage_refused",
            camera=self._camera,
            cause=self._refused_as[0],
            error=str(error),
            exc_info=not _is_foreseen(error),
        )
        if run is not None:
            self._end_us = run.end_us
            self._damaged(run)
        self._interrupt(*self._refused_as, group.arrival_us[0])

    def _damaged(self, run: RunRecorder) -> None:
        with suppress(OSError):  # what matters is that somebody looks at the run
            run.abandon()
        self._listener.run_damaged(self._camera, run.run)

    def _closed(self, record: SegmentRecord) -> None:
        self._end_us = record.end_us
        self._listener.segment_closed(record)


def _end_reason(cause: str) -> str:
    """The name of the reason with which a run ends when ``cause`` interrupts it."""
    return cause if cause in {EndCause.STOPPED, EndCause.CLOCK_JUMP} else "OUTAGE"


def _is_foreseen(error: Exception) -> bool:
    """Whether disk or stream are to blame; else it is an error of ours, and its trace is wanted."""
    return isinstance(error, OSError | MediaError | ValueError)


def _write_failure(error: Exception) -> tuple[str, str]:
    """Cause and detail of footage that could not be written."""
    if not _is_foreseen(error):
        return EndCause.INGEST_DOWN, "an internal error; see the log"
    if not isinstance(error, OSError):
        return EndCause.STREAM_UNSUPPORTED, f"the stream cannot be stored: {error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "SPOOL_FULL", "the disk of the spool is full"
    return "STORE_REFUSED", f"the disk of the spool refuses: {error.strerror or error}"
