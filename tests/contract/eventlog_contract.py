"""What every event log must do. Subclass `EventLogContract` and give a ``harness`` fixture.

The suite asks for promises of the port only: nothing of it knows about offsets being dense, about
the number of partitions, or about how fast an append becomes visible to a reader.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import pytest
import sqlalchemy as sa

from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import Event, EventLog, StoredEvent, Subscription, TopicSpec

PATIENCE_SECONDS = 20.0
EFFECT = sa.Table("contract_effect", sa.MetaData(), sa.Column("id", sa.String, primary_key=True))


class LogHarness(Protocol):
    """One log under test.

    Attributes:
        log: the open log.
        database: the consumer's and producer's database; has the table ``contract_effect``.
    """

    log: EventLog
    database: Database

    async def reopen(self) -> None:
        """Close the log and the database as an orderly restart does, and open them again."""
        ...

    async def crash(self) -> None:
        """Open them again as if the process had been killed (nothing is closed orderly)."""
        ...

    async def maintain(self) -> None:
        """Make the log compact and expire now; a log that does so by itself may do nothing."""
        ...


def event(number: int, key: str = "cam-a", value: bytes | None = b"") -> Event:
    content = f"value-{number}".encode() if value == b"" else value
    return Event(
        key=key,
        type="vigie.sample.v1.Sample",
        value=content,
        id=f"id-{number:05}",
        time_us=1_700_000_000_000_000 + number,
        source="vigie/test",
        headers={"request-id": f"r{number}", "name": "Gênes"},
    )


def topic(name: str = "contract-segments", *, compacted: bool = False) -> TopicSpec:
    return TopicSpec(name=name, compacted=compacted, partitions=3, why="a test")


async def fetch(subscription: Subscription, count: int) -> list[StoredEvent]:
    """Fetch exactly ``count`` events, in as many fetches as it takes."""
    events: list[StoredEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(events) < count:
            events += await subscription.fetch(
                max_events=count - len(events), timeout_seconds=PATIENCE_SECONDS
            )
    return events


async def first(log: EventLog, name: str, count: int) -> list[StoredEvent]:
    """The first ``count`` events of a topic, waiting for them."""
    events: list[StoredEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for stored in log.read(name, follow=True):
            events.append(stored)
            if len(events) == count:
                break
    return events


def ids(events: Sequence[StoredEvent]) -> list[str]:
    return [stored.event.id for stored in events]


class EventLogContract:
    """The promises of `vigie.platform.eventlog.port`."""

    async def test_an_event_comes_back_as_it_was_given(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        given = event(1, value=bytes(range(256)))
        [position] = await harness.log.append("contract-segments", [given])
        [stored] = await first(harness.log, "contract-segments", 1)
        assert stored.event == given
        assert stored.topic == "contract-segments"
        assert stored.position == position
        assert await harness.log.end("contract-segments") == position

    async def test_an_empty_topic_has_no_end_and_reading_it_ends(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        assert await harness.log.end("contract-segments") is None
        assert [stored async for stored in harness.log.read("contract-segments")] == []
        assert await harness.log.append("contract-segments", []) == []

    async def test_events_of_one_key_keep_their_order(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        for start in range(0, 60, 6):
            batch = [event(n, key=f"cam-{n % 3}") for n in range(start, start + 6)]
            await harness.log.append("contract-segments", batch)
        stored = await first(harness.log, "contract-segments", 60)
        for number in range(3):
            of_key = [s.event.id for s in stored if s.event.key == f"cam-{number}"]
            assert of_key == [f"id-{n:05}" for n in range(number, 60, 3)]

    async def test_appends_awaited_one_after_the_other_keep_their_order_among_many(
        self, harness: LogHarness
    ) -> None:
        await harness.log.declare([topic()])

        async def producer(number: int) -> None:
            for n in range(10):
                given = event(number * 100 + n, key=f"cam-{number}")
                await harness.log.append("contract-segments", [given])

        await asyncio.gather(*(producer(number) for number in range(8)))
        stored = await first(harness.log, "contract-segments", 80)
        assert len(set(ids(stored))) == 80
        for number in range(8):
            of_key = [s.event.id for s in stored if s.event.key == f"cam-{number}"]
            assert of_key == sorted(of_key)

    async def test_what_was_appended_survives_a_crash(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        await harness.log.append("contract-segments", [event(1), event(2)])
        await harness.crash()
        assert ids(await first(harness.log, "contract-segments", 2)) == ["id-00001", "id-00002"]

    async def test_the_same_id_is_stored_once(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        [one] = await harness.log.append("contract-segments", [event(1)])
        [again, two] = await harness.log.append("contract-segments", [event(1), event(2)])
        assert again == one
        assert two != one
        assert ids(await first(harness.log, "contract-segments", 2)) == ["id-00001", "id-00002"]

    async def test_the_same_id_in_another_topic_is_another_event(self, harness: LogHarness) -> None:
        await harness.log.declare([topic(), topic("contract-other")])
        await harness.log.append("contract-segments", [event(1)])
        await harness.log.append("contract-other", [event(1)])
        assert len(await first(harness.log, "contract-other", 1)) == 1

    async def test_state_and_event_commit_together(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        async with harness.database.transaction() as connection:
            await connection.execute(sa.insert(EFFECT), {"id": "state"})
            await harness.log.append("contract-segments", [event(1)], connection=connection)
        await harness.crash()
        assert ids(await first(harness.log, "contract-segments", 1)) == ["id-00001"]
        assert await effects(harness) == ["state"]

    async def test_state_and_event_vanish_together(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        with pytest.raises(LookupError):  # noqa: PT012 - the exception leaves the block under test
            async with harness.database.transaction() as connection:
                await connection.execute(sa.insert(EFFECT), {"id": "state"})
                await harness.log.append("contract-segments", [event(1)], connection=connection)
                raise LookupError
        await harness.log.append("contract-segments", [event(2)])
        assert ids(await first(harness.log, "contract-segments", 1)) == ["id-00002"]
        assert await effects(harness) == []

    async def test_reading_resumes_after_a_position(self, harness: LogHarness) -> None:
        await harness.log.declare([replace(topic(), partitions=1)])
        await harness.log.append("contract-segments", [event(n) for n in range(5)])
        stored = await first(harness.log, "contract-segments", 5)
        rest = harness.log.read("contract-segments", after=stored[2].position)
        assert ids([one async for one in rest]) == ["id-00003", "id-00004"]

    async def test_a_follower_is_given_what_is_appended_later(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        following = asyncio.create_task(first(harness.log, "contract-segments", 3))
        await harness.log.append("contract-segments", [event(1)])
        async with harness.database.transaction() as connection:
            await harness.log.append("contract-segments", [event(2)], connection=connection)
        await harness.log.append("contract-segments", [event(3)])
        assert ids(await following) == ["id-00001", "id-00002", "id-00003"]

    async def test_a_group_starts_at_the_beginning_and_resumes_where_it_committed(
        self, harness: LogHarness
    ) -> None:
        await harness.log.declare([topic()])
        await harness.log.append("contract-segments", [event(n) for n in range(4)])
        subscription = await harness.log.subscribe("contract-segments", "index")
        events = await fetch(subscription, 4)
        assert await subscription.lag() == 4
        await subscription.commit(events[:2])
        await subscription.close()
        await harness.reopen()
        subscription = await harness.log.subscribe("contract-segments", "index")
        assert ids(await fetch(subscription, 2)) == ["id-00002", "id-00003"]
        assert await subscription.lag() == 2
        await subscription.close()

    async def test_groups_do_not_disturb_each_other(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        await harness.log.append("contract-segments", [event(1)])
        for group in ("index", "retention"):
            subscription = await harness.log.subscribe("contract-segments", group)
            events = await fetch(subscription, 1)
            await subscription.commit(events)
            assert await subscription.lag() == 0
            await subscription.close()

    async def test_fetch_gives_each_event_once_and_nothing_after_the_time_out(
        self, harness: LogHarness
    ) -> None:
        await harness.log.declare([topic()])
        await harness.log.append("contract-segments", [event(n) for n in range(5)])
        subscription = await harness.log.subscribe("contract-segments", "index")
        one = await fetch(subscription, 3)
        two = await fetch(subscription, 2)
        assert ids(one + two) == [f"id-{n:05}" for n in range(5)]
        assert list(await subscription.fetch(max_events=5, timeout_seconds=0.05)) == []
        await subscription.close()

    async def test_fetch_waits_for_what_comes(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        subscription = await harness.log.subscribe("contract-segments", "index")
        waiting = asyncio.create_task(fetch(subscription, 1))
        await asyncio.sleep(0)
        await harness.log.append("contract-segments", [event(1)])
        assert ids(await waiting) == ["id-00001"]
        await subscription.close()

    async def test_rewinding_gives_again_what_was_not_committed(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        await harness.log.append("contract-segments", [event(n) for n in range(3)])
        subscription = await harness.log.subscribe("contract-segments", "index")
        events = await fetch(subscription, 3)
        await subscription.commit(events[:1])
        await subscription.rewind()
        assert ids(await fetch(subscription, 2)) == ["id-00001", "id-00002"]
        await subscription.close()

    async def test_position_and_effect_commit_together(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        await harness.log.append("contract-segments", [event(n) for n in range(2)])
        subscription = await harness.log.subscribe("contract-segments", "index")
        one, two = await fetch(subscription, 2)
        async with harness.database.transaction() as connection:
            await connection.execute(sa.insert(EFFECT), {"id": one.event.id})
            await subscription.commit([one], connection=connection)
        with pytest.raises(LookupError):  # noqa: PT012 - the exception leaves the block under test
            async with harness.database.transaction() as connection:
                await connection.execute(sa.insert(EFFECT), {"id": two.event.id})
                await subscription.commit([two], connection=connection)
                raise LookupError
        await harness.crash()
        subscription = await harness.log.subscribe("contract-segments", "index")
        assert ids(await fetch(subscription, 1)) == [two.event.id]
        assert await effects(harness) == [one.event.id]
        await subscription.close()

    async def test_two_members_of_a_group_share_without_doubling(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        seen: list[str] = []
        complete = asyncio.Event()

        async def member(subscription: Subscription) -> None:
            while not complete.is_set():
                events = await subscription.fetch(max_events=7, timeout_seconds=0.05)
                seen.extend(ids(events))
                await subscription.commit(events)
                if len(seen) >= 40:
                    complete.set()

        members = [await harness.log.subscribe("contract-segments", "index") for _ in range(2)]
        tasks = [asyncio.create_task(member(one)) for one in members]
        for n in range(40):
            await harness.log.append("contract-segments", [event(n, key=f"cam-{n % 5}")])
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*tasks)
        assert sorted(seen) == [f"id-{n:05}" for n in range(40)]
        for one in members:
            await one.close()

    async def test_when_a_member_leaves_another_goes_on(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        await harness.log.append("contract-segments", [event(n) for n in range(4)])
        leaving = await harness.log.subscribe("contract-segments", "index")
        events = await fetch(leaving, 4)
        await leaving.commit(events[:3])
        staying = await harness.log.subscribe("contract-segments", "index")
        waiting = asyncio.create_task(fetch(staying, 1))
        await asyncio.sleep(0)
        await leaving.close()
        assert ids(await waiting) == ["id-00003"]
        await staying.close()

    async def test_a_compacted_topic_keeps_the_newest_of_every_key(
        self, harness: LogHarness
    ) -> None:
        await harness.log.declare([topic("contract-cameras", compacted=True)])
        for n in range(30):
            await harness.log.append("contract-cameras", [event(n, key=f"cam-{n % 3}")])
        await harness.maintain()
        newest = {
            stored.event.key: stored.event.id
            async for stored in harness.log.read("contract-cameras")
        }
        assert newest == {"cam-0": "id-00027", "cam-1": "id-00028", "cam-2": "id-00029"}

    async def test_a_tombstone_removes_its_key(self, harness: LogHarness) -> None:
        await harness.log.declare([topic("contract-cameras", compacted=True)])
        await harness.log.append("contract-cameras", [event(1, key="a"), event(2, key="b")])
        await harness.log.append("contract-cameras", [event(3, key="a", value=None)])
        await harness.maintain()
        table: dict[str, bytes] = {}
        async for stored in harness.log.read("contract-cameras"):
            if stored.event.value is None:
                table.pop(stored.event.key, None)
            else:
                table[stored.event.key] = stored.event.value
        assert list(table) == ["b"]

    async def test_an_undeclared_topic_is_refused(self, harness: LogHarness) -> None:
        for use in (
            harness.log.append("contract-nowhere", [event(1)]),
            harness.log.subscribe("contract-nowhere", "index"),
            harness.log.end("contract-nowhere"),
            anext(aiter(harness.log.read("contract-nowhere"))),
        ):
            with pytest.raises(VigieError) as refused:
                await use
            assert refused.value.reason.name == "TOPIC_UNKNOWN"

    async def test_declaring_again_is_checked(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        await harness.log.declare([replace(topic(), why="said better")])
        with pytest.raises(VigieError) as refused:
            await harness.log.declare([replace(topic(), compacted=True)])
        assert refused.value.reason.name == "TOPIC_MISMATCH"
        assert "compacted" in refused.value.message

    async def test_closing_wakes_readers(self, harness: LogHarness) -> None:
        await harness.log.declare([topic()])
        subscription = await harness.log.subscribe("contract-segments", "index")
        waiting = [
            asyncio.create_task(first(harness.log, "contract-segments", 1)),
            asyncio.create_task(fetch(subscription, 1)),
        ]
        for _ in range(20):
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await harness.log.close()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [outcome.reason.name for outcome in outcomes if isinstance(outcome, VigieError)] == [
            "STOPPING",
            "STOPPING",
        ]
        with pytest.raises(VigieError, match="EVENT_LOG_UNAVAILABLE"):
            await harness.log.append("contract-segments", [event(1)])


async def effects(harness: LogHarness) -> list[str]:
    async with harness.database.reading() as connection:
        return list((await connection.scalars(sa.select(EFFECT.c.id))).all())
