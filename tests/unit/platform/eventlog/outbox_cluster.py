"""Brokers as the relays of an outbox know them: transactional producers, of which one is let in."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka.errors import NodeNotReadyError, ProducerFenced

from vigie.platform.eventlog.kafka.settings import KafkaConfig


class Cluster:
    """What is stored, in order; away or slow as a test likes it."""

    def __init__(self) -> None:
        self.config = KafkaConfig(bootstrap=["127.0.0.1:1"], outbox_poll_seconds=0.5)
        self.stored: list[str] = []
        self.introduced = 0
        self.fenced = 0
        self.away = False
        self.committing = 0
        """Transactions whose commit is under way."""
        self.answers = asyncio.Event()
        """Commits are answered while it is set."""
        self.answers.set()

    def producer(self, transactional_id: str | None = None) -> Any:
        """See `KafkaClients.producer`."""
        assert transactional_id is not None
        return _Producer(self)


class _Producer:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._epoch = 0
        self._batch: list[str] = []

    async def start(self) -> None:
        if self._cluster.away:
            raise NodeNotReadyError
        self._cluster.introduced += 1
        self._epoch = self._cluster.introduced

    async def stop(self) -> None:
        self._batch = []

    async def begin_transaction(self) -> None:
        self._check()
        self._batch = []

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> "asyncio.Future[None]":
        assert topic
        assert value is None or value
        self._check()
        self._batch.append(dict(headers)["ce_id"].decode() + "@" + key.decode())
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    async def commit_transaction(self) -> None:
        self._cluster.committing += 1
        try:
            await self._cluster.answers.wait()
        finally:
            self._cluster.committing -= 1
        self._check()
        self._cluster.stored += self._batch

    def _check(self) -> None:
        if self._cluster.away:
            raise NodeNotReadyError
        if self._epoch != self._cluster.introduced:
            self._cluster.fenced += 1
            raise ProducerFenced


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what needs no time to pass, only threads of the database to answer."""
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0)
