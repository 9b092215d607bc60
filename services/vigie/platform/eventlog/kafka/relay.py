"""Publishes the outbox in order, from one process at a time.

One relay of a database has the turn (`vigie.platform.eventlog.kafka.turn`), and keeps it while it
works, waits for brokers, or pauses after a failure. One that has failed for `PATIENCE_SECONDS`
gives it up: another process may reach the brokers that this one does not. Each time it was given up
for nothing, it is kept twice as long: what else depends on the turn begins anew with each move.

A relay that was paused may wake up and go on sending after another has taken over. The brokers
stop it: the producer is transactional under a name that belongs to the database, and when the new
relay introduces itself under that name, nothing of the old one is taken any more, not even what is
still in a socket. So what was published later never stands before what is published again.

One batch: begin, send, wait for every acknowledgement, commit at the brokers, then delete the rows.
A crash before the deletion publishes the batch again: at least once, in order.
"""

import asyncio
from collections import OrderedDict
from typing import Any, Final

import structlog

from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock, WallClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.port import Database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka import outbox
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.failures import closed, failures, started, unavailable
from vigie.platform.eventlog.kafka.metrics import KafkaMetrics
from vigie.platform.eventlog.kafka.records import headers_of
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.eventlog.kafka.trouble import Trouble
from vigie.platform.eventlog.kafka.turn import TURN_SECONDS, OutboxTurn
from vigie.platform.eventlog.wake import WakeUp, wait_for
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.reasons import EVENT_LOG_UNAVAILABLE

log = structlog.get_logger(__name__)

BATCH: Final = 200
PATIENCE_SECONDS: Final = 30.0
"""A relay whose batches have failed for so long, without one that did not, gives its turn up."""
LONGEST_PATIENCE_SECONDS: Final = 600.0
FAILED_BATCHES: Final = 3
"""At least so many: one that only took long is no reason."""
FAULT_POINTS: Final = (
    "outbox.sent",
    "outbox.committed",
    "outbox.forgotten",
)
"""Steps of a batch: handed to the brokers, committed there, deleted here."""
_REMEMBERED: Final = 5000
_LONGEST_BACK_OFF_SECONDS: Final = 10.0


class Relay:
    """The relay of one process for one database.

    Args:
        clients: makes the producer.
        database: where the outbox is.
        wall_clock: for the age of what waits.
        clock: for waiting.
        metrics: what is counted.
        faults: where tests strike.
    """

    def __init__(
        self,
        clients: KafkaClients,
        database: Database,
        wall_clock: WallClock,
        clock: MonotonicClock,
        metrics: KafkaMetrics,
        *,
        faults: FaultPoints = NO_FAULTS,
    ) -> None:
        self._clients = clients
        self._database = database
        self._wall_clock = wall_clock
        self._clock = clock
        self._metrics = metrics
        self._faults = faults
        self._turn = OutboxTurn(
            database, clock, metrics, longest_seconds=_longest_step(clients.config)
        )
        self._producer: Any = None
        self._told_due_us = 0
        self._failed = 0
        self._failing_since_us = 0
        self._patience_seconds = PATIENCE_SECONDS
        self._published: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._more = WakeUp()
        self._empty = WakeUp()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._trouble = Trouble(clock)

    @property
    def trouble(self) -> str | None:
        """Why nothing is published now; ``None`` when all is well, or another process publishes."""
        return self._trouble.text

    def stuck(self) -> str | None:
        """Why nothing has been published for long, though it was tried; else ``None``."""
        if self._task is not None and self._turn.hangs:
            return "the outbox is not published: its relay hangs"
        return self._trouble.lasting(under_way=True)

    def start(self) -> None:
        """Publish in a task of its own."""
        self._task = asyncio.create_task(self._run(), name="eventlog-outbox")
        self._task.add_done_callback(self._ended)

    def wake(self) -> None:
        """Say that a transaction with events has committed."""
        self._more.wake()

    async def has_turn(self, connection: AsyncConnection) -> bool:
        """Whether the database says that it is this relay's turn."""
        return await self._turn.has(connection)

    async def drain(self, *, timeout_seconds: float) -> bool:
        """Wait until the outbox is empty; false after the time-out."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    ticket = self._empty.ticket()
                    if (await self._database.read(outbox.standing))[0] == 0:
                        return True
                    self.wake()
                    await wait_for(ticket, self._clients.config.outbox_poll_seconds)
        except TimeoutError:
            return False

    async def stop(self) -> None:
        """Finish the batch under way, and give the turn to others."""
        self._stopping.set()
        if self._task is not None:
            done, _ = await asyncio.wait(
                [self._task], timeout=self._clients.config.delivery_timeout_seconds
            )
            if not done:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._turn.stop()

    async def kill(self) -> None:
        """End as a killed process does: nothing is finished, the turn is not given back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._turn.stop()
        await self._drop_producer()

    async def _run(self) -> None:
        back_off = 0
        while not self._stopping.is_set():
            more = self._more.ticket()
            try:
                if not await self._step():
                    await self._pause(self._clients.config.outbox_poll_seconds, more)
                back_off = 0
            except Exception as error:  # noqa: BLE001 - the boundary of the unit of work
                back_off += 1
                self._note(error)
                await self._drop_producer()
                await self._give_up_in_time()
                await self._pause(min(_LONGEST_BACK_OFF_SECONDS, 0.1 * 2 ** min(back_off, 10)))
        await self._leave()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Whatever it ended by: nobody publishes here any more, unless it was told to stop."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("outbox_relay_crashed", exc_info=error)
            self._trouble.note(f"the relay of the outbox has ended: {error!r}")

    async def _give_up_in_time(self) -> None:
        """Let others try, when this relay has failed for long enough."""
        failing_us = self._clock.now_us() - self._failing_since_us
        if (
            not self._turn.held
            or self._failed < FAILED_BATCHES
            or failing_us < self._patience_seconds * MICROSECONDS_PER_SECOND
        ):
            return
        self._failed = 0
        self._patience_seconds = min(2 * self._patience_seconds, LONGEST_PATIENCE_SECONDS)
        log.warning("outbox_turn_given_up", error=self.trouble)
        # Long enough for those who look only now and then.
        poll_seconds = self._clients.config.outbox_poll_seconds
        await self._turn.give_up(aside_seconds=max(TURN_SECONDS, 2 * poll_seconds))

    def _note(self, error: Exception) -> None:
        if self._failed == 0:
            self._failing_since_us = self._clock.now_us()
        self._failed += 1
        self._tell(error)

    def _well(self) -> None:
        self._failed = 0
        self._trouble.clear()

    async def _pause(self, seconds: float, more: "asyncio.Future[None] | None" = None) -> None:
        """Wait so long, or until ``more`` is resolved, or until the relay is to stop."""
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        stopping = asyncio.ensure_future(self._stopping.wait())
        tasks: set[asyncio.Future[Any]] = {sleeping, stopping}
        try:
            await asyncio.wait(
                tasks if more is None else tasks | {more}, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _step(self) -> bool:
        """Publish one batch, if it is this relay's turn; whether there was one."""
        if not await self._turn.mine():
            await self._drop_producer()
            if self._turn.another_has_it:
                self._well()
            return False
        batch = await self._database.read(lambda connection: outbox.waiting(connection, BATCH))
        await self._measure(empty=not batch)
        if batch:
            await self._publish(batch)
            self._patience_seconds = PATIENCE_SECONDS
        self._well()
        if not batch:
            self._empty.wake()
        return bool(batch)

    async def _publish(self, batch: list[outbox.Waiting]) -> None:
        producer = await self._ready()
        fresh: dict[tuple[str, str], outbox.Waiting] = {}
        for one in batch:
            if (name := (one.topic, one.event.id)) not in self._published:
                fresh.setdefault(name, one)
        try:
            async with asyncio.timeout(self._clients.config.delivery_timeout_seconds):
                await self._send(producer, list(fresh.values()))
        except failures() as error:
            raise unavailable(self._clients, "cannot publish the outbox", error) from error
        self._faults.reach("outbox.committed")
        numbers = [one.number for one in batch]
        self._published.update(dict.fromkeys(fresh))
        await self._database.write(lambda own: outbox.forget(own, numbers))
        self._faults.reach("outbox.forgotten")
        while len(self._published) > _REMEMBERED:
            self._published.popitem(last=False)
        self._metrics.outbox_published.inc(len(fresh))

    async def _send(self, producer: Any, batch: list[outbox.Waiting]) -> None:
        if not batch:
            return
        await producer.begin_transaction()
        sent = [
            await producer.send(
                self._clients.config.topic_prefix + one.topic,
                one.event.value,
                key=one.event.key.encode(),
                headers=headers_of(one.event),
            )
            for one in batch
        ]
        self._faults.reach("outbox.sent")
        await asyncio.wait(sent)
        for future in sent:
            future.result()
        await producer.commit_transaction()

    async def _ready(self) -> Any:
        """The producer; a new one ends what its predecessors have begun and keeps them out."""
        if self._producer is None:
            name = (await self._database.read(outbox.turn)).outbox
            producer = self._clients.producer(f"{self._clients.config.topic_prefix}outbox.{name}")
            self._producer = await started(self._clients, producer, "cannot publish the outbox")
            # Between the look at the turn and the brokers' word another relay may have come.
            if not await self._turn.still_mine():
                raise VigieError(EVENT_LOG_UNAVAILABLE, "another relay has the turn")
        return self._producer

    async def _drop_producer(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await closed(producer, seconds=2.0)

    async def _measure(self, *, empty: bool) -> None:
        now_us = self._clock.now_us()
        if empty:
            self._metrics.outbox_events.set(0)
            self._metrics.outbox_age.set(0)
        elif now_us >= self._told_due_us:
            self._told_due_us = now_us + 1_000_000
            count, oldest_us = await self._database.read(outbox.standing)
            self._metrics.outbox_events.set(count)
            age_us = 0 if oldest_us is None else self._wall_clock.now_us() - oldest_us
            self._metrics.outbox_age.set(max(0, age_us) / 1_000_000)

    def _tell(self, error: Exception) -> None:
        known = isinstance(error, VigieError | OSError)
        if self.trouble is None or not known:
            log.warning("outbox_not_published", error=str(error), exc_info=not known)
        self._trouble.note(str(error))

    async def _leave(self) -> None:
        await self._drop_producer()
        await self._turn.leave()


def _longest_step(config: KafkaConfig) -> float:
    """Twice what a relay may take from one look at its turn to the next."""
    sent_seconds = 2 * config.request_timeout_seconds + config.delivery_timeout_seconds
    return 2 * (sent_seconds + _LONGEST_BACK_OFF_SECONDS + config.outbox_poll_seconds)
