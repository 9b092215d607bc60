"""Places in a log that was made anew: an event in quarantine never hides another one."""

import pytest
import sqlalchemy as sa

from databases import database_kind
from unit.platform.storage.consumer_bench import Bench, bench, processed
from vigie.common.v1.events_pb2 import QuarantineEvent
from vigie.platform.database.migrations import migrate
from vigie.platform.eventlog import (
    QUARANTINE_TOPIC,
    Event,
    Position,
    RawRecord,
    StoredEvent,
    Unprocessable,
    parse_event,
)
from vigie.platform.eventlog.kafka.outbox import OUTBOX_MIGRATIONS
from vigie.platform.eventlog.tables import EVENT, TOPIC
from vigie.restoring import _begin_anew

__all__ = ["bench", "database_kind"]
PUT_AWAY = "vigie_consumer_quarantined_events_total"
WHY = Unprocessable("EVENT_VALUE_UNKNOWN", "a newer program's")


def at(offset: int, name: str, value: bytes = b"footage") -> StoredEvent:
    raw = RawRecord(b"cam", (("ce_id", name.encode()),), value)
    event = Event("cam", "T", value, name, 5, "test")
    return StoredEvent("segments", Position(0, offset), event, raw)


async def put_away(bench: Bench, *events: StoredEvent, group: str = "index") -> None:
    for stored in events:
        async with bench.database.transaction() as connection:
            await bench.quarantine.add(connection, group, stored, WHY)


async def kept(bench: Bench) -> dict[str, int]:
    """Identifier -> offset of everything in quarantine."""
    items = await bench.quarantine.list()
    found = {item.stored.event.id: item.stored.position.offset for item in items}
    assert len(found) == len(items)
    return found


async def cases(bench: Bench) -> list[tuple[str, int]]:
    """Value and offset of every record that was told of, in order."""
    words = [
        parse_event(stored, QuarantineEvent)
        async for stored in bench.log.read(QUARANTINE_TOPIC.name)
    ]
    told = [word for word in words if word.WhichOneof("word") == "quarantined"]
    return [(word.quarantined.record.value.decode(), word.offset) for word in told]


async def made_anew(bench: Bench) -> None:
    """The topics are lost and made anew, and `restore log` has its turn."""
    await migrate(bench.database, OUTBOX_MIGRATIONS)
    async with bench.database.transaction() as connection:
        await connection.execute(sa.delete(EVENT))
        await connection.execute(sa.update(TOPIC).values(next_offset=0, first_offset=0))
    await bench.database.write(_begin_anew("recording"))


async def test_a_new_event_at_the_place_of_an_old_one_is_put_away_too(bench: Bench) -> None:
    await put_away(bench, at(7, "old"), at(7, "new"))
    found = await kept(bench)
    assert found["new"] == 7
    assert found["old"] < 0
    assert len(await cases(bench)) == 2


@pytest.mark.parametrize("value", [b"old bytes", b"new bytes"])
async def test_of_unreadable_records_the_bytes_tell_which_is_which(
    value: bytes, bench: Bench
) -> None:
    """Their identifiers are their places."""
    await put_away(bench, at(7, "segments/0/7", b"old bytes"), at(7, "segments/0/7", value))
    items = await bench.quarantine.list()
    assert {item.stored.event.value for item in items} == {b"old bytes", value}
    assert len(items) == len({b"old bytes", value})


async def test_the_same_event_again_is_put_away_once(bench: Bench) -> None:
    await put_away(bench, at(7, "one"), at(7, "one"))
    await put_away(bench, at(7, "one"), group="another")
    items = await bench.quarantine.list()
    assert [item.group for item in items] == ["index", "another"]
    assert len(await cases(bench)) == 2


async def test_after_the_log_was_lost_nothing_in_quarantine_hides_what_is_new(
    bench: Bench,
) -> None:
    bench.trouble = {"old": [WHY], "new": [WHY]}
    await bench.log.append("segments", [Event("cam", "T", b"old footage", "old", 0, "test")])
    async with bench.running():
        await bench.until(
            lambda: bench.metric("vigie_consumer_quarantined_events_total", **OF) == 1
        )
    await made_anew(bench)
    await bench.log.append("segments", [Event("cam", "T", b"new footage", "new", 0, "test")])
    async with bench.running() as consumer:
        await bench.until(
            lambda: bench.metric("vigie_consumer_quarantined_events_total", **OF) == 2
        )

        async def both_told() -> bool:
            return len(await cases(bench)) == 2

        await bench.until(both_told)
        found = await kept(bench)
        assert found["new"] == 0
        assert found["old"] < 0
        assert set(await cases(bench)) == {("new footage", 0), ("old footage", found["old"])}
        bench.trouble.clear()
        for item in await bench.quarantine.list():
            await bench.quarantine.request_replay(item.number)
        await processed(bench, 2)
        assert consumer.not_ready() is None
    assert await kept(bench) == {}


async def test_an_event_that_was_set_aside_and_comes_again_is_not_doubled(bench: Bench) -> None:
    """`restore log` may be repeated while the log stands."""
    await put_away(bench, at(7, "one"), at(8, "two"))
    await made_anew(bench)
    assert all(offset < 0 for offset in (await kept(bench)).values())
    await put_away(bench, at(7, "one"), at(9, "two"))
    assert await kept(bench) == {"one": 7, "two": 9}


OF = {"topic": "segments", "group": "index", "reason": "EVENT_VALUE_UNKNOWN"}
