"""How far topics reach: asked over a connection of its own.

A broker answers the requests of a connection one after the other, and a consumer's always has a
fetch that waits for events: behind it, a question would wait as long.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.failures import closed, failures, started, unavailable


@dataclass(frozen=True, slots=True)
class Limits:
    """Offsets of a partition: of the first event that is there, and behind the last one."""

    begin: int
    end: int


class Offsets:
    """Asks the brokers; connected when first asked."""

    def __init__(self, clients: KafkaClients) -> None:
        self._clients = clients
        self._consumer: Any = None
        self._turn = asyncio.Lock()

    async def limits(self, topic: str, partitions: Iterable[int]) -> dict[int, Limits]:
        """Partition -> its limits now; ``topic`` is its own name.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE.
        """
        from aiokafka import TopicPartition

        broker_topic = self._clients.config.topic_prefix + topic
        names = [TopicPartition(broker_topic, number) for number in partitions]
        if not names:
            return {}
        doing = f"cannot ask how far {topic} reaches"
        async with self._turn:
            if self._consumer is None:
                self._consumer = await started(self._clients, self._clients.consumer(), doing)
            consumer = self._consumer
        try:
            begins, ends = await asyncio.gather(
                consumer.beginning_offsets(names), consumer.end_offsets(names)
            )
        except failures() as error:
            raise unavailable(self._clients, doing, error) from error
        return {name.partition: Limits(begins[name], ends[name]) for name in names}

    async def close(self) -> None:
        """Close the connection."""
        async with self._turn:
            consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await closed(consumer)
