"""What is appended comes back as it was given: in order, once, and with the state it belongs to."""

import asyncio

import pytest
import sqlalchemy as sa

from contract.eventlog_support import (
    EFFECT,
    LogHarness,
    effects,
    event,
    everything,
    first,
    ids,
    topic,
)


class AppendContract:
    """The promises to those who append, alone or within a transaction."""

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
