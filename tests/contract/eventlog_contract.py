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
from vigie.platform.eventlog import (
    Event,
    EventLog,
    Gained,
    StoredEvent,
    Subscription,
    Told,
    TopicSpec,
)
from vigie.platform.eventlog.positions import commit_offsets

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

    async def declare(self, topics: Sequence[TopicSpec]) -> None:
        """Make the topics that are missing, as an operator does, and declare them."""
        ...

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
        await harness.declare([topic()])
        given = event(1, value=bytes(range(256)))
        await harness.log.append("contract-segments", [given])
        [stored] = await first(harness.log, "contract-segments", 1)
        assert stored.event == given
        assert stored.topic == "contract-segments"
        assert await harness.log.ends("contract-segments") == [stored.position]

    async def test_an_event_through_a_transaction_comes_back_as_it_was_given(
        self, harness: LogHarness
    ) -> None:
        await harness.declare([topic()])
        given = [event(1, value=bytes(range(256))), event(2, value=None)]
        async with harness.database.transaction() as connection:
            await harness.log.append("contract-segments", given, connection=connection)
        stored = await first(harness.log, "contract-segments", 2)
        assert [one.event for one in stored] == given
        [end] = await harness.log.ends("contract-segments")
        assert end >= stored[1].position

    async def test_an_empty_topic_has_no_end_and_reading_it_ends(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        assert await harness.log.ends("contract-segments") == []
        assert [stored async for stored in harness.log.read("contract-segments")] == []
        await harness.log.append("contract-segments", [])
        async with harness.database.transaction() as connection:
            await harness.log.append("contract-segments", [], connection=connection)
        assert await harness.log.ends("contract-segments") == []

    async def test_each_partition_has_its_end(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        given = [event(n, key=f"cam-{n}") for n in range(30)]
        await harness.log.append("contract-segments", given)
        newest: dict[int, StoredEvent] = {}
        async for stored in harness.log.read("contract-segments"):
            newest[stored.position.partition] = stored
        ends = await harness.log.ends("contract-segments")
        assert ends == sorted(stored.position for stored in newest.values())

    async def test_events_of_one_key_keep_their_order(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
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
        await harness.declare([topic()])

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
        await harness.declare([topic()])
        await harness.log.append("contract-segments", [event(1), event(2)])
        await harness.crash()
        assert ids(await first(harness.log, "contract-segments", 2)) == ["id-00001", "id-00002"]

    async def test_the_same_id_appended_again_soon_is_stored_once(
        self, harness: LogHarness
    ) -> None:
        await harness.declare([topic()])
        await harness.log.append("contract-segments", [event(1)])
        await harness.log.append("contract-segments", [event(1), event(2), event(2)])
        await asyncio.gather(
            *(harness.log.append("contract-segments", [event(3)]) for _ in range(5))
        )
        assert await everything(harness.log, "contract-segments") == [
            "id-00001",
            "id-00002",
            "id-00003",
        ]

    async def test_the_same_id_appended_again_by_another_process_changes_nothing(
        self, harness: LogHarness
    ) -> None:
        """It is stored once or twice, always the same, and never after what followed it."""
        await harness.declare([topic()])
        await harness.log.append("contract-segments", [event(1)])
        await harness.reopen()
        await harness.log.append("contract-segments", [event(1), event(2)])
        stored = [one async for one in harness.log.read("contract-segments")]
        assert list(dict.fromkeys(ids(stored))) == ["id-00001", "id-00002"]
        assert {one.event.id: one.event for one in stored} == {
            "id-00001": event(1),
            "id-00002": event(2),
        }
        assert stored[-1].event == event(2)

    async def test_the_same_id_in_another_topic_is_another_event(self, harness: LogHarness) -> None:
        await harness.declare([topic(), topic("contract-other")])
        await harness.log.append("contract-segments", [event(1)])
        await harness.log.append("contract-other", [event(1)])
        assert len(await first(harness.log, "contract-other", 1)) == 1

    async def test_state_and_event_commit_together(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        async with harness.database.transaction() as connection:
            await connection.execute(sa.insert(EFFECT), {"id": "state"})
            await harness.log.append("contract-segments", [event(1)], connection=connection)
        await harness.crash()
        assert ids(await first(harness.log, "contract-segments", 1)) == ["id-00001"]
        assert await effects(harness) == ["state"]

    async def test_state_and_event_vanish_together(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        with pytest.raises(LookupError):  # noqa: PT012 - the exception leaves the block under test
            async with harness.database.transaction() as connection:
                await connection.execute(sa.insert(EFFECT), {"id": "state"})
                await harness.log.append("contract-segments", [event(1)], connection=connection)
                raise LookupError
        await harness.log.append("contract-segments", [event(2)])
        assert ids(await first(harness.log, "contract-segments", 1)) == ["id-00002"]
        assert await effects(harness) == []

    async def test_reading_resumes_after_a_position(self, harness: LogHarness) -> None:
        await harness.declare([replace(topic(), partitions=1)])
        await harness.log.append("contract-segments", [event(n) for n in range(5)])
        stored = await first(harness.log, "contract-segments", 5)
        rest = harness.log.read("contract-segments", after=stored[2].position)
        assert ids([one async for one in rest]) == ["id-00003", "id-00004"]

    async def test_a_follower_is_given_what_is_appended_later(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        following = asyncio.create_task(first(harness.log, "contract-segments", 3))
        await harness.log.append("contract-segments", [event(1)])
        async with harness.database.transaction() as connection:
            await harness.log.append("contract-segments", [event(2)], connection=connection)
        await harness.log.append("contract-segments", [event(3)])
        # What a transaction appends is seen when it has committed, or soon after.
        assert sorted(ids(await following)) == ["id-00001", "id-00002", "id-00003"]

    async def test_what_transactions_append_keeps_the_order_of_the_commits(
        self, harness: LogHarness
    ) -> None:
        await harness.declare([topic(), topic("contract-other")])
        for start in range(0, 40, 4):
            async with harness.database.transaction() as connection:
                for n in range(start, start + 4):
                    given = [event(n, key=f"cam-{n % 2}")]
                    await harness.log.append("contract-segments", given, connection=connection)
                    await harness.log.append("contract-other", given, connection=connection)
        for name in ("contract-segments", "contract-other"):
            stored = await first(harness.log, name, 40)
            for number in range(2):
                of_key = [s.event.id for s in stored if s.event.key == f"cam-{number}"]
                assert of_key == [f"id-{n:05}" for n in range(number, 40, 2)]

    async def test_reading_resumes_in_every_partition(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        await harness.log.append("contract-segments", [event(n, f"cam-{n}") for n in range(20)])
        stored = await first(harness.log, "contract-segments", 12)
        after = {one.position.partition: one.position for one in stored}
        rest = harness.log.read("contract-segments", after=tuple(after.values()))
        told = ids(stored) + ids([one async for one in rest])
        assert sorted(told) == [f"id-{n:05}" for n in range(20)]

    async def test_a_group_starts_at_the_beginning_and_resumes_where_it_committed(
        self, harness: LogHarness
    ) -> None:
        await harness.declare([topic()])
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
        await harness.declare([topic()])
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
        await harness.declare([topic()])
        await harness.log.append("contract-segments", [event(n) for n in range(5)])
        subscription = await harness.log.subscribe("contract-segments", "index")
        one = await fetch(subscription, 3)
        two = await fetch(subscription, 2)
        assert ids(one + two) == [f"id-{n:05}" for n in range(5)]
        assert list(await subscription.fetch(max_events=5, timeout_seconds=0.05)) == []
        await subscription.close()

    async def test_fetch_waits_for_what_comes(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        subscription = await harness.log.subscribe("contract-segments", "index")
        waiting = asyncio.create_task(fetch(subscription, 1))
        await asyncio.sleep(0)
        await harness.log.append("contract-segments", [event(1)])
        assert ids(await waiting) == ["id-00001"]
        await subscription.close()

    async def test_rewinding_gives_again_what_was_not_committed(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        await harness.log.append("contract-segments", [event(n) for n in range(3)])
        subscription = await harness.log.subscribe("contract-segments", "index")
        events = await fetch(subscription, 3)
        await subscription.commit(events[:1])
        await subscription.rewind()
        assert ids(await fetch(subscription, 2)) == ["id-00001", "id-00002"]
        await subscription.close()

    async def test_position_and_effect_commit_together(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
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

    async def test_what_another_member_processed_is_refused_and_rolls_back(
        self, harness: LogHarness
    ) -> None:
        """A member that was away and does not know it: its unit of work leaves no trace."""
        await harness.declare([topic()])
        await harness.log.append("contract-segments", [event(n) for n in range(3)])
        subscription = await harness.log.subscribe("contract-segments", "index")
        events = await fetch(subscription, 3)
        # What the other one's commit looks like in the database they share.
        async with harness.database.transaction() as connection:
            await commit_offsets(connection, "contract-segments", "index", events[:2])
        with pytest.raises(VigieError) as refused:  # noqa: PT012 - raised within the transaction
            async with harness.database.transaction() as connection:
                await connection.execute(sa.insert(EFFECT), {"id": "doubled"})
                await subscription.commit(events, connection=connection)
        assert refused.value.reason.name == "POSITION_REFUSED"
        assert await effects(harness) == []
        await subscription.rewind()
        assert ids(await fetch(subscription, 1)) == ["id-00002"]
        await subscription.close()

    async def test_two_members_of_a_group_share_without_doubling(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        seen: list[str] = []
        complete = asyncio.Event()

        async def member(subscription: Subscription) -> None:
            while not complete.is_set():
                events = await subscription.fetch(max_events=7, timeout_seconds=0.05)
                try:
                    await subscription.commit(events)
                except VigieError as error:
                    if error.reason.name != "POSITION_REFUSED":
                        raise
                    await subscription.rewind()
                    continue
                seen.extend(ids(events))
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
        await harness.declare([topic()])
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
        await harness.declare([topic("contract-cameras", compacted=True)])
        for n in range(30):
            await harness.log.append("contract-cameras", [event(n, key=f"cam-{n % 3}")])
        await harness.maintain()
        newest = {
            stored.event.key: stored.event.id
            async for stored in harness.log.read("contract-cameras")
        }
        assert newest == {"cam-0": "id-00027", "cam-1": "id-00028", "cam-2": "id-00029"}

    async def test_a_tombstone_removes_its_key(self, harness: LogHarness) -> None:
        await harness.declare([topic("contract-cameras", compacted=True)])
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

    async def test_a_share_begins_with_the_newest_of_every_key_and_is_told_what_comes(
        self, harness: LogHarness
    ) -> None:
        await harness.declare([topic("contract-cameras", compacted=True)])
        for n in range(12):
            await harness.log.append("contract-cameras", [event(n, key=f"cam-{n % 4}")])
        await harness.log.append("contract-cameras", [event(12, key="cam-0", value=None)])
        share = await harness.log.share("contract-cameras", "reception")
        table: dict[str, str] = {}
        held: set[int] = set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for change in share.changes():
                if isinstance(change, Gained):
                    assert not held & change.partitions
                    held |= change.partitions
                    table.update({one.event.key: one.event.id for one in change.events})
                    assert {one.position.partition for one in change.events} <= change.partitions
                    await harness.log.append("contract-cameras", [event(13, key="cam-9")])
                elif isinstance(change, Told):
                    table[change.stored.event.key] = change.stored.event.id
                    break
        assert share.partitions == held
        assert share.not_ready() is None
        assert table == {
            "cam-1": "id-00009",
            "cam-2": "id-00010",
            "cam-3": "id-00011",
            "cam-9": "id-00013",
        }
        await share.close()

    async def test_closing_a_share_ends_its_changes(self, harness: LogHarness) -> None:
        await harness.declare([topic("contract-cameras", compacted=True)])
        share = await harness.log.share("contract-cameras", "reception")
        gained = asyncio.Event()

        async def follow() -> None:
            async for change in share.changes():
                assert isinstance(change, Gained)
                gained.set()

        following = asyncio.create_task(follow())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await gained.wait()
            await share.close()
            with pytest.raises(VigieError, match="STOPPING"):
                await following

    async def test_an_undeclared_topic_is_refused(self, harness: LogHarness) -> None:
        for use in (
            harness.log.append("contract-nowhere", [event(1)]),
            harness.log.subscribe("contract-nowhere", "index"),
            harness.log.ends("contract-nowhere"),
            harness.log.share("contract-nowhere", "index"),
            anext(aiter(harness.log.read("contract-nowhere"))),
        ):
            with pytest.raises(VigieError) as refused:
                await use
            assert refused.value.reason.name == "TOPIC_UNKNOWN"
        with pytest.raises(VigieError) as refused:
            async with harness.database.transaction() as connection:
                await harness.log.append("contract-nowhere", [event(1)], connection=connection)
        assert refused.value.reason.name == "TOPIC_UNKNOWN"

    async def test_declaring_again_is_checked(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        await harness.declare([replace(topic(), why="said better")])
        with pytest.raises(VigieError) as refused:
            await harness.declare([replace(topic(), compacted=True)])
        assert refused.value.reason.name == "TOPIC_MISMATCH"
        assert "compacted" in refused.value.message

    async def test_closing_wakes_readers(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
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


async def everything(log: EventLog, name: str) -> list[str]:
    return [stored.event.id async for stored in log.read(name)]


async def effects(harness: LogHarness) -> list[str]:
    async with harness.database.reading() as connection:
        return list((await connection.scalars(sa.select(EFFECT.c.id))).all())
