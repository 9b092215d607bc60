"""The uploader: bounded, in order per camera, patient, idempotent (invariants I1 and I2)."""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

import structlog

from vigie.ingest import metrics
from vigie.ingest.backoff import Backoff
from vigie.ingest.spool.layout import RunDirectory
from vigie.ingest.upload.queue import Backlog, RunBacklog
from vigie.ingest.upload.steps import EndUpload, SegmentUpload
from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import FileState
from vigie.platform.reasons import KEY_INVALID, OBJECT_EXISTS, STORE_CHECKSUM_MISMATCH

_log = structlog.get_logger(__name__)

_OF_THE_OBJECT: Final = frozenset({STORE_CHECKSUM_MISMATCH, OBJECT_EXISTS, KEY_INVALID})

BACKOFF: Final = Backoff(first_seconds=0.5, longest_seconds=30.0)


@dataclass(frozen=True, slots=True)
class UploadSteps:
    """What is done for a segment, and for the end of a run."""

    segment: SegmentUpload
    end: EndUpload


class Uploader:
    """Empties the spool. All methods are called on the event loop.

    Args:
        steps: what one upload does.
        concurrency: most uploads at a time.
        backoff: between attempts.
        monotonic_clock: for waiting and for latencies.
        source: of jitter.
        registry: metrics.
    """

    def __init__(
        self,
        steps: UploadSteps,
        *,
        concurrency: int,
        backoff: Backoff = BACKOFF,
        monotonic_clock: MonotonicClock,
        source: random.Random,
        registry: MetricsRegistry,
    ) -> None:
        self.backlog = Backlog()
        self._steps = steps
        self._slots = asyncio.Semaphore(concurrency)
        self._backoff = backoff
        self._clock = monotonic_clock
        self._random = source
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._stopping = False
        self._seconds = registry.histogram(metrics.UPLOAD_SECONDS)
        self._failures = registry.counter(metrics.UPLOAD_FAILURES)
        self._stored = registry.counter(metrics.UPLOADS)
        self.failing: str | None = None

    def segment_closed(self, directory: RunDirectory, number: int) -> None:
        """This process has just closed a segment, hashing what it wrote; it waits."""
        self.backlog.add_segment(directory, number, _state_after_writing(directory, number))
        self._wake(directory.camera)

    def segment_found(self, directory: RunDirectory, number: int) -> None:
        """A closed segment of a process that is gone, or one that was repaired, waits."""
        self.backlog.add_segment(directory, number)
        self._wake(directory.camera)

    def run_ended(self, directory: RunDirectory) -> None:
        """A run is over; its end follows its segments."""
        run = self.backlog.run(directory)
        run.ended = True
        run.damaged = False
        self._wake(directory.camera)

    def run_damaged(self, directory: RunDirectory) -> None:
        """A run must be repaired before its end can be told."""
        self.backlog.run(directory).damaged = True

    async def drain(self, timeout_seconds: float) -> bool:
        """Wait until nothing waits any more; false when time ran out."""
        tasks = list(self._tasks.values())
        if not tasks:
            return True
        _, pending = await asyncio.wait(tasks, timeout=timeout_seconds)
        return not pending

    async def stop(self) -> None:
        """Give up waiting; what is left is replayed by the next start."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def _wake(self, camera: str) -> None:
        if self._stopping:
            return
        if camera in self._tasks:
            self._news[camera].set()
            return
        self._news[camera] = asyncio.Event()
        task = asyncio.create_task(self._empty(camera), name=f"upload-{camera}")
        self._tasks[camera] = task
        task.add_done_callback(lambda done: self._finished(camera, done))

    def _finished(self, camera: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(camera, None)
        if not task.cancelled() and self.backlog.next(camera, self._clock.now_us()) is not None:
            self._wake(camera)
        else:
            self._news.pop(camera, None)

    async def _empty(self, camera: str) -> None:
        failures, news = 0, self._news[camera]
        while (run := self.backlog.next(camera, self._clock.now_us())) is not None:
            news.clear()
            if run.retry_us > self._clock.now_us():
                await self._pause(run.retry_us, news)
                continue
            try:
                async with self._slots:
                    await self._one(run)
            except Exception as error:  # noqa: BLE001 - the boundary of a unit of work
                self._failed(camera, error)
                if _is_of_the_run(error):
                    self._put_off(run)
                    continue
                failures += 1
                await self._clock.sleep(self._backoff.wait_seconds(failures, self._random))
            else:
                failures = run.failures = run.retry_us = 0
                self.failing = None

    def _put_off(self, run: RunBacklog) -> None:
        """Let the camera's other runs go first: they would fill the spool behind this one."""
        run.failures += 1
        seconds = self._backoff.wait_seconds(run.failures, self._random)
        run.retry_us = self._clock.now_us() + round(seconds * MICROSECONDS_PER_SECOND)

    async def _pause(self, until_us: int, news: asyncio.Event) -> None:
        """Wait until then, or until something else of the camera is to be done."""
        seconds = (until_us - self._clock.now_us()) / MICROSECONDS_PER_SECOND
        sleeping = asyncio.ensure_future(self._clock.sleep(max(seconds, 0.0)))
        told = asyncio.ensure_future(news.wait())
        try:
            await asyncio.wait({sleeping, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            told.cancel()

    async def _one(self, run: RunBacklog) -> None:
        if not run.segments:
            if await self._steps.end.perform(run.directory):
                self.backlog.forget(run.directory)
            else:
                run.damaged = True
            return
        began_us = self._clock.now_us()
        number = run.segments[0]
        written = run.written.get(number)
        if await self._steps.segment.perform(run.directory, number, written):
            self._stored.inc()
            self._seconds.observe((self._clock.now_us() - began_us) / MICROSECONDS_PER_SECOND)
        run.segments.popleft()
        run.written.pop(number, None)

    def _failed(self, camera: str, error: Exception) -> None:
        reason = "SPOOL_UNREADABLE" if isinstance(error, OSError) else "INTERNAL"
        if isinstance(error, VigieError):
            reason = error.reason.name
        elif reason == "INTERNAL":
            _log.exception("upload_error", camera=camera, exc_info=error)
        self._failures.labels(reason=reason).inc()
        self.failing = reason
        _log.warning("upload_failed", camera=camera, reason=reason, error=str(error))


def _is_of_the_run(error: Exception) -> bool:
    """Whether one run's files or objects are to blame: others need not wait for it."""
    if isinstance(error, VigieError):
        return error.reason in _OF_THE_OBJECT
    # What is missing may be the whole spool: its disk is not mounted.
    return not isinstance(error, FileNotFoundError)


def _state_after_writing(directory: RunDirectory, number: int) -> FileState | None:
    """The state of a segment's file, unless it was touched after its record was made durable.

    The record is the last thing written of a segment: a file that changed after it is not what
    its digest was computed from. Both inodes are in memory, so nobody waits for a disk.
    """
    try:
        media = directory.media(number).stat()
        record = directory.segment_record(number).stat()
    except OSError:
        return None
    return FileState.of(media) if media.st_ctime_ns <= record.st_ctime_ns else None
