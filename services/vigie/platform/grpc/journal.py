"""Writes access entries for the host: fail closed before an answer, insist afterwards."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.metrics import HostMetrics
from vigie.platform.grpc.record import AccessEntry, AccessRecorder
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.reasons import ACCESS_NOT_RECORDED

_RETRY_SECONDS = (0.2, 1.0, 3.0, 10.0)


class AccessJournal:
    """The recorder as the host uses it.

    Args:
        recorder: where entries go.
        timeout_seconds: an entry not durable within this time counts as not recorded.
    """

    def __init__(
        self,
        recorder: AccessRecorder,
        *,
        wall_clock: WallClock,
        monotonic_clock: MonotonicClock,
        identifiers: IdentifierSource,
        metrics: HostMetrics,
        timeout_seconds: float,
    ) -> None:
        self._recorder = recorder
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock
        self._identifiers = identifiers
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._background: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("vigie.grpc")

    def now_us(self) -> int:
        """The wall clock, for the ``time_us`` of entries."""
        return self._wall_clock.now_us()

    def new_identifier(self) -> str:
        """An identifier for an entry or a request."""
        return self._identifiers.text()

    async def write(self, entry: AccessEntry) -> None:
        """Make one entry durable.

        Raises:
            VigieError: ACCESS_NOT_RECORDED, whatever went wrong.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._recorder.record(entry)
        # Whatever keeps the entry from being durable must refuse the access (I5).
        except Exception as error:
            self._metrics.records_failed.inc()
            # While the log is away this is every call: one line, which says why.
            self._log.error(
                "access_not_recorded",
                method=entry.method,
                record=entry.record,
                error=self._why(error),
                exc_info=not isinstance(error, VigieError | OSError),
            )
            raise VigieError(ACCESS_NOT_RECORDED, "the access could not be recorded") from error

    async def write_refusal(self, entry: AccessEntry) -> None:
        """As `write`; a caller who hangs up meanwhile is on record nevertheless.

        Raises:
            VigieError: ACCESS_NOT_RECORDED.
        """
        try:
            await self.write(entry)
        except asyncio.CancelledError:
            # Under its own identifier: should it be durable already, it is stored once.
            self.in_background(self.insist(entry))
            raise

    def _why(self, error: Exception) -> str:
        if isinstance(error, VigieError):
            return str(error)
        if isinstance(error, TimeoutError):
            return f"not durable within {self._timeout_seconds:g} s"
        return f"{type(error).__name__}: {error}"

    async def insist(self, entry: AccessEntry) -> None:
        """Make an entry durable that describes what has already happened: try several times.

        What is lost in the end is counted and logged in full.
        """
        for delay in (*_RETRY_SECONDS, None):
            try:
                await self.write(entry)
            except VigieError:
                if delay is None:
                    break
                await self._monotonic_clock.sleep(delay)
            else:
                return
        self._metrics.records_lost.inc()
        self._log.error("access_record_lost", entry=str(entry))

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on whose call has ended."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def drain(self) -> None:
        """Wait for what goes on in the background."""
        while self._background:
            await asyncio.wait(set(self._background))
