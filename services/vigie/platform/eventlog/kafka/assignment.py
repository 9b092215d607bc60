"""One process's share of the keys of a compacted topic: a consumer group, a table a partition.

- What is lost and gained is the difference between two assignments, never what Kafka calls
  "revoked": at every rebalance that is everything, for a moment.
- The table of a gained partition is read from its beginning to its end before it is told; then the
  partition is followed. Nothing is committed: what a camera is to do is a state, not a queue.
- When the group has thrown this member out (it was paused, or cut off) and does not take it back
  within `WITHOUT_WORD_SECONDS` although brokers answer, everything is lost: others have it. While
  no broker answers, everything is kept: nobody else can be given it then.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import structlog

from vigie.platform.clock import MonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.failures import failures, plainly, unavailable
from vigie.platform.eventlog.kafka.membership import Membership
from vigie.platform.eventlog.kafka.metrics import KafkaMetrics
from vigie.platform.eventlog.kafka.reading import Reading, to_the_end
from vigie.platform.eventlog.kafka.records import stored_event
from vigie.platform.eventlog.kafka.topics import TopicAdmin
from vigie.platform.eventlog.port import Change, Gained, Lost, Told
from vigie.platform.eventlog.share import NewestOfKeys
from vigie.platform.reasons import STOPPING

log = structlog.get_logger(__name__)

WITHOUT_WORD_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 1.0
_BACK_OFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


class KafkaShare:
    """See `vigie.platform.eventlog.port.Share`.

    Args:
        clients: makes the consumers.
        clock: for waiting.
        metrics: what is counted.
        topic: own name of the topic.
        group: own name of the group.
        on_close: told when it has left.
        without_word_seconds: see `WITHOUT_WORD_SECONDS`.
    """

    def __init__(
        self,
        clients: KafkaClients,
        clock: MonotonicClock,
        metrics: KafkaMetrics,
        *,
        topic: str,
        group: str,
        on_close: Callable[["KafkaShare"], None],
        without_word_seconds: float = WITHOUT_WORD_SECONDS,
    ) -> None:
        self._clients = clients
        self._clock = clock
        self._topic = topic
        self._on_close = on_close
        self._without_word_seconds = without_word_seconds
        self._member = Membership(clients, clock, metrics, topic=topic, group=group)
        self._next: dict[int, int] = {}
        """Partition that is held -> offset of the next event of it."""
        self._applied = -1
        self._silent_since_us: int | None = None
        self._reading: Reading | None = None
        self._trouble: str | None = f"topic {topic} is not shared out yet"
        self._closed = False

    @property
    def partitions(self) -> frozenset[int]:
        """See `Share.partitions`."""
        return frozenset(self._next)

    def not_ready(self) -> str | None:
        """See `Share.not_ready`."""
        return self._trouble or self._member.not_ready()

    async def join(self) -> None:
        """Become a member.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        await self._member.join()

    async def changes(self) -> AsyncIterator[Change]:
        """See `Share.changes`."""
        failed = 0
        expected: tuple[type[BaseException], ...] = (VigieError, *failures())
        while True:
            self._raise_if_closed()
            try:
                await self._member.join()
                self._raise_if_closed()
                async for change in self._step():
                    failed = 0
                    yield change
                self._trouble = None if self._applied == self._member.version else self._trouble
            except expected as error:
                self._raise_if_closed()
                await self._failed(error, failed)
                failed += 1
                if (lost := await self._given_up()) is not None:
                    yield lost

    async def close(self) -> None:
        """See `Share.close`."""
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        if self._reading is not None:
            await self._reading.close()
        await self._member.close()

    async def _step(self) -> AsyncIterator[Change]:
        """What is new: another assignment, or events of what is held."""
        member = self._member
        version, assigned, generation = member.version, member.assigned, member.generation
        if assigned is None:
            if (lost := await self._given_up()) is not None:
                yield lost
            await member.records(_POLL_SECONDS)
            return
        self._silent_since_us = None
        if self._applied != version:
            held = frozenset(self._next)
            if gone := held - assigned:
                yield self._lose(gone, generation)
            if fresh := assigned - held:
                yield await self._gain(fresh, generation)
            if member.version != version:
                return
            for number in assigned:
                member.consumer.seek(member.partition(number), self._next[number])
            member.consumer.resume(*(member.partition(number) for number in assigned))
            self._applied, self._trouble = version, None
        for record in await member.records(_POLL_SECONDS):
            if record.offset >= self._next.get(record.partition, record.offset + 1):
                self._next[record.partition] = record.offset + 1
                yield Told(stored_event(self._topic, record))

    def _lose(self, gone: frozenset[int], generation: int) -> Lost:
        for number in gone:
            del self._next[number]
        return Lost(gone, generation)

    async def _gain(self, fresh: frozenset[int], generation: int) -> Gained:
        """Read the tables of partitions that are new to this member."""
        newest = NewestOfKeys()
        self._reading = reading = Reading(self._clients, self._topic)
        try:
            places = await reading.begin(sorted(fresh), {})
            patience = self._clients.config.request_timeout_seconds
            async for stored in to_the_end(reading, places, patience):
                newest.add(stored)
        finally:
            self._reading = None
            await reading.close()
        self._next.update(_behind(places))
        return Gained(fresh, generation, newest.events())

    async def _given_up(self) -> Lost | None:
        """Everything, when the group does without this member for too long; else ``None``."""
        if self._member.assigned is not None or not self._next:
            return None
        now_us = self._clock.now_us()
        if self._silent_since_us is None:
            self._silent_since_us = now_us
        if now_us - self._silent_since_us < self._without_word_seconds * 1_000_000:
            return None
        self._silent_since_us, version = now_us, self._member.version
        try:
            await TopicAdmin(self._clients).partitions([self._member.broker_topic])
        except VigieError:
            return None  # nobody can be given what this member has
        if self._member.version != version:
            return None
        log.error("share_lost_without_word", topic=self._topic, partitions=len(self._next))
        self._trouble = (
            f"the share of {self._topic} was given up: brokers answer, but the group has given no"
            f" word for {self._without_word_seconds:.0f} s"
        )
        return self._lose(frozenset(self._next), self._member.generation)

    async def _failed(self, error: BaseException, before: int) -> None:
        told = (
            error
            if isinstance(error, VigieError)
            else unavailable(self._clients, f"cannot share {self._topic}", error)
        )
        self._trouble = told.message
        log.warning("share_failed", topic=self._topic, error=plainly(error))
        if isinstance(error, failures()):
            # What is held stays held: the next assignment tells what is gone.
            await self._member.leave()
        self._applied = -1
        await self._clock.sleep(_BACK_OFF_SECONDS[min(before, len(_BACK_OFF_SECONDS) - 1)])

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise VigieError(STOPPING, f"the share of topic {self._topic} is closed")


def _behind(places: Mapping[int, tuple[int, int]]) -> dict[int, int]:
    return {number: max(start, end) for number, (start, end) in places.items()}
