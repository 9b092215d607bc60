"""Whoever else writes to the topics: what is no event, and events once more in another order."""

import json
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from e2e.harness import WALL, Outcome, run_vigie, until
from faults.services.brokers import Cluster
from faults.services.town import PATIENCE_SECONDS, Town
from vigie.platform.clock import from_us
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc

FOREIGN: Final = b"foreign"
_RANDOM_BYTES: Final = 200
_AT_ONCE: Final = 500
_STANDING: Final = re.compile(r"^vigie_consumer_quarantine_events\{[^}]*\} (\S+)", re.MULTILINE)
READ: Final = {"recording": ("cameras", "segments", "holds"), "audit": ("accesses",)}
"""Service -> the topics that it consumes."""
MESSAGES: Final = {
    "cameras": "vigie.registry.v1.CameraState",
    "segments": "vigie.ingest.v1.SegmentEvent",
    "holds": "vigie.evidence.v1.HoldState",
    "accesses": "vigie.audit.v1.AccessRecord",
    "stream-status": "vigie.ingest.v1.StreamStatusEvent",
}


@dataclass(frozen=True, slots=True)
class Nonsense:
    """What stands where an event should: of no form, or of the form with unreadable content."""

    topic: str
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    value: bytes


def nonsense(topic: str, key: str, event_type: str, chance: random.Random) -> Nonsense:
    """An event to look at, whose content cannot be parsed."""
    # A field of a group that is never ended: no protobuf message, whatever its type.
    value = b"\x0b" + chance.randbytes(_RANDOM_BYTES)
    now = from_us(WALL.now_us()).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    headers = {
        "ce_specversion": "1.0", "ce_id": f"foreign-{chance.randbytes(6).hex()}",
        "ce_type": event_type, "ce_source": FOREIGN.decode(), "ce_time": now,
    }  # fmt: skip
    return Nonsense(topic, key.encode(), [(n, text.encode()) for n, text in headers.items()], value)


def formless(topic: str, key: str | None, chance: random.Random) -> Nonsense:
    """A record that does not even look like an event."""
    return Nonsense(
        topic, None if key is None else key.encode(), [], chance.randbytes(_RANDOM_BYTES)
    )


@asynccontextmanager
async def writing(brokers: Cluster) -> AsyncIterator[Any]:
    """A producer that knows nothing of the product."""
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=brokers.direct, acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def write(brokers: Cluster, prefix: str, records: Sequence[Nonsense]) -> None:
    """Put records into the topics; returns when they are stored."""
    async with writing(brokers) as producer:
        for one in records:
            await producer.send_and_wait(
                prefix + one.topic, one.value, key=one.key, headers=list(one.headers)
            )


async def again_in_disorder(
    brokers: Cluster, prefix: str, topics: Sequence[str], chance: random.Random
) -> int:
    """Write every event of ours that stands in topics once more, in another order.

    Returns:
        How many.
    """
    from aiokafka import AIOKafkaConsumer, TopicPartition

    count = 0
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers.direct, enable_auto_commit=False, isolation_level="read_committed"
    )
    await consumer.start()
    try:
        async with writing(brokers) as producer:
            for topic in topics:
                name = prefix + topic
                await consumer._client.add_topic(name)
                numbers = consumer.partitions_for_topic(name) or set()
                places = [TopicPartition(name, number) for number in sorted(numbers)]
                consumer.assign(places)
                records = [one for one in await _all(consumer, places) if _is_ours(one)]
                chance.shuffle(records)
                sent = [
                    await producer.send(
                        name, one.value, key=one.key, headers=list(one.headers),
                        partition=one.partition,
                    )
                    for one in records
                ]  # fmt: skip
                for future in sent:
                    await future
                count += len(sent)
    finally:
        await consumer.stop()
    return count


async def _all(consumer: Any, places: Sequence[Any]) -> list[Any]:
    ends = await consumer.end_offsets(places)
    await consumer.seek_to_beginning(*places)
    records: list[Any] = []
    while True:
        behind = [place for place in places if await consumer.position(place) < ends[place]]
        if not behind:
            return [one for one in records if one.offset < ends[_place(one)]]
        found = await consumer.getmany(timeout_ms=500, max_records=_AT_ONCE)
        records += [one for some in found.values() for one in some]


def _is_ours(record: Any) -> bool:
    return dict(record.headers).get("ce_source", FOREIGN) != FOREIGN


def _place(record: Any) -> Any:
    from aiokafka import TopicPartition

    return TopicPartition(record.topic, record.partition)


async def quarantined(town: Town, context: str) -> list[dict[str, Any]]:
    """What the command says of the quarantine of a context."""
    return await _quarantine(town, "list", "--context", context)


async def shown(town: Town, context: str, number: int) -> dict[str, Any]:
    """One of them, looked at."""
    (found,) = await _quarantine(town, "show", str(number), "--context", context)
    return found


async def discard(town: Town, context: str, number: int) -> None:
    """Drop one of them, on record."""
    await _quarantine(
        town, "discard", str(number), "--context", context, "--yes", "--reason", "made by a test"
    )


async def _quarantine(town: Town, *arguments: str) -> list[dict[str, Any]]:
    config = ("--config", str(town.vigie.config_file))
    done = await run_vigie("--json", "quarantine", *arguments, *config)
    assert done.code == 0, done
    return _documents(done.out)


def _documents(text: str) -> list[dict[str, Any]]:
    decoder, found, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        found.append(document)
    return found


async def standing(town: Town, service: str) -> float:
    """How many events a service says to have in quarantine."""
    return sum(float(found[1]) for found in _STANDING.finditer(await town.vigie.metrics(service)))


async def look_and_drop(town: Town, records: Sequence[Nonsense]) -> int:
    count = 0
    for service in READ:
        listed = await quarantined(town, service)
        wanted = sorted(one.topic for one in records if one.topic in READ[service])
        assert sorted(item["topic"] for item in listed) == wanted
        assert {item["reason"] for item in listed} <= {"EVENT_UNPARSABLE", "EVENT_TYPE_UNKNOWN"}
        looked = await shown(town, service, listed[0]["number"])
        assert looked["reason"] == listed[0]["reason"]
        for item in listed:
            await discard(town, service, item["number"])
            count += 1

        async def nothing_stands(service: str = service) -> bool:
            return await standing(town, service) == 0

        await until(nothing_stands, f"{service} has nothing in quarantine any more")
    return count


async def told_anew(town: Town, camera: str) -> None:
    """Change a camera in the registry, each time otherwise, which tells its state anew."""
    stub = town.vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")
    read = await stub.GetCamera(cameras_pb2.GetCameraRequest(name=f"cameras/{camera}"))
    change = cameras_pb2.UpdateCameraRequest(
        camera=cameras_pb2.Camera(
            name=read.name, description=f"Mât repeint, {WALL.now_us()}", etag=read.etag
        )
    )
    change.update_mask.paths.append("description")
    await stub.UpdateCamera(change)


_IN_THE_LOG: Final = (
    "an event cannot be read",
    "a hold cannot be read",
    "an access record cannot be read",
    "a camera state cannot be read",
    "events of a run stand in another order than they were told",
)
"""What the checker says of a log that others have written to, for as long as it stands there."""


async def clean(town: Town) -> None:
    """Wait until the checker finds nothing but what others have written to the log."""

    async def is_clean() -> bool:
        report = await town.vigie.fsck(seconds=PATIENCE_SECONDS)
        return not unexpected(report)

    await until(is_clean, "the checker is content", seconds=2 * PATIENCE_SECONDS)


def unexpected(report: Outcome) -> list[dict[str, Any]]:
    """Errors that the checker has found, beyond what others have written to the log."""
    (document,) = _documents(report.out)
    return [
        found
        for found in document["findings"]
        if found["severity"] == "ERROR" and not found["what"].startswith(_IN_THE_LOG)
    ]
