"""How long an access record takes until three brokers have it (acks=all): p50, p99.

    VIGIE_TEST_KAFKA_HOME=… python tests/bench/bench_access_record.py

Nothing of an answer leaves before: this is added to every call. Records of 400 bytes are appended
through the event log, by one caller after the other, by several at once, and at a steady rate as a
control room makes them. On the same brokers, in the same run and in turns, a topic with a single
copy: what the copies cost. Brokers and this program share the machine.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench_eventlog_kafka import event, quantile
from brokers import VARIABLE, missing, three_brokers

from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.database import open_database
from vigie.platform.eventlog import TopicSpec
from vigie.platform.eventlog.kafka import KafkaConfig, KafkaEventLog, open_kafka_event_log
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.topics import TopicAdmin

MUST_REACH_MS = 20.0
TOPICS = (TopicSpec("accesses", compacted=False, partitions=12, why="a benchmark"),)


async def record(log: KafkaEventLog, person: int, waits: list[float]) -> None:
    """Append one record, and note how long it took."""
    begun = time.perf_counter()
    await log.append("accesses", [event(f"person-{person}")])
    waits.append(time.perf_counter() - begun)


async def at_once(log: KafkaEventLog, callers: int, each: int) -> list[float]:
    """Callers that wait for one record before they make the next."""
    waits: list[float] = []

    async def call(person: int) -> None:
        for _ in range(each):
            await record(log, person, waits)

    await asyncio.gather(*(call(person) for person in range(callers)))
    return waits


async def paced(log: KafkaEventLog, rate: float, seconds: float) -> list[float]:
    """So many records a second, whether or not those before have been taken."""
    waits: list[float] = []
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
            group.create_task(record(log, number, waits))
    return waits


async def measure(brokers: list[str], folder: Path, options: argparse.Namespace) -> None:
    logs: dict[str, KafkaEventLog] = {}
    for name, copies in (("three copies", 3), ("one copy", 1)):
        config = KafkaConfig(
            bootstrap=brokers, topic_prefix=f"bench{uuid.uuid4().hex[:8]}.",
            replication=copies, min_in_sync=max(1, copies - 1),
            request_timeout_seconds=60, delivery_timeout_seconds=120,
        )  # fmt: skip
        admin = TopicAdmin(KafkaClients(config))
        await admin.apply(TOPICS, await admin.differences(TOPICS))
        database = await open_database(folder / name / "vigie.sqlite3")
        log = await open_kafka_event_log(
            config, database, SystemWallClock(), SystemMonotonicClock()
        )
        await log.declare(TOPICS)
        logs[name] = log
        await at_once(log, 4, 50)  # connections, and the servers' own warming up
    print(f"three brokers; load {os.getloadavg()[0]:.1f}")
    ways = {
        "one caller": lambda log: at_once(log, 1, options.records),
        "16 callers at once": lambda log: at_once(log, 16, options.records // 4),
        f"{options.rate:g} a second": lambda log: paced(log, options.rate, options.seconds),
    }
    for way, work in ways.items():
        for name, log in logs.items():
            waits = await work(log)
            middle, last = (quantile(waits, share) * 1000 for share in (0.5, 0.99))
            verdict = ""
            if name == "three copies":
                reached = "yes" if last <= MUST_REACH_MS else "NO"
                verdict = f"; p99 must reach {MUST_REACH_MS:g} ms: {reached}"
            print(
                f"  {way}, {name}: {len(waits)} records,"
                f" p50 {middle:.1f} ms, p99 {last:.1f} ms{verdict}"
            )
    for log in logs.values():
        await log.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--records", type=int, default=800)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    home = os.environ.get(VARIABLE)
    if why := missing(home):
        print(f"no server: {why}; nothing was measured")
        return
    assert home is not None
    with tempfile.TemporaryDirectory(prefix="vigie-bench-brokers-") as folder:
        async with three_brokers(Path(home), Path(folder)) as brokers:
            await measure(brokers, Path(folder), options)


if __name__ == "__main__":
    asyncio.run(main())
