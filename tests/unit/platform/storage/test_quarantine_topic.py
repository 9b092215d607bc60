"""Topic `quarantine`: every record that was put away, to the byte, and what became of it."""

import hashlib
from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from databases import database_kind
from unit.platform.storage.consumer_bench import Bench, bench, event, processed
from vigie.common.v1.events_pb2 import (
    QUARANTINE_OUTCOME_DISCARDED,
    QUARANTINE_OUTCOME_REPLAYED,
    OriginalRecord,
    QuarantineEvent,
)
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import (
    QUARANTINE_TOPIC,
    EmbeddedEventLog,
    Event,
    Position,
    Quarantine,
    RawRecord,
    StoredEvent,
    Unprocessable,
    parse_event,
)
from vigie.platform.eventlog.consumer import FAULT_POINTS
from vigie.platform.eventlog.tables import QUARANTINE
from vigie.platform.faultpoint import StrikingFaults, raise_errno
from vigie.platform.reasons import EVENT_TOO_LARGE

__all__ = ["bench", "database_kind"]
UNPARSABLE = Unprocessable("EVENT_UNPARSABLE", "bad bytes")
FOREIGN = RawRecord(
    b"\xff\x00key", (("ce_id", b"\xfe"), ("twice", b"1"), ("twice", b"2")), b"\x00" * 300
)


async def told(bench: Bench) -> list[QuarantineEvent]:
    """Every word, in order; each stands under the key of its case."""
    found = []
    async for stored in bench.log.read(QUARANTINE_TOPIC.name):
        word = parse_event(stored, QuarantineEvent)
        assert stored.event.key == word.case_id
        found.append(word)
    return found


def kinds(words: Sequence[QuarantineEvent]) -> list[str | None]:
    return [word.WhichOneof("word") for word in words]


async def put_away(bench: Bench, *, quarantine: Quarantine | None = None) -> None:
    """A record that is no event, as a log of records hands it to a consumer."""
    unreadable = Event("\\xff\\x00key", "", FOREIGN.value, "segments/3/41", 5, "unknown")
    stored = StoredEvent("segments", Position(3, 41), unreadable, FOREIGN)
    async with bench.database.transaction() as connection:
        await (quarantine or bench.quarantine).add(connection, "index", stored, UNPARSABLE)


async def test_what_is_put_away_is_told_with_its_bytes(bench: Bench) -> None:
    bench.trouble["id-00002"] = [UNPARSABLE]
    await bench.log.append("segments", [event(n) for n in range(5)])
    async with bench.running():
        await processed(bench, 4)
    [item] = await bench.quarantine.list()
    [word] = await told(bench)
    assert (word.case_id, word.consumer, word.topic) == (item.case_id, "index", "segments")
    assert (word.partition, word.offset) == (0, item.stored.position.offset) == (0, 2)
    assert word.time.ToMicroseconds() == item.quarantined_us
    said = word.quarantined
    assert (said.reason, said.detail) == ("EVENT_UNPARSABLE", "bad bytes")
    assert (said.record.key, said.record.value) == (b"cam-2", b"value-2")
    headers = {header.name: header.value for header in said.record.headers}
    assert headers["ce_id"] == b"id-00002"
    assert headers["ce_type"] == b"vigie.sample.v1.Sample"


async def test_a_foreign_record_is_told_as_it_stood_and_kept_so_in_its_row(bench: Bench) -> None:
    await put_away(bench)
    [word] = await told(bench)
    record = word.quarantined.record
    assert (record.key, record.value, record.size_bytes) == (FOREIGN.key, FOREIGN.value, 300)
    assert tuple((one.name, one.value) for one in record.headers) == FOREIGN.headers
    [item] = await bench.quarantine.list()
    assert item.stored.raw == FOREIGN


async def test_every_step_of_a_case_is_told_in_order_with_who_and_why(bench: Bench) -> None:
    bench.trouble["id-00001"] = [UNPARSABLE]
    await bench.log.append("segments", [event(n) for n in range(3)])
    async with bench.running() as consumer:
        await processed(bench, 2)
        [item] = await bench.quarantine.list()
        await bench.quarantine.request_replay(item.number, actor="a-martin", purpose="try it")

        async def refused() -> bool:
            return len(await told(bench)) == 3

        await bench.until(refused)
        bench.trouble.clear()
        await bench.quarantine.request_replay(item.number, actor="b-durand", purpose="mended")
        await processed(bench, 3)
        assert consumer.not_ready() is None
    words = await told(bench)
    assert {word.case_id for word in words} == {item.case_id}
    assert kinds(words) == [
        "quarantined", "replay_requested", "replay_failed", "replay_requested", "resolved",
    ]  # fmt: skip
    asked, failed, resolved = words[1].replay_requested, words[2].replay_failed, words[4].resolved
    assert (asked.actor, asked.purpose) == ("a-martin", "try it")
    assert (failed.reason, failed.detail) == ("EVENT_UNPARSABLE", "bad bytes")
    assert resolved.outcome == QUARANTINE_OUTCOME_REPLAYED
    assert (resolved.actor, resolved.purpose) == ("b-durand", "mended")
    labels = {"topic": "segments", "group": "index"}
    for outcome in ("replayed", "failed"):
        assert bench.metric("vigie_consumer_replays_total", outcome=outcome, **labels) == 1


async def test_a_discarded_record_stays_in_the_topic(bench: Bench) -> None:
    await put_away(bench)
    [item] = await bench.quarantine.list()
    await bench.quarantine.discard(item.number, actor="a-martin", purpose="made by a test")
    first, last = await told(bench)
    assert first.quarantined.record.value == FOREIGN.value
    assert last.resolved.outcome == QUARANTINE_OUTCOME_DISCARDED
    assert (last.resolved.actor, last.resolved.purpose) == ("a-martin", "made by a test")
    assert await bench.quarantine.count() == 0


async def test_neither_row_nor_word_is_there_without_the_other(bench: Bench) -> None:
    stored = StoredEvent("segments", Position(0, 7), event(7))

    async def undone(connection: AsyncConnection) -> None:
        await bench.quarantine.add(connection, "index", stored, UNPARSABLE)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bench.database.write(undone)
    assert (await bench.quarantine.count(), await told(bench)) == (0, [])
    for _ in range(2):  # a consumer that was overtaken puts the same one away again
        await put_away(bench)
    assert (await bench.quarantine.count(), len(await told(bench))) == (1, 1)


@pytest.mark.parametrize("point", FAULT_POINTS)
async def test_a_failure_at_any_step_tells_each_record_once(bench: Bench, point: str) -> None:
    for number in (1, 3):
        bench.trouble[f"id-{number:05}"] = [UNPARSABLE]
    await bench.log.append("segments", [event(n) for n in range(5)])
    faults = StrikingFaults(point, raise_errno(5), times=3, known=FAULT_POINTS)
    async with bench.running(faults):
        await bench.until(lambda: faults.strikes >= 1)
        await processed(bench, 3)

        async def both() -> bool:
            return await bench.quarantine.count() == 2

        await bench.until(both)
    words = await told(bench)
    assert kinds(words) == ["quarantined", "quarantined"]
    assert [word.offset for word in words] == [1, 3]


async def test_what_an_earlier_version_put_away_is_told_once_by_its_consumer(bench: Bench) -> None:
    async with bench.database.transaction() as connection:
        for number in (1, 2):
            await connection.execute(sa.insert(QUARANTINE), earlier_row(number))
    async with bench.running() as consumer:

        async def all_told() -> bool:
            return len(await told(bench)) == 2

        await bench.until(all_told)
        await bench.until(lambda: consumer.not_ready() is None)
    assert await bench.quarantine.tell_untold(topic="segments", group="index") == 0
    words = await told(bench)
    assert [word.quarantined.record.value for word in words] == [b"value-1", b"value-2"]
    assert [item.case_id for item in await bench.quarantine.list()] == [w.case_id for w in words]


async def test_closing_an_untold_case_tells_of_it_first(bench: Bench) -> None:
    async with bench.database.transaction() as connection:
        await connection.execute(sa.insert(QUARANTINE), earlier_row(4))
    [item] = await bench.quarantine.list()
    await bench.quarantine.discard(item.number)
    assert kinds(await told(bench)) == ["quarantined", "resolved"]


def earlier_row(number: int) -> dict[str, object]:
    """A row as the version before the topic wrote it."""
    one = event(number)
    return {
        "topic": "segments", "group": "index", "partition": 0, "offset": 90 + number,
        "key": one.key, "type": one.type, "value": one.value, "id": one.id,
        "time_us": one.time_us, "source": one.source, "headers": None,
        "reason": "EVENT_UNPARSABLE", "detail": "", "quarantined_us": number,
        "replay_requested": False,
    }  # fmt: skip


class NarrowLog:
    """A log that takes small events only, as brokers do."""

    def __init__(self, log: EmbeddedEventLog, most: int) -> None:
        self._log = log
        self._most = most

    async def append(
        self, topic: str, events: Sequence[Event], *, connection: AsyncConnection | None = None
    ) -> None:
        if any(len(one.value or b"") > self._most for one in events):
            raise VigieError(EVENT_TOO_LARGE, "too large")
        await self._log.append(topic, events, connection=connection)


async def test_a_record_too_large_to_be_told_is_named_and_stays_in_its_row(bench: Bench) -> None:
    narrow = Quarantine(bench.database, bench.quarantine._wall_clock, NarrowLog(bench.log, 300))  # type: ignore[arg-type] # all it asks for
    await put_away(bench, quarantine=narrow)
    [word] = await told(bench)
    digest = hashlib.sha256(FOREIGN.value or b"").hexdigest()
    assert word.quarantined.record == OriginalRecord(size_bytes=300, sha256=digest, left_out=True)
    [item] = await bench.quarantine.list()
    assert item.stored.raw == FOREIGN
