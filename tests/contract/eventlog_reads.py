"""A topic is read, resumed and followed; a compacted one is a table, whole or in shares."""

import asyncio
from dataclasses import replace

import pytest

from contract.eventlog_support import PATIENCE_SECONDS, LogHarness, event, first, ids, topic
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import Gained, StoredEvent, Told


class ReadContract:
    """The promises to those who read without a group."""

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

    async def test_reading_resumes_in_every_partition(self, harness: LogHarness) -> None:
        await harness.declare([topic()])
        await harness.log.append("contract-segments", [event(n, f"cam-{n}") for n in range(20)])
        stored = await first(harness.log, "contract-segments", 12)
        after = {one.position.partition: one.position for one in stored}
        rest = harness.log.read("contract-segments", after=tuple(after.values()))
        told = ids(stored) + ids([one async for one in rest])
        assert sorted(told) == [f"id-{n:05}" for n in range(20)]


class TableContract:
    """The promises of a compacted topic."""

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
