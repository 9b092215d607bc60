"""The write path as one thing: writer threads, spool, recovery, uploader.

docs/design/write-path.md goes through it step by step.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
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
REPAIR_ATTEMPTS: Final = 3
"""So often a run is tried that fails for no fault of the disk: the next time will not be better."""


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
        self._attempts: dict[Path, int] = {}  # to close a run, that nobody foresaw to fail

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
            self._put_away(stranger, "not a run of a camera", "STRANGER")
        states = [self._close(run, "RECOVERED") for run in self.layout.run_directories()]
        return [state for state in states if state is not None]

    def _put_away(self, path: Path, why: str, reason: str) -> bool:
        """Move something to quarantine; whether the disk let us."""
        try:
            self._repair.quarantine(path, why, reason)
        except OSError as error:
            _log.warning("not_quarantined", what=str(path), error=str(error))
            return False
        return True

    def _close(self, directory: RunDirectory, reason: str) -> RunState | None:
        """Close a run; whatever is wrong with it costs no other run anything."""
        try:
            was_ended = directory.end_record.exists()
            state = self._repair.close(directory, reason)
        except SpoolRecordError as error:
            if self._put_away(directory.path, str(error), "RUN_UNREADABLE"):
                return None
        except (OSError, MemoryError) as error:
            _log.warning("run_not_repaired", run=directory.run, error=str(error))
        except Exception as error:  # noqa: BLE001 - the boundary of a run's work; it is logged
            self._not_closed(directory, error)
        else:
            self._attempts.pop(directory.path, None)
            if state.ended and not was_ended:
                self._recovered.inc()
                _log.info("run_recovered", camera=directory.camera, run=directory.run)
            return state
        return RunState(directory, [], ended=True, damaged=True)

    def _not_closed(self, directory: RunDirectory, error: Exception) -> None:
        """An error of ours, or media that nobody foresaw: try again, then put it away.

        Its bytes are kept, in quarantine; the segments closed before go their way.
        """
        attempts = self._attempts.get(directory.path, 0) + 1
        self._attempts[directory.path] = attempts
        _log.error(
            "run_not_repaired",
            camera=directory.camera,
            run=directory.run,
            attempts=attempts,
            error=str(error),
            exc_info=error,
        )
        if attempts < REPAIR_ATTEMPTS:
            return
        try:
            self._repair.set_aside(directory, f"{type(error).__name__}: {error}")
        except OSError as refused:
            _log.warning("not_quarantined", what=str(directory.path), error=str(refused))
        else:
            del self._attempts[directory.path]

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
            if swept_us is None or now_us - swept_us >= SWEEP_INTERVAL_US:
                swept_us = now_us
                await _attempt(self._sweep)
            await _attempt(self.repair_damaged)
            await self._clock.sleep(REPAIR_INTERVAL_SECONDS)

    async def _sweep(self) -> None:
        wall_us = self._tools.wall_clock.now_us()
        await asyncio.to_thread(self._repair.sweep_quarantine, wall_us)

    async def repair_damaged(self) -> None:
        """Try once to close every run that waits for repair; one that cannot be waits on."""
        for run in self.uploader.backlog.damaged():
            await _attempt(partial(self._repair_one, run.directory))

    async def _repair_one(self, directory: RunDirectory) -> None:
        state = await asyncio.to_thread(self._close_counting, directory)
        if state is None:
            self.uploader.backlog.forget(directory)
        else:
            self._queue(state)

    def _close_counting(self, directory: RunDirectory) -> RunState | None:
        # Only what repair itself closes: the uploader removes, and counts, what was closed before,
        # unless all goes to quarantine.
        exists = directory.path.exists()
        unclosed = [directory.media(each) for each in directory.unclosed()] if exists else []
        closed = [directory.media(each) for each in directory.numbers("json")] if exists else []
        before, closed_bytes = _sizes(unclosed), _sizes(closed)
        state = self._close(directory, "OUTAGE")
        gone_bytes = closed_bytes if closed_bytes and directory.lacks(directory.path) else 0
        self._tools.quota.add(_sizes(unclosed) - before - gone_bytes)
        return state


async def _attempt(work: Callable[[], Awaitable[None]]) -> None:
    """Do a part of the maintenance; what goes wrong with it is logged, and the next part done."""
    try:
        await work()
    except OSError as error:
        _log.warning("spool_maintenance_failed", error=str(error))
    except Exception:  # noqa: BLE001 - the boundary of a unit of work; it is logged
        _log.exception("spool_maintenance_failed")


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
