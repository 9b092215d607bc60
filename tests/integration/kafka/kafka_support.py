"""What tests over real brokers share: a cable that can be cut, logs on databases of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.database import Database, EmbeddedDatabase, open_database
from vigie.platform.eventlog import Event, EventLog, StoredEvent, TopicSpec
from vigie.platform.eventlog.kafka import (
    Identity,
    KafkaConfig,
    KafkaEventLog,
    open_kafka_event_log,
)
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.topics import TopicAdmin
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.metrics import MetricsRegistry

PATIENCE_SECONDS = 40.0
CABLED = "cabled"
"""Clients of this name reach the brokers over the cable; all others directly."""


class Cable:
    """A TCP relay between clients named `CABLED` and every broker; can be cut, frozen and mended.

    Brokers tell their clients their own addresses, so a proxy before them would be left at once:
    here the clients' way of connecting is replaced.
    """

    def __init__(self) -> None:
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut = False

    async def through(self, host: str, port: int) -> tuple[str, int]:
        if (host, port) not in self._servers:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._serve(host, port, reader, writer)

            self._servers[host, port] = await asyncio.start_server(serve, "127.0.0.1", 0)
        name: tuple[str, int] = self._servers[host, port].sockets[0].getsockname()
        return name

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        self._cut = True
        for writer in tuple(self._writers):
            writer.transport.abort()

    def freeze(self) -> None:
        """Keep connections open and let nothing through, in either direction."""
        self._flowing.clear()

    def mend(self) -> None:
        """Let everything through, also what was sent while nothing went through."""
        self._cut = False
        self._flowing.set()

    async def close(self) -> None:
        for server in self._servers.values():
            server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(
        self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._cut:
            writer.transport.abort()
            return
        upstream_reader, upstream_writer = await asyncio.open_connection(host, port)
        self._writers |= {writer, upstream_writer}
        for source, sink in ((reader, upstream_writer), (upstream_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while content := await source.read(65536):
                await self._flowing.wait()
                sink.write(content)
                await sink.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(sink)
            sink.transport.abort()


@pytest.fixture
async def cable(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cable]:
    import aiokafka.client
    import aiokafka.conn

    made, real = Cable(), aiokafka.conn.create_conn

    async def create_conn(host: str, port: int, **arguments: Any) -> Any:
        if arguments.get("client_id") == CABLED:
            host, port = await made.through(host, port)
        return await real(host, port, **arguments)

    monkeypatch.setattr(aiokafka.client, "create_conn", create_conn)
    monkeypatch.setattr(aiokafka.conn, "create_conn", create_conn)
    yield made
    await made.close()


class House:
    """Databases and logs of a test; closed in the end."""

    def __init__(self, config: KafkaConfig, folder: Path) -> None:
        self.config = config
        self._folder = folder
        self._logs: list[KafkaEventLog] = []
        self._databases: list[EmbeddedDatabase] = []

    async def database(self) -> EmbeddedDatabase:
        path = self._folder / f"db{len(self._databases)}" / "vigie.sqlite3"
        made = await open_database(path)
        self._databases.append(made)
        return made

    async def log(
        self,
        database: Database | None,
        *topics: TopicSpec,
        name: str = "direct",
        context: str = "registry",
        metrics: MetricsRegistry | None = None,
        faults: FaultPoints = NO_FAULTS,
        without_word_seconds: float = 30.0,
        identity: Identity | None = None,
        **settings: Any,
    ) -> KafkaEventLog:
        made = await open_kafka_event_log(
            self.config.model_copy(update=settings),
            database,
            SystemWallClock(),
            SystemMonotonicClock(),
            metrics=metrics,
            client_name=name,
            context=context,
            faults=faults,
            without_word_seconds=without_word_seconds,
            identity=identity,
        )
        self._logs.append(made)
        await self.make(*topics)
        await made.declare(topics)
        return made

    async def make(self, *topics: TopicSpec) -> None:
        admin = TopicAdmin(KafkaClients(self.config))
        await admin.apply(topics, [one for one in await admin.differences(topics) if one.missing])

    async def close(self) -> None:
        for log in self._logs:
            await log.close()
        for database in self._databases:
            await database.close()


@pytest.fixture
async def house(kafka_config: KafkaConfig, tmp_path: Path) -> AsyncIterator[House]:
    made = House(kafka_config, tmp_path)
    try:
        yield made
    finally:
        await made.close()


def spec(name: str = "segments", *, compacted: bool = False, partitions: int = 3) -> TopicSpec:
    return TopicSpec(name=name, compacted=compacted, partitions=partitions, why="a test")


def event(number: int, key: str = "cam-a", value: bytes | None = b"value") -> Event:
    return Event(
        key=key,
        type="vigie.sample.v1.Sample",
        value=value,
        id=f"id-{number:05}",
        time_us=1_700_000_000_000_000 + number,
        source="vigie/test",
    )


def ids(events: Sequence[StoredEvent]) -> list[str]:
    return [stored.event.id for stored in events]


async def everything(log: EventLog, topic: str) -> list[str]:
    return [stored.event.id async for stored in log.read(topic)]


async def eventually(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait in real time, as long as what is waited for happens in other processes (brokers)."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def raw_producer(config: KafkaConfig) -> AsyncIterator[Any]:
    """Somebody who writes whatever he likes."""
    producer = KafkaClients(config).producer()
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
