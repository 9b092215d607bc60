"""What watches of streams cost a process: fed out of its table, against a reader of the topic each.

    VIGIE_TEST_KAFKA=… python tests/bench/bench_watches.py

251 cameras repeat their state, faster than they do (``--speed``), on one broker; so many callers
watch all of them, without heartbeats. Both ways in one run and in turns, each in a process of its
own: its processor time for the time watched, and the most memory it had.
"""

import argparse
import asyncio
import multiprocessing
import os
import resource
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vigie.ingest.services.watching import StatusFeed, parse_status, same_state
from vigie.ingest.upload.events import STATUS_TOPIC
from vigie.ingest.v1 import events_pb2 as pb
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.database import open_database
from vigie.platform.eventlog import CompactedTable, TopicSpec, make_event
from vigie.platform.eventlog.kafka import KafkaConfig, KafkaEventLog, open_kafka_event_log
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.topics import TopicAdmin

VARIABLE = "VIGIE_TEST_KAFKA"
CAMERAS = 251
HEARTBEAT_SECONDS = 10.0
TOPICS = (TopicSpec(STATUS_TOPIC, compacted=True, partitions=16, why="a benchmark"),)


@dataclass(frozen=True)
class Setting:
    prefix: str
    watches: int
    seconds: float
    speed: float

    def kafka(self) -> KafkaConfig:
        return KafkaConfig(
            bootstrap=[os.environ[VARIABLE]], topic_prefix=self.prefix, replication=1, min_in_sync=1
        )


@asynccontextmanager
async def opened(setting: Setting) -> AsyncIterator[KafkaEventLog]:
    """The log, declared."""
    with TemporaryDirectory() as folder:
        database = await open_database(Path(folder) / "vigie.sqlite3")
        log = await open_kafka_event_log(
            setting.kafka(), database, SystemWallClock(), SystemMonotonicClock()
        )
        try:
            await log.declare(TOPICS)
            yield log
        finally:
            await log.close()
            await database.close()


async def beat(setting: Setting, seconds: float) -> None:
    """Heartbeats of all cameras."""
    wall, sent = SystemWallClock(), 0
    async with opened(setting) as log:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.monotonic()
            for first in range(0, CAMERAS, 25):
                names = [f"cam-{n:03}" for n in range(first, min(first + 25, CAMERAS))]
                sent += 1
                await log.append(
                    STATUS_TOPIC,
                    [
                        make_event(
                            pb.StreamStatusEvent(
                                camera=name, state=pb.STREAM_STATE_RECORDING, last_frame_us=sent
                            ),
                            key=name, source="bench", wall_clock=wall, event_id=f"{name}.{sent}",
                        )
                        for name in names
                    ],
                )  # fmt: skip
            await asyncio.sleep(
                max(0.0, HEARTBEAT_SECONDS / setting.speed - (time.monotonic() - begun))
            )


async def from_the_table(setting: Setting) -> float:
    """All watches out of one table; processor seconds."""
    async with opened(setting) as log, AsyncExitStack() as closing:
        table = CompactedTable(log, STATUS_TOPIC, parse_status, SystemMonotonicClock())
        await table.start()
        feed = StatusFeed(log, table)
        watches = [
            closing.enter_context(feed.watch(lambda _camera: True, heartbeats=False))
            for _ in range(setting.watches)
        ]

        async def consume(number: int) -> None:
            async for _ in watches[number].told((), bytes.hex):
                pass

        used = await _watched(setting, consume)
        await table.stop()
        return used


async def a_reader_each(setting: Setting) -> float:
    """Each watch reads the topic; processor seconds."""
    async with opened(setting) as log:

        async def consume(_number: int) -> None:
            known: dict[str, pb.StreamStatusEvent] = {}
            async for stored in log.read(STATUS_TOPIC, follow=True):
                status = parse_status(stored)
                before, known[status.camera] = known.get(status.camera), status
                if before is not None:
                    same_state(before, status)

        return await _watched(setting, consume)


async def _watched(setting: Setting, consume: Callable[[int], object]) -> float:
    tasks = [asyncio.ensure_future(consume(number)) for number in range(setting.watches)]  # type: ignore[arg-type,type-var]
    await asyncio.sleep(3)  # all have begun
    begun = time.process_time()
    await asyncio.sleep(setting.seconds)
    used = time.process_time() - begun
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return used


def _run(way: str, setting: Setting, answer: "multiprocessing.Queue[tuple[float, float]]") -> None:
    used = asyncio.run({"table": from_the_table, "reader": a_reader_each}[way](setting))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.put((used, peak_mb))


def _beat(setting: Setting, seconds: float) -> None:
    asyncio.run(beat(setting, seconds))


async def _prepare(setting: Setting) -> None:
    admin = TopicAdmin(KafkaClients(setting.kafka()))
    await admin.apply(TOPICS, await admin.differences(TOPICS))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--watches", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--speed", type=float, default=5.0, help="heartbeats come so much faster")
    options = parser.parse_args()
    if VARIABLE not in os.environ:
        sys.exit(f"{VARIABLE} is not set (host:port of a broker)")
    context = multiprocessing.get_context("spawn")
    setting = Setting(f"bench{uuid.uuid4().hex[:8]}.", 0, options.seconds, options.speed)
    asyncio.run(_prepare(setting))
    turns = 2 * len(options.watches)
    beating = context.Process(target=_beat, args=(setting, turns * (options.seconds + 12)))
    beating.start()
    rate = CAMERAS / HEARTBEAT_SECONDS * options.speed
    print(f"{CAMERAS} cameras, {rate:.0f} heartbeats a second, {options.seconds:.0f} s each")
    print(f"{'watches':>8} {'':>8} {'cores':>8} {'peak MB':>8}")
    for watches in options.watches:
        cores: dict[str, float] = {}
        for way in ("reader", "table"):
            answer: multiprocessing.Queue[tuple[float, float]] = context.Queue()
            one = Setting(setting.prefix, watches, options.seconds, options.speed)
            process = context.Process(target=_run, args=(way, one, answer))
            process.start()
            used, peak_mb = answer.get(timeout=options.seconds + 120)
            process.join()
            cores[way] = used / options.seconds
            print(f"{watches:>8} {way:>8} {cores[way]:>8.3f} {peak_mb:>8.0f}")
        print(f"{'':>8} {'ratio':>8} {cores['reader'] / cores['table']:>8.1f}")
    beating.kill()


if __name__ == "__main__":
    main()
