"""Events that must reach the log but may wait: the newest of each key, in order."""

import asyncio
import random
from typing import Final

import structlog
from prometheus_client import Counter

from vigie.ingest.backoff import Backoff
from vigie.platform.clock import MonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import Event, EventLog

_log = structlog.get_logger(__name__)

BACKOFF: Final = Backoff(first_seconds=0.2, longest_seconds=10.0)
BATCH: Final = 500


class Outbox:
    """Publishes events of one topic in the background; used from the event loop only.

    While the log is away, a newer event replaces an older one under the same key, so memory is
    bounded by the number of keys.

    Args:
        topic: where to.
        log: the event log.
        clock: for waiting.
        source: of jitter.
        failures: counter of failed attempts.
    """

    def __init__(
        self,
        topic: str,
        log: EventLog,
        *,
        clock: MonotonicClock,
        source: random.Random,
        failures: Counter,
    ) -> None:
        self._topic = topic
        self._log = log
        self._clock = clock
        self._random = source
        self._failures = failures.labels(kind=topic)
        self._waiting: dict[str, Event] = {}
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, key: str, event: Event) -> None:
        """Publish ``event`` soon, instead of what waits under ``key``."""
        self._waiting[key] = event
        self._some.set()
        self._empty.clear()

    async def run(self) -> None:
        """Publish for ever."""
        failures = 0
        while True:
            await self._some.wait()
            batch = dict(list(self._waiting.items())[:BATCH])
            try:
                await self._log.append(self._topic, list(batch.values()))
            except VigieError as error:
                failures += 1
                self._failures.inc()
                _log.warning("events_wait", topic=self._topic, reason=error.reason.name)
                await self._clock.sleep(BACKOFF.wait_seconds(failures, self._random))
                continue
            failures = 0
            self._forget(batch)

    async def flush(self, timeout_seconds: float) -> bool:
        """Wait until nothing waits; false when time ran out."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _forget(self, batch: dict[str, Event]) -> None:
        for key, event in batch.items():
            if self._waiting.get(key) is event:
                del self._waiting[key]
        if not self._waiting:
            self._some.clear()
            self._empty.set()
