"""Requests to the store: in a bounded number of threads, with deadlines, tried again, counted.

The client library blocks. Uploads have threads of their own, so that playback does not wait behind
them. A thread is held for one attempt only: the wait before the next one is the event loop's.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from vigie.platform.clock import MonotonicClock
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore.s3 import metrics
from vigie.platform.objectstore.s3.client import Deadline, S3Client
from vigie.platform.objectstore.s3.failures import NO_ANSWER, StoreFailure, failure_of
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.platform.reasons import STORE_UNAVAILABLE

T = TypeVar("T")
log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 3.0
_GRACE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where objects stand.

    Attributes:
        name: of the bucket.
        prefix: what every name in it begins with; empty or with its slash.
    """

    name: str
    prefix: str

    def object_name(self, key: str) -> str:
        """The name of ``key`` in the bucket."""
        return self.prefix + key

    def key(self, object_name: str) -> str:
        """The inverse of `object_name`."""
        return object_name.removeprefix(self.prefix)


class Requests:
    """Runs blocking requests.

    Args:
        client: the S3 client.
        config: limits.
        clock: waits before what failed is tried again.
        registry: where requests are counted.
    """

    def __init__(
        self, client: S3Client, config: S3Config, clock: MonotonicClock, registry: MetricsRegistry
    ) -> None:
        self.client = client
        self.config = config
        self.bucket = Bucket(config.bucket, config.prefix)
        self.place = f"{config.endpoint}/{config.bucket}"
        self._clock = clock
        self._threads = ThreadPoolExecutor(config.request_concurrency, "vigie-s3")
        self._uploads = ThreadPoolExecutor(config.upload_concurrency, "vigie-s3-upload")
        self._seconds = registry.histogram(metrics.REQUESTS)
        self._retries = registry.counter(metrics.RETRIES)
        self._failures = registry.counter(metrics.FAILURES)

    async def run(
        self,
        operation: str,
        work: Callable[[Deadline], T],
        *,
        size_bytes: int = 0,
        uploading: bool = False,
        attempts: int | None = None,
        between: Callable[[StoreFailure], Awaitable[T | None]] | None = None,
    ) -> T:
        """Do a request until it succeeds, its failure is final, or the attempts are used up.

        Args:
            operation: what it is called in metrics and messages; bounded.
            work: the blocking request, which must be harmless when done twice.
            size_bytes: what it transfers; gives it more time.
            uploading: it sends content.
            attempts: another number than the configured one.
            between: asked before another attempt; what it returns is the result.

        Raises:
            StoreFailure: the last failure.
        """
        allowed = attempts or self.config.attempts
        for attempt in range(1, allowed + 1):
            try:
                return await self._attempt(operation, work, size_bytes, uploading=uploading)
            except StoreFailure as failure:
                self._failures.labels(operation=operation, code=failure.label).inc()
                if not failure.passing or attempt == allowed:
                    raise
                log.debug("s3_request_failed", operation=operation, error=failure.message)
                self._retries.labels(operation=operation).inc()
                await self._clock.sleep(_pause_seconds(attempt))
                if between is not None and (found := await between(failure)) is not None:
                    return found
        raise AssertionError

    async def _attempt(
        self, operation: str, work: Callable[[Deadline], T], size_bytes: int, *, uploading: bool
    ) -> T:
        seconds = self.config.deadline_seconds + size_bytes / self.config.slowest_bytes_per_second
        threads = self._uploads if uploading else self._threads

        def attempt() -> T:
            started = time.monotonic()
            try:
                return work(Deadline(seconds))
            except Exception as error:
                failure = failure_of(error, operation, self.place)
                if failure is None:
                    raise
                raise failure from error
            finally:
                self._seconds.labels(operation=operation).observe(time.monotonic() - started)

        loop = asyncio.get_running_loop()
        try:
            pending = loop.run_in_executor(threads, attempt)
        except RuntimeError as error:  # the threads have ended
            raise self._gave_up(operation, "the store is being closed") from error
        try:
            # Sockets have time-outs and transfers deadlines; this is for a store that trickles.
            async with asyncio.timeout(2 * seconds + _GRACE_SECONDS):
                return await pending
        except TimeoutError as error:
            raise self._gave_up(operation, f"no end in {2 * seconds:.0f} s") from error

    def _gave_up(self, operation: str, why: str) -> StoreFailure:
        what = f"cannot {operation} at {self.place}: {why}"
        return StoreFailure(STORE_UNAVAILABLE, what, code=NO_ANSWER, status=None, passing=False)

    async def work(self, work: Callable[[], T], *, uploading: bool = False) -> T:
        """Run something blocking that is no request (reading and hashing files)."""
        threads = self._uploads if uploading else self._threads
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    async def close(self) -> None:
        """Let what is under way end, then close the connections (idempotent)."""
        for threads in (self._uploads, self._threads):
            await asyncio.to_thread(threads.shutdown, wait=True)
        self.client.close()


def _pause_seconds(attempt: int) -> float:
    """Exponential, half of it random, so that many clients do not come back at once."""
    longest: float = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    return longest / 2 + random.random() * longest / 2  # noqa: S311 - not for secrets
