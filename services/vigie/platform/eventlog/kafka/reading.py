"""Reading without a group: to the end as it was at the beginning, or on and on."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.failures import closed, failures, started, unavailable
from vigie.platform.eventlog.kafka.records import stored_event
from vigie.platform.eventlog.port import Position, StoredEvent
from vigie.platform.eventlog.wake import WakeUp
from vigie.platform.reasons import POSITION_BEYOND_END, STOPPING

_SLICE_SECONDS: Final = 0.2
"""How long a poll waits while a reading to the end goes on: a mark at the end is no event."""
_MOST: Final = 1000


class Reading:
    """One consumer without a group on chosen partitions of a topic.

    Args:
        clients: makes the consumer.
        topic: own name of the topic.
    """

    def __init__(self, clients: KafkaClients, topic: str) -> None:
        self._clients = clients
        self._topic = topic
        self._broker_topic = clients.config.topic_prefix + topic
        self._consumer: Any = None
        self._closed = False
        self._closing = WakeUp()

    async def begin(
        self, partitions: Sequence[int], after: Mapping[int, int]
    ) -> Mapping[int, tuple[int, int]]:
        """Stand behind ``after`` in each partition, or at its beginning.

        Returns:
            Partition -> where it stands and the offset behind the last event there is now.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE; POSITION_BEYOND_END: an ``after`` was never reached;
                STOPPING: it was closed meanwhile.
        """
        from aiokafka import TopicPartition

        doing = f"cannot read {self._topic}"
        names = [TopicPartition(self._broker_topic, number) for number in partitions]
        try:
            if self._consumer is None:
                self._consumer = await started(self._clients, self._clients.consumer(), doing)
            self._raise_if_closed()
            consumer = self._consumer
            consumer.assign(names)
            begins, ends = await asyncio.gather(
                consumer.beginning_offsets(names), consumer.end_offsets(names)
            )
        except failures() as error:
            self._raise_if_closed()
            raise unavailable(self._clients, doing, error) from error
        self._raise_if_closed()
        places: dict[int, tuple[int, int]] = {}
        for name in names:
            start = max(begins[name], after.get(name.partition, -1) + 1)
            if start > ends[name] and name.partition in after:
                raise VigieError(
                    POSITION_BEYOND_END,
                    f"topic {self._topic}, partition {name.partition}, ends at {ends[name] - 1}, "
                    f"before {start - 1}",
                    topic=self._topic,
                )
            consumer.seek(name, start)
            places[name.partition] = (start, ends[name])
        return places

    async def poll(self, seconds: float) -> list[StoredEvent]:
        """What comes within ``seconds``; ends early with what is at hand.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE; STOPPING once it is closed.
        """
        self._raise_if_closed()
        closing = self._closing.ticket()
        polling = asyncio.ensure_future(
            self._consumer.getmany(timeout_ms=round(seconds * 1000), max_records=_MOST)
        )
        try:
            await asyncio.wait([polling, closing], return_when=asyncio.FIRST_COMPLETED)
            self._raise_if_closed()
            found = polling.result()
        except failures() as error:
            self._raise_if_closed()
            raise unavailable(self._clients, f"cannot read {self._topic}", error) from error
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
        return [stored_event(self._topic, one) for records in found.values() for one in records]

    async def position(self, partition: int) -> int:
        """The offset that is read next, behind marks that are no events.

        Raises:
            VigieError: STOPPING once it is closed.
        """
        from aiokafka import TopicPartition

        self._raise_if_closed()
        return int(await self._consumer.position(TopicPartition(self._broker_topic, partition)))

    async def probe(self, partitions: Sequence[int], *, stood_still: bool = False) -> None:
        """Find out whether the brokers are there, when nothing has come for long.

        Args:
            partitions: what is waited for.
            stood_still: they answered the last time, too, and nothing came all the same.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        from aiokafka import TopicPartition

        self._raise_if_closed()
        names = [TopicPartition(self._broker_topic, number) for number in partitions]
        try:
            async with asyncio.timeout(self._clients.config.request_timeout_seconds):
                await self._consumer.end_offsets(names)
        except failures() as error:
            self._raise_if_closed()
            raise unavailable(self._clients, f"cannot read {self._topic}", error) from error
        if stood_still:
            raise unavailable(
                self._clients, f"cannot read {self._topic}", "events that are there do not come"
            )

    async def close(self) -> None:
        """End it; whoever waits in `poll` is told STOPPING (idempotent)."""
        self._closed = True
        self._closing.wake()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await closed(consumer)

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise VigieError(STOPPING, "the event log is closed")


async def to_the_end(
    reading: Reading, places: Mapping[int, tuple[int, int]], patience_seconds: float
) -> AsyncIterator[StoredEvent]:
    """The events of ``places`` up to the ends noted there, and none behind.

    Raises:
        VigieError: EVENT_LOG_UNAVAILABLE when nothing moves for ``patience_seconds``.
    """
    loop = asyncio.get_running_loop()
    ahead = {number: end for number, (start, end) in places.items() if start < end}
    moved = {number: start for number, (start, _) in places.items()}
    deadline, stood_still = loop.time() + patience_seconds, False
    while ahead:
        events = await reading.poll(_SLICE_SECONDS)
        for stored in events:
            if stored.position.offset < places[stored.position.partition][1]:
                yield stored
        for number in tuple(ahead):
            position = await reading.position(number)
            if position != moved[number]:
                moved[number] = position
                deadline, stood_still = loop.time() + patience_seconds, False
            if position >= ahead[number]:
                del ahead[number]
        if loop.time() > deadline:
            await reading.probe(list(ahead), stood_still=stood_still)
            deadline, stood_still = loop.time() + patience_seconds, True


def offsets_of(after: Position | Sequence[Position] | None) -> dict[int, int]:
    """Partition -> offset, from what `EventLog.read` is given."""
    positions = [after] if isinstance(after, Position) else after or []
    return {position.partition: position.offset for position in positions}
