"""Measures the event log over real brokers: durable appends, the outbox, readers, consumers.

VIGIE_TEST_KAFKA=host:port .venv/bin/python tests/bench/bench_eventlog_kafka.py [--copies 1]
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "services"))

from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.database import open_database
from vigie.platform.eventlog import Event, StoredEvent, TopicSpec
from vigie.platform.eventlog.kafka import KafkaConfig, KafkaEventLog, open_kafka_event_log
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.topics import TopicAdmin

TOPICS = (
    TopicSpec("accesses", compacted=False, partitions=12, why="a benchmark"),
    TopicSpec("cameras", compacted=True, partitions=48, why="a benchmark"),
)


def event(key: str) -> Event:
    return Event(key, "vigie.audit.v1.AccessRecord", os.urandom(400), uuid.uuid4().hex, 0, "bench")


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, round(share * len(values)))]


async def appends(log: KafkaEventLog, writers: int, each: int) -> None:
    waits: list[float] = []

    async def write(number: int) -> None:
        for _ in range(each):
            begun = time.perf_counter()
            await log.append("accesses", [event(f"person-{number}")])
            waits.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(write(number) for number in range(writers)))
    seconds = time.perf_counter() - begun
    print(
        f"appends, {writers:3} writers: {len(waits) / seconds:8.0f} a second;"
        f" p50 {quantile(waits, 0.5) * 1000:.1f} ms, p99 {quantile(waits, 0.99) * 1000:.1f} ms"
    )


async def measure(config: KafkaConfig, folder: Path) -> None:
    database = await open_database(folder / "data" / "vigie.sqlite3")
    log = await open_kafka_event_log(config, database, SystemWallClock(), SystemMonotonicClock())
    admin = TopicAdmin(KafkaClients(config))
    await admin.apply(TOPICS, await admin.differences(TOPICS))
    await log.declare(TOPICS)
    try:
        await log.append("accesses", [event("warm")])
        for writers, each in ((1, 500), (16, 250), (64, 150)):
            await appends(log, writers, each)
        begun, count = time.perf_counter(), 0
        while count < 5000:
            async with database.transaction() as connection:
                given = [event(f"cam-{n}") for n in range(count, count + 50)]
                await log.append("cameras", given, connection=connection)
            count += 50
        await log.drain(timeout_seconds=120)
        seconds = time.perf_counter() - begun
        print(f"outbox, 50 events a transaction: {count / seconds:8.0f} events a second, published")
        begun = time.perf_counter()
        read = len([stored async for stored in log.read("accesses")])
        print(
            f"read without a group:   {read / (time.perf_counter() - begun):8.0f} events a second"
        )
        subscription = await log.subscribe("accesses", "bench")
        begun, events = time.perf_counter(), list[StoredEvent]()
        while len(events) < read:
            batch = await subscription.fetch(max_events=500, timeout_seconds=5)
            await subscription.commit(batch)
            events += batch
        seconds = time.perf_counter() - begun
        print(f"consumed, 500 a commit: {read / seconds:8.0f} events a second, joining included")
    finally:
        await log.close()
        await database.close()
        await admin.remove([config.topic_prefix + spec.name for spec in TOPICS])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--copies", type=int, default=1)
    copies = arguments.parse_args().copies
    if not os.environ.get("VIGIE_TEST_KAFKA"):
        print("no server: VIGIE_TEST_KAFKA is not set; nothing was measured")
        return
    config = KafkaConfig(
        bootstrap=os.environ["VIGIE_TEST_KAFKA"].split(","),
        topic_prefix=f"bench{uuid.uuid4().hex[:8]}.",
        replication=copies,
        min_in_sync=max(1, copies - 1),
    )
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(config, Path(folder)))


if __name__ == "__main__":
    main()
