"""A group processes every event once, whoever of its members does, and remembers where it was."""

import asyncio

import pytest
import sqlalchemy as sa

from contract.eventlog_support import (
    EFFECT,
    PATIENCE_SECONDS,
    LogHarness,
    effects,
    event,
    fetch,
    ids,
    topic,
)
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import Subscription
from vigie.platform.eventlog.positions import commit_offsets


class GroupContract:
    """The promises to the members of a group."""

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
