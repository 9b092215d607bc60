"""Whose turn it is to publish an outbox: taken, kept alive, lost, given up.

Who has the turn says so in the database every second, in a task of its own: a batch, the start of a
producer and the pause after a failure all take longer than `TURN_SECONDS`, and others would take
the turn, and fence off a relay that is at work, again and again. The task ends its word when the
relay itself has not asked for too long: a turn is kept for somebody who works.

The others watch, and the first that has seen no sign for `TURN_SECONDS` of its own clock takes over
(compare-and-set on what it saw, so that only one does). No wall clock is asked: they jump.
"""

import asyncio
import uuid
from typing import Final

import structlog

from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.port import Database
from vigie.platform.eventlog.kafka import outbox
from vigie.platform.eventlog.kafka.metrics import KafkaMetrics

log = structlog.get_logger(__name__)

TURN_SECONDS: Final = 3.0
BEAT_SECONDS: Final = 1.0
_STALE_SECONDS: Final = 2 * BEAT_SECONDS
"""What was confirmed so long ago is asked again: this process was paused, or its beat is ill."""


class OutboxTurn:
    """The turn at one outbox, as one relay knows it.

    Args:
        database: where the outbox is.
        clock: of this relay.
        metrics: says whether it leads.
        longest_seconds: the turn is not kept for a relay that has not asked `mine` for so long.
    """

    def __init__(
        self,
        database: Database,
        clock: MonotonicClock,
        metrics: KafkaMetrics,
        *,
        longest_seconds: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._longest_us = round(longest_seconds * MICROSECONDS_PER_SECOND)
        self._me = uuid.uuid4().hex
        self._leading = False
        self._lost = False
        self._asked_us = clock.now_us()
        self._confirmed_us = 0
        self._aside_until_us = 0
        self._seen: tuple[outbox.Turn, int] | None = None
        self._beating: asyncio.Task[None] | None = None
        # One look or word at a time: an answer that is overtaken would be taken for the newest.
        self._one = asyncio.Lock()

    @property
    def held(self) -> bool:
        """Whether this relay has it, as far as it knows."""
        return self._leading

    @property
    def hangs(self) -> bool:
        """Whether the relay, which asks at every step, has not asked for too long."""
        return self._clock.now_us() - self._asked_us > self._longest_us

    @property
    def another_has_it(self) -> bool:
        """Whether another relay had it when `mine` was asked last."""
        return self._seen is not None and self._seen[0].owner not in {"", self._me}

    async def has(self, connection: AsyncConnection) -> bool:
        """Whether the database says that it is this relay's turn."""
        return (await outbox.turn(connection)).owner == self._me

    async def mine(self) -> bool:
        """Whether it is this relay's turn; one that nobody keeps alive is taken.

        After a loss it says no at least once, so that the caller lets go of what it had.
        """
        async with self._one:
            now_us = self._asked_us = self._clock.now_us()
            if self._lost:
                self._lost = False
                return False
            if not self._leading:
                return await self._taken(now_us)
            if now_us - self._confirmed_us < _STALE_SECONDS * MICROSECONDS_PER_SECOND:
                return True
            confirmed = await self._confirmed()
            self._lost = False
            return confirmed

    async def still_mine(self) -> bool:
        """Whether the database says so now; a sign of life as well."""
        async with self._one:
            return self._leading and await self._confirmed()

    async def give_up(self, *, aside_seconds: float) -> None:
        """Let another have the turn: this one takes none for so long."""
        async with self._one:
            self._aside_until_us = self._clock.now_us() + round(
                aside_seconds * MICROSECONDS_PER_SECOND
            )
            await self._given_back()

    async def leave(self) -> None:
        """Give the turn back, if this relay has it."""
        async with self._one:
            await self._given_back()

    async def stop(self) -> None:
        """Say nothing any more, and give nothing back: others see it after `TURN_SECONDS`."""
        if self._beating is not None:
            beating, self._beating = self._beating, None
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _taken(self, now_us: int) -> bool:
        seen = await self._database.read(outbox.turn)
        if self._seen is None or self._seen[0] != seen:
            self._seen = (seen, now_us)
        silent_us = now_us - self._seen[1]
        if seen.owner and silent_us < TURN_SECONDS * MICROSECONDS_PER_SECOND:
            return False
        if now_us < self._aside_until_us:
            return False

        async def take(connection: AsyncConnection) -> bool:
            return await outbox.take(connection, self._me, seen)

        if not await self._database.write(take):
            return False
        await self.stop()
        self._confirmed_us = now_us
        self._lead(leading=True)
        self._beating = asyncio.create_task(self._keep(), name="eventlog-outbox-turn")
        return True

    async def _confirmed(self) -> bool:
        """Say that this relay is alive; false, and leading no more, when another has the turn."""
        now_us = self._clock.now_us()
        if await self._database.write(lambda own: outbox.beat(own, self._me)):
            self._confirmed_us = now_us
            return True
        log.warning("outbox_turn_lost")
        self._lost = True
        self._lead(leading=False)
        return False

    async def _given_back(self) -> None:
        if not self._leading:
            return
        self._lead(leading=False)
        await self.stop()
        try:
            await self._database.write(lambda own: outbox.leave(own, self._me))
        except Exception as error:  # noqa: BLE001 - nobody waits for it: others see it soon
            log.warning("outbox_turn_not_given_back", error=str(error))

    async def _keep(self) -> None:
        """Say every second that this relay is alive, for as long as it has the turn."""
        told = False
        while True:
            await self._clock.sleep(BEAT_SECONDS)
            async with self._one:
                if not self._leading:
                    return
                if self.hangs:
                    if not told:
                        log.error("outbox_relay_hangs")
                    told = True
                    continue
                told = False
                try:
                    await self._confirmed()
                except Exception as error:  # the boundary of the task: others see it
                    log.debug("outbox_turn_not_kept", exc_info=error)

    def _lead(self, *, leading: bool) -> None:
        self._leading = leading
        self._seen = None
        self._metrics.outbox_leading.set(int(leading))
        if not leading:
            # What waits is told by who publishes it: this process would tell for ever what it saw
            # last.
            self._metrics.outbox_events.set(0)
            self._metrics.outbox_age.set(0)
