"""Direct appends: every caller waits for the brokers, and learns of every failure.

- The producer is idempotent: what it sends again is stored once, and what it sends to one
  partition is stored in the order in which it was handed in, as long as it is the same producer.
- It never gives up by itself; the caller does after ``delivery_timeout_seconds``. What the caller
  was told to have failed is still on its way then. Appended again with the same id, it is not sent
  again: the caller waits for the first one.
- When a partition refuses something for good (size, rights), its numbering has a hole and refuses
  everything after. Then the producer is replaced: once nothing of the old one is on its way any
  more, so that nothing can be overtaken.
- Memory is bounded by ``buffer_bytes``: beyond, appends wait in order, and fail when their time is
  up.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import structlog

from vigie.platform.clock import MonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.failures import closed, failures, started, unavailable
from vigie.platform.eventlog.kafka.metrics import KafkaMetrics
from vigie.platform.eventlog.kafka.records import checked_size, headers_of
from vigie.platform.eventlog.kafka.topics import TopicAdmin
from vigie.platform.eventlog.kafka.trouble import Trouble
from vigie.platform.eventlog.port import Event
from vigie.platform.eventlog.wake import WakeUp
from vigie.platform.reasons import EVENT_LOG_UNAVAILABLE

log = structlog.get_logger(__name__)

REMEMBERED: Final = 20_000
"""Ids of so many appends are remembered; a repetition within them is not sent again."""


class Publisher:
    """Appends events to topics of the brokers.

    Args:
        clients: makes the producer, when it is first needed.
        clock: measures.
        metrics: what is counted.
    """

    def __init__(self, clients: KafkaClients, clock: MonotonicClock, metrics: KafkaMetrics) -> None:
        self._clients = clients
        self._clock = clock
        self._metrics = metrics
        self._producer: Any = None
        self._spoilt = False
        self._starting = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._known: OrderedDict[tuple[str, str], asyncio.Future[Any]] = OrderedDict()
        self._stored: asyncio.Future[Any] | None = None
        self._waiting_bytes = 0
        self._room = WakeUp()
        self._closed = False
        self._diagnosing: asyncio.Task[str | None] | None = None
        self._trouble = Trouble(clock)

    @property
    def trouble(self) -> str | None:
        """Why the last append failed; ``None`` when it did not."""
        return self._trouble.text

    def stuck(self) -> str | None:
        """Why no append has been acknowledged for long, though some were tried; else ``None``."""
        return self._trouble.lasting(under_way=self._waiting_bytes > 0)

    async def publish(self, topic: str, events: Sequence[Event]) -> None:
        """Return when the brokers have acknowledged every event.

        Args:
            topic: its own name, without prefix.
            events: in the order in which they are to be stored.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE; EVENT_TOO_LARGE, then nothing was sent.
        """
        most = self._clients.config.max_event_bytes
        prepared = [(event, headers_of(event)) for event in events]
        sizes = [checked_size(event, headers, most) for event, headers in prepared]
        begun_us = self._clock.now_us()
        try:
            async with asyncio.timeout(self._clients.config.delivery_timeout_seconds):
                # One at a time, so that those who wait for room keep their order.
                async with self._turn:
                    sent = [
                        await self._send(topic, event, headers, size)
                        for (event, headers), size in zip(prepared, sizes, strict=True)
                    ]
                await asyncio.wait(set(sent))
        except TimeoutError as error:
            raise self._failed(topic, await self._diagnosis(topic) or error) from error
        except failures() as error:
            raise self._failed(topic, error) from error
        except VigieError as error:
            self._failed(topic, error)
            raise
        for future in sent:
            if (refused := future.exception()) is not None:
                raise self._failed(topic, refused) from refused
        self._trouble.clear()
        self._metrics.append_seconds.labels(topic).observe(
            (self._clock.now_us() - begun_us) / 1_000_000
        )

    async def close(self) -> None:
        """Deliver what is on its way, within the time of a delivery, then close."""
        self._closed = True
        self._room.wake()
        if self._diagnosing is not None:
            self._diagnosing.cancel()
            await asyncio.gather(self._diagnosing, return_exceptions=True)
        async with self._starting:
            producer, self._producer = self._producer, None
        if producer is not None:
            await closed(producer, seconds=self._clients.config.delivery_timeout_seconds)

    async def _send(
        self, topic: str, event: Event, headers: Sequence[tuple[str, bytes]], size: int
    ) -> "asyncio.Future[Any]":
        """Hand one event to the producer, or find it on its way (or stored) already."""
        name = (topic, event.id)
        if (known := self._known.get(name)) is not None:
            return known
        while self._waiting_bytes > 0 and self._waiting_bytes + size > self._most_bytes:
            room = self._room.ticket()
            await asyncio.wait([room])
        producer = await self._ready()
        future: asyncio.Future[Any] = await producer.send(
            self._broker(topic), event.value, key=event.key.encode(), headers=list(headers)
        )
        self._waiting_bytes += size
        self._metrics.waiting_bytes.set(self._waiting_bytes)
        self._known[name] = future
        while len(self._known) > REMEMBERED and next(iter(self._known.values())).done():
            self._known.popitem(last=False)
        future.add_done_callback(lambda done: self._settled(name, size, done))
        return future

    def _broker(self, topic: str) -> str:
        return self._clients.config.topic_prefix + topic

    @property
    def _most_bytes(self) -> int:
        return self._clients.config.buffer_bytes

    def _settled(self, name: tuple[str, str], size: int, done: "asyncio.Future[Any]") -> None:
        self._waiting_bytes -= size
        self._metrics.waiting_bytes.set(self._waiting_bytes)
        self._room.wake()
        if done.cancelled() or done.exception() is not None:
            self._spoilt = True
            self._known.pop(name, None)
        else:
            if name in self._known:
                # What the brokers said of it would be a kilobyte for each that is remembered.
                self._known[name] = self._acknowledged()
            # Also one whose caller was told that it had failed: the brokers take events again.
            self._trouble.clear()

    def _acknowledged(self) -> "asyncio.Future[Any]":
        """Stands for every event that the brokers have stored."""
        if self._stored is None:
            self._stored = asyncio.get_running_loop().create_future()
            self._stored.set_result(None)
        return self._stored

    async def _ready(self) -> Any:
        """The producer, started; a spoilt one is replaced."""
        async with self._starting:
            if self._closed:
                raise VigieError(EVENT_LOG_UNAVAILABLE, "the event log is closed")
            if self._producer is not None and self._spoilt:
                await self._producer.flush()
                spoilt, self._producer = self._producer, None
                await closed(spoilt)
                log.warning("eventlog_producer_replaced")
            if self._producer is None:
                self._producer = await started(
                    self._clients, self._clients.producer(), "cannot append"
                )
                self._spoilt = False
            return self._producer

    async def _diagnosis(self, topic: str) -> str | None:
        """Why nothing was acknowledged; those who fail together ask once."""
        if self._diagnosing is None or self._diagnosing.done():
            self._diagnosing = asyncio.create_task(
                TopicAdmin(self._clients).diagnose(self._broker(topic))
            )
        return await asyncio.shield(self._diagnosing)

    def _failed(self, topic: str, error: BaseException | str) -> VigieError:
        self._metrics.append_failures.labels(topic).inc()
        told = (
            error
            if isinstance(error, VigieError)
            else unavailable(self._clients, f"cannot append to {topic}", error)
        )
        if self.trouble is None:
            log.warning("eventlog_append_failed", topic=topic, error=told.message)
        self._trouble.note(told.message)
        return told
