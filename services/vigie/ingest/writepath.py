"""The write path as one thing: writer threads, spool, recovery, uploader.

docs/design/write-path.md goes through it step by step.
"""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from vigie.ingest import metrics
from vigie.ingest.backoff import Backoff
from vigie.ingest.recorder.camera import (
    CameraRecorder,
    RecorderListener,
    RecorderSettings,
    RecorderTools,
)
from vigie.ingest.recorder.intake import CameraIntake
from vigie.ingest.recorder.pool import WriterPool
from vigie.ingest.spool.layout import RunDirectory, SpoolLayout
from vigie.ingest.spool.records import EndRecord, RunRecord, SegmentRecord, SpoolRecordError
from vigie.ingest.spool.repair import RunRepair, RunState
from vigie.ingest.upload.steps import EndUpload, SegmentUpload, UploadTools
from vigie.ingest.upload.uploader import BACKOFF, Uploader, UploadSteps
from vigie.platform.clock import MonotonicClock
from vigie.platform.metrics import MetricsRegistry

_log = structlog.get_logger(__name__)

REPAIR_INTERVAL_SECONDS: Final = 5.0
SWEEP_INTERVAL_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class WritePathSettings:
    """Sizes of the machinery.

    Attributes:
        writer_threads: threads that write to the spool.
        queue_bytes: most media in memory that waits for them.
        upload_concurrency: most uploads at a time.
        upload_backoff: between attempts.
    """

    writer_threads: int = 2
    queue_bytes: int = 256 << 20
    upload_concurrency: int = 8
    upload_backoff: Backoff = BACKOFF


class WritePath:
    """Takes groups of frames, keeps them, stores them, tells of them.

    Args:
        settings: sizes.
        recording: how footage is recorded.
        tools: what every camera's recorder shares.
        upload: what the upload needs.
        monotonic_clock: for waiting.
        source: of jitter.
        registry: metrics.
    """

    def __init__(
        self,
        settings: WritePathSettings,
        *,
        recording: RecorderSettings,
        tools: RecorderTools,
        upload: UploadTools,
        monotonic_clock: MonotonicClock,
        source: random.Random,
        registry: MetricsRegistry,
    ) -> None:
        self._recording = recording
        self._tools = tools
        self._repair: RunRepair = upload.repair
        self._clock = monotonic_clock
        self.pool = WriterPool(threads=settings.writer_threads, queue_bytes=settings.queue_bytes)
        self.uploader = Uploader(
            UploadSteps(SegmentUpload(upload), EndUpload(upload)),
            concurrency=settings.upload_concurrency,
            backoff=settings.upload_backoff,
            monotonic_clock=monotonic_clock,
            source=source,
            registry=registry,
        )
        self._segments = registry.counter(metrics.SEGMENTS)
        self._recovered = registry.counter(metrics.RECOVERED)
        self._refused = registry.counter(metrics.REFUSED)
        self._maintenance: asyncio.Task[None] | None = None

    @property
    def layout(self) -> SpoolLayout:
        """Where the spool is."""
        return self._tools.layout

    async def start(self) -> None:
        """Recover what the last process left, queue it, begin to write.

        Raises:
            OSError: the directory of the spool cannot be used at all.
        """
        await asyncio.to_thread(self.layout.create)
        for state in await asyncio.to_thread(self._recover):
            self._queue(state)
        self._tools.quota.add(await asyncio.to_thread(self.layout.media_bytes))
        self.pool.start()
        self._maintenance = asyncio.create_task(self._maintain(), name="spool-maintenance")

    def intake(
        self, camera: str, *, segment_seconds: int, listener: RecorderListener
    ) -> CameraIntake:
        """Where the session of a camera delivers; ``listener`` is told on the event loop."""
        bridge = _LoopBridge(asyncio.get_running_loop(), self, listener)
        recorder = CameraRecorder(
            camera,
            segment_seconds=segment_seconds,
            settings=self._recording,
            tools=self._tools,
            listener=bridge,
        )
        return CameraIntake(self.pool, recorder, camera, self._refused)

    async def drain_writers(self, timeout_seconds: float) -> bool:
        """Wait until what was taken in is on the disk; false when time ran out."""
        done = await asyncio.to_thread(self.pool.drain, timeout_seconds)
        # What the writers told lies before us in the loop's queue.
        await asyncio.sleep(0)
        return done

    async def stop(self, *, timeout_seconds: float) -> None:
        """Write, upload and tell what is left, as far as the time reaches; the rest is replayed."""
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.gather(self._maintenance, return_exceptions=True)
            self._maintenance = None
        deadline_us = self._clock.now_us() + round(timeout_seconds * 1_000_000)
        await self.drain_writers(timeout_seconds)
        remaining = (deadline_us - self._clock.now_us()) / 1_000_000
        if remaining > 0 and not await self.uploader.drain(remaining):
            _log.warning("spool_not_empty", segments=self.uploader.backlog.waiting_segments)
        await self.uploader.stop()
        await asyncio.to_thread(self.pool.stop, max(1.0, remaining))

    def closed(self, record: SegmentRecord) -> None:
        """A segment was closed (on the event loop)."""
        self._segments.inc()
        self.uploader.segment_closed(self.layout.run(record.camera, record.run), record.number)

    def ended(self, record: EndRecord) -> None:
        """A run was ended (on the event loop)."""
        self.uploader.run_ended(self.layout.run(record.camera, record.run))

    def damaged(self, camera: str, run: str) -> None:
        """A run waits for repair (on the event loop)."""
        self.uploader.run_damaged(self.layout.run(camera, run))

    def _recover(self) -> list[RunState]:
        """Close every run that the last process left open; what cannot be understood goes aside."""
        for stranger in self.layout.strangers():
            self._repair.quarantine(stranger, "not a run of a camera", "STRANGER")
        states = [self._close(run, "RECOVERED") for run in self.layout.run_directories()]
        return [state for state in states if state is not None]

    def _close(self, directory: RunDirectory, reason: str) -> RunState | None:
        was_ended = directory.end_record.exists()
        try:
            state = self._repair.close(directory, reason)
        except SpoolRecordError as error:
            self._repair.quarantine(directory.path, str(error), "RUN_UNREADABLE")
            return None
        except OSError as error:
            _log.warning("run_not_repaired", run=directory.run, error=str(error))
            return RunState(directory, [], ended=True, damaged=True)
        if state.ended and not was_ended:
            self._recovered.inc()
            _log.info("run_recovered", camera=directory.camera, run=directory.run)
        return state

    def _queue(self, state: RunState) -> None:
        if state.damaged:
            self.uploader.run_damaged(state.directory)
            return
        if not state.ended:
            self.uploader.backlog.forget(state.directory)
            return
        for number in state.waiting:
            self.uploader.segment_found(state.directory, number)
        self.uploader.run_ended(state.directory)

    async def _maintain(self) -> None:
        """Try again to close what the disk did not let us close; empty the quarantine in time."""
        swept_us: int | None = None
        while True:
            now_us = self._clock.now_us()
            try:
                if swept_us is None or now_us - swept_us >= SWEEP_INTERVAL_US:
                    swept_us = now_us
                    wall_us = self._tools.wall_clock.now_us()
                    await asyncio.to_thread(self._repair.sweep_quarantine, wall_us)
                await self.repair_damaged()
            except OSError as error:
                _log.warning("spool_maintenance_failed", error=str(error))
            await self._clock.sleep(REPAIR_INTERVAL_SECONDS)

    async def repair_damaged(self) -> None:
        """Try once to close every run that waits for repair.

        Raises:
            OSError: the spool cannot even be looked at.
        """
        for run in self.uploader.backlog.damaged():
            state = await asyncio.to_thread(self._close_counting, run.directory)
            if state is None:
                self.uploader.backlog.forget(run.directory)
            else:
                self._queue(state)

    def _close_counting(self, directory: RunDirectory) -> RunState | None:
        # Only what repair itself closes: the uploader removes, and counts, what was closed before.
        unclosed = _unclosed(directory)
        before = _sizes(unclosed)
        state = self._close(directory, "OUTAGE")
        self._tools.quota.add(_sizes(unclosed) - before)
        return state


def _unclosed(directory: RunDirectory) -> list[Path]:
    if not directory.path.exists():
        return []
    return [
        directory.media(number)
        for number in directory.numbers("m4v")
        if not directory.segment_record(number).exists()
    ]


def _sizes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.exists())


class _LoopBridge:
    """Carries what a writer thread tells to the event loop, in order."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, path: WritePath, listener: RecorderListener
    ) -> None:
        self._loop = loop
        self._path = path
        self._listener = listener

    def run_began(self, run: RunRecord, start_us: int) -> None:
        """See `RecorderListener.run_began`."""
        self._loop.call_soon_threadsafe(self._listener.run_began, run, start_us)

    def segment_closed(self, record: SegmentRecord) -> None:
        """See `RecorderListener.segment_closed`."""
        self._loop.call_soon_threadsafe(self._path.closed, record)
        self._loop.call_soon_threadsafe(self._listener.segment_closed, record)

    def run_ended(self, record: EndRecord) -> None:
        """See `RecorderListener.run_ended`."""
        self._loop.call_soon_threadsafe(self._path.ended, record)
        self._loop.call_soon_threadsafe(self._listener.run_ended, record)

    def interrupted(self, cause: str, detail: str, at_us: int) -> None:
        """See `RecorderListener.interrupted`."""
        self._loop.call_soon_threadsafe(self._listener.interrupted, cause, detail, at_us)

    def run_damaged(self, camera: str, run: str) -> None:
        """See `RecorderListener.run_damaged`."""
        self._loop.call_soon_threadsafe(self._path.damaged, camera, run)
        self._loop.call_soon_threadsafe(self._listener.run_damaged, camera, run)
