"""The runner of a consumer: every event processed once in effect, none ever skipped.

Plan of one unit of work:

1. fetch a batch;
2. in one transaction: the handler's effects and the group's position;
3. the handler refuses an event (`Unprocessable`): the batch is done again one event at a time,
   and the refused one goes to quarantine in the transaction that moves the position past it;
4. the machine fails (database, network, a service that is away): wait, fetch again, for as long
   as it takes; nothing is quarantined for that;
5. the handler fails otherwise (a defect): the same event is tried ``max_attempts`` times on its
   own, then quarantined as HANDLER_FAILED with what was raised. The rest of the topic goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from vigie.platform.clock import MonotonicClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.port import Database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable
from vigie.platform.eventlog.observer import ConsumerObserver, SilentObserver
from vigie.platform.eventlog.port import EventLog, StoredEvent, Subscription
from vigie.platform.eventlog.quarantine import Quarantine
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.reasons import STOPPING

T = TypeVar("T")
log = structlog.get_logger(__name__)

HANDLER_FAILED: Final = "HANDLER_FAILED"
_DRAIN_POLL_SECONDS: Final = 0.02
_REPORT_SECONDS: Final = 60.0
"""Longest time for the question how far a consumer is behind; beyond, it begins anew."""
_TRANSIENT_CODES: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)
FAULT_POINTS: Final = (
    "consumer.fetched",
    "consumer.handled",
    "consumer.committing",
    "consumer.committed",
)

Handler = Callable[[AsyncConnection, Sequence[StoredEvent]], Awaitable[None]]
"""Writes the effects of events through the connection given, and nothing else: it awaits nothing
but that connection, and need not run in the event loop (see `Database.write`).

It may be called again with the same events after a failure, when nothing of it was committed.
Raises `Unprocessable` for an event that can never be processed. An effect outside that database
must be idempotent.
"""


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """How a consumer works.

    Attributes:
        batch_size: most events in one transaction.
        idle_seconds: how long a fetch waits; then lag is reported and replays are looked for.
        first_back_off_seconds: wait after a failure; doubles up to ``longest_back_off_seconds``.
        longest_back_off_seconds: see there.
        max_attempts: how often an event is tried on which the handler fails by a defect.
    """

    batch_size: int = 200
    idle_seconds: float = 5.0
    first_back_off_seconds: float = 0.2
    longest_back_off_seconds: float = 10.0
    max_attempts: int = 5


class Consumer:
    """Runs one handler on one topic for one group.

    Args:
        log: the event log.
        database: where effects, positions and quarantine are written.
        quarantine: of the same database.
        clock: for back-off.
        topic: what is read.
        group: who reads, e.g. ``recording-index``.
        handler: see `Handler`.
        options: see `ConsumerOptions`.
        observer: who counts.
        faults: where tests strike.
    """

    def __init__(
        self,
        event_log: EventLog,
        database: Database,
        quarantine: Quarantine,
        clock: MonotonicClock,
        *,
        topic: str,
        group: str,
        handler: Handler,
        options: ConsumerOptions | None = None,
        observer: ConsumerObserver | None = None,
        faults: FaultPoints = NO_FAULTS,
    ) -> None:
        self._log = event_log
        self._database = database
        self._quarantine = quarantine
        self._clock = clock
        self._topic = topic
        self._group = group
        self._handler = handler
        self._options = options or ConsumerOptions()
        self._observer = observer or SilentObserver()
        self._faults = faults
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._trouble: str | None = "not started"
        self._subscription: Subscription | None = None
        self._failures = 0
        self._report_due_us = 0

    def start(self) -> None:
        """Begin to consume in a task of its own."""
        if self._task is None:
            self._trouble = None
            self._stopping.clear()
            self._task = asyncio.create_task(self.run(), name=f"consumer-{self._group}")
            self._task.add_done_callback(self._ended)

    @property
    def joined(self) -> bool:
        """Whether it is a member of its group now."""
        return self._subscription is not None

    async def drain(self, *, timeout_seconds: float) -> bool:
        """Wait until everything that is in the topic has taken effect; false after the time-out.

        For an orderly stop: those who write to the topic have stopped before.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._subscription is not None and await self._subscription.lag() != 0:
                    if self._task is None or self._task.done():
                        return False
                    await self._clock.sleep(_DRAIN_POLL_SECONDS)
        except TimeoutError:
            return False
        return self._subscription is not None

    async def stop(self, *, timeout_seconds: float = 10.0) -> None:
        """Finish the unit of work under way, then leave the group; cancel after the time-out."""
        self._stopping.set()
        if self._task is None:
            return
        task, self._task = self._task, None
        done, _ = await asyncio.wait([task], timeout=timeout_seconds)
        if not done:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._trouble = "stopped"

    def not_ready(self) -> str | None:
        """Why nothing is being consumed now; ``None`` when all is well (behind is well)."""
        if self._trouble is None and self._subscription is not None:
            return self._subscription.not_ready()
        return self._trouble

    async def run(self) -> None:
        """Consume until `stop`; returns then, or when the log is closed."""
        self._subscription = None
        try:
            while not self._stopping.is_set():
                try:
                    if self._subscription is None:
                        self._subscription = await self._log.subscribe(self._topic, self._group)
                    await self._step(self._subscription)
                except _StoppedError:
                    break
                except Exception as error:  # noqa: BLE001 - the boundary of the unit of work
                    if isinstance(error, VigieError) and error.reason is STOPPING:
                        self._trouble = error.message
                        break
                    await self._recover(self._subscription, error)
        finally:
            if self._subscription is not None:
                subscription, self._subscription = self._subscription, None
                await subscription.close()

    async def replay(self, number: int) -> bool:
        """Process one event of this consumer's quarantine again; false when it fails again.

        Effect and removal from quarantine commit together.

        Raises:
            VigieError: QUARANTINED_EVENT_NOT_FOUND, or what the machine fails with.
        """
        item = await self._quarantine.get(number)

        async def work(connection: AsyncConnection) -> None:
            await self._handler(connection, [item.stored])
            await self._quarantine.replayed(connection, number)

        try:
            await self._database.write(work)
        except Exception as error:
            if not isinstance(error, Unprocessable) and is_transient(error):
                raise
            why = _why(error)
            log.warning("consumer_replay_failed", number=number, reason=why.reason)
            await self._quarantine.refuse_replay(number, why)
            self._observer.replayed(self._topic, self._group, took_effect=False)
            return False
        self._observer.replayed(self._topic, self._group, took_effect=True)
        await self._tell_standing()
        log.info("consumer_replayed", topic=self._topic, group=self._group, number=number)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._trouble = f"consumer {self._group} on {self._topic} ended: {error!r}"
            log.error("consumer_crashed", topic=self._topic, group=self._group, exc_info=error)

    async def _step(self, subscription: Subscription) -> None:
        """Fetch once and process what came."""
        options = self._options
        events = await self._unless_stopped(
            subscription.fetch(max_events=options.batch_size, timeout_seconds=options.idle_seconds)
        )
        if events:
            self._faults.reach("consumer.fetched")
            await self._process(subscription, events)
        self._trouble = None
        self._failures = 0
        if self._clock.now_us() >= self._report_due_us:
            self._report_due_us = self._clock.now_us() + round(options.idle_seconds * 1_000_000)
            # Whatever is wrong there: nothing is consumed meanwhile.
            async with asyncio.timeout(_REPORT_SECONDS):
                if (behind := await subscription.lag()) is not None:
                    self._observer.lag(self._topic, self._group, behind)
            await self._replay_requested()
            await self._tell_standing()

    async def _process(self, subscription: Subscription, events: Sequence[StoredEvent]) -> None:
        try:
            await self._unit_of_work(subscription, events)
        except Exception as error:
            if not isinstance(error, Unprocessable) and is_transient(error):
                raise
            # Which event it was is found out by doing them one at a time.
            for stored in events:
                await self._process_one(subscription, stored)

    async def _process_one(self, subscription: Subscription, stored: StoredEvent) -> None:
        """Process one event or put it into quarantine; whatever else happens is raised."""
        for attempt in range(1, self._options.max_attempts + 1):
            try:
                await self._unit_of_work(subscription, [stored])
            except Unprocessable as why:
                await self._put_away(subscription, stored, why)
            except Exception as error:
                if is_transient(error):
                    raise
                if attempt == self._options.max_attempts:
                    log.exception("consumer_handler_failed", **self._names(stored))
                    await self._put_away(subscription, stored, _why(error))
                else:
                    self._observer.failed(self._topic, self._group)
                    await self._pause(attempt)
                    continue
            return

    async def _unit_of_work(
        self, subscription: Subscription, events: Sequence[StoredEvent]
    ) -> None:
        async def work(connection: AsyncConnection) -> None:
            await self._handler(connection, events)
            self._faults.reach("consumer.handled")
            await subscription.commit(events, connection=connection)
            self._faults.reach("consumer.committing")

        await self._database.write(work)
        self._faults.reach("consumer.committed")
        self._observer.processed(self._topic, self._group, len(events))

    async def _put_away(
        self, subscription: Subscription, stored: StoredEvent, why: Unprocessable
    ) -> None:
        async def work(connection: AsyncConnection) -> None:
            await self._quarantine.add(connection, self._group, stored, why)
            await subscription.commit([stored], connection=connection)

        await self._database.write(work)
        log.error("consumer_quarantined", reason=why.reason, **self._names(stored))
        self._observer.quarantined(self._topic, self._group, why.reason)
        await self._tell_standing()

    async def _tell_standing(self) -> None:
        count = await self._quarantine.count(topic=self._topic, group=self._group)
        self._observer.standing(self._topic, self._group, count)

    async def _replay_requested(self) -> None:
        await self._quarantine.tell_untold(topic=self._topic, group=self._group)
        for item in await self._quarantine.list(
            topic=self._topic, group=self._group, replay_requested=True
        ):
            await self.replay(item.number)

    async def _recover(self, subscription: Subscription | None, error: Exception) -> None:
        """Say what is wrong, wait, and go back to the committed position."""
        self._failures += 1
        self._trouble = f"consumer {self._group} on {self._topic}: {error}"
        log.warning(
            "consumer_failed",
            topic=self._topic,
            group=self._group,
            error=str(error),
            failures=self._failures,
            exc_info=not is_transient(error),
        )
        self._observer.failed(self._topic, self._group)
        try:
            await self._pause(self._failures)
        except _StoppedError:
            return
        if subscription is not None:
            await subscription.rewind()

    async def _pause(self, failures: int) -> None:
        options = self._options
        exponent = min(failures - 1, 30)
        seconds = min(
            options.longest_back_off_seconds, options.first_back_off_seconds * 2**exponent
        )
        await self._unless_stopped(self._clock.sleep(seconds))

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, or `_StoppedError` as soon as `stop` is called."""
        doing = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                raise _StoppedError
            return doing.result()
        finally:
            for task in (doing, stopping):
                task.cancel()
            await asyncio.gather(doing, stopping, return_exceptions=True)

    def _names(self, stored: StoredEvent) -> dict[str, object]:
        return {
            "topic": self._topic,
            "group": self._group,
            "partition": stored.position.partition,
            "offset": stored.position.offset,
            "event_id": stored.event.id,
            "event_type": stored.event.type,
        }


class _StoppedError(Exception):
    """`Consumer.stop` was called."""


def is_transient(error: BaseException) -> bool:
    """Whether waiting may help: the machine, the network or a service failed, not the event."""
    if isinstance(error, VigieError):
        return error.reason.code in _TRANSIENT_CODES
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() in _TRANSIENT_CODES
    return isinstance(error, OSError | OperationalError | InterfaceError | PoolTimeoutError)


def _why(error: Exception) -> Unprocessable:
    if isinstance(error, Unprocessable):
        return error
    return Unprocessable(HANDLER_FAILED, f"{type(error).__name__}: {error}")
