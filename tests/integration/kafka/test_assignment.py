"""Cameras shared among processes: who has what, told by the difference of two assignments."""

import asyncio
from collections.abc import Callable

import pytest

from integration.kafka.kafka_support import (
    CABLED,
    PATIENCE_SECONDS,
    Cable,
    House,
    cable,
    event,
    eventually,
    house,
    raw_producer,
    spec,
)
from servers_kafka import kafka_bootstrap, kafka_config
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import Gained, Lost, Share, Told
from vigie.platform.eventlog.kafka import KafkaEventLog

pytestmark = pytest.mark.needs_server
__all__ = ["cable", "house", "kafka_bootstrap", "kafka_config"]

PARTITIONS = 12
ALL = frozenset(range(PARTITIONS))
TOPIC = spec("cameras", compacted=True, partitions=PARTITIONS)


class Member:
    """What a process that receives cameras would know from its share."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.held: frozenset[int] = frozenset()
        self.cameras: dict[str, tuple[int, str]] = {}
        self.history: list[Gained | Lost] = []
        self.generations: list[int] = []
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        with pytest.raises(VigieError, match="STOPPING"):  # noqa: PT012 - ends the loop
            async for change in self.share.changes():
                self._apply(change)

    def _apply(self, change: Gained | Lost | Told) -> None:
        if isinstance(change, Told):
            stored = change.stored
            assert stored.position.partition in self.held
            self.cameras[stored.event.key] = (stored.position.partition, stored.event.id)
            return
        self.history.append(change)
        self.generations.append(change.generation)
        if isinstance(change, Gained):
            assert not change.partitions & self.held
            self.held |= change.partitions
            for stored in change.events:
                assert stored.position.partition in change.partitions
                self.cameras[stored.event.key] = (stored.position.partition, stored.event.id)
        else:
            assert change.partitions <= self.held
            self.held -= change.partitions
            self.cameras = {
                key: place for key, place in self.cameras.items() if place[0] in self.held
            }
        assert self.share.partitions == self.held

    async def close(self) -> None:
        await self.share.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._task


async def join(log: KafkaEventLog) -> Member:
    return Member(await log.share("cameras", "reception"))


def shared_out(*members: Member) -> Callable[[], bool]:
    def holds() -> bool:
        held = [one.held for one in members]
        sizes = [len(one) for one in held]
        evenly = max(sizes) - min(sizes) <= 1
        return evenly and sum(sizes) == PARTITIONS and frozenset().union(*held) == ALL

    return holds


async def filled(house: House, log: KafkaEventLog, cameras: int = 60) -> dict[str, str]:
    for n in range(cameras * 2):
        await log.append("cameras", [event(n, f"cam-{n % cameras}")])
    return {f"cam-{n % cameras}": f"id-{n:05}" for n in range(cameras, cameras * 2)}


async def test_members_share_without_overlap_and_keep_what_they_can(house: House) -> None:
    log = await house.log(None, TOPIC)
    newest = await filled(house, log)
    one = await join(log)
    await eventually(shared_out(one))
    assert {key: name for key, (_, name) in one.cameras.items()} == newest
    two = await join(log)
    await eventually(shared_out(one, two))
    assert (len(one.held), len(two.held)) == (6, 6)
    three = await join(log)
    await eventually(shared_out(one, two, three))
    assert {len(member.held) for member in (one, two, three)} == {4}
    together = one.cameras | two.cameras | three.cameras
    assert {key: name for key, (_, name) in together.items()} == newest
    # Nobody was given what he had: what is kept is never told, what is lost does not come back.
    assert [type(change) for change in one.history] == [Gained, Lost, Lost]
    assert [type(change) for change in two.history] == [Gained, Lost]
    assert [type(change) for change in three.history] == [Gained]
    kept = one.held, three.held
    await two.close()
    await eventually(shared_out(one, three))
    assert kept[0] <= one.held
    assert kept[1] <= three.held
    assert [type(change) for change in one.history[3:]] == [Gained]
    for member in (one, three):
        assert member.generations == sorted(member.generations)
        await member.close()


async def test_what_comes_is_told_to_the_member_that_has_it(house: House) -> None:
    log = await house.log(None, TOPIC)
    members = [await join(log), await join(log)]
    await eventually(shared_out(*members))
    for n in range(100, 160):
        await log.append("cameras", [event(n, f"cam-{n}")])
    await eventually(lambda: sum(len(member.cameras) for member in members) == 60)
    third = await join(log)
    await eventually(shared_out(*members, third))
    # In the midst of a rebalance, too: nothing is told twice, nothing is left out.
    for n in range(200, 260):
        await log.append("cameras", [event(n, f"cam-{n - 100}")])
    newest = {f"cam-{n - 100}": f"id-{n:05}" for n in range(200, 260)}

    def complete() -> bool:
        together = [place for member in (*members, third) for place in member.cameras.items()]
        return {key: name for key, (_, name) in together} == newest

    await eventually(complete)
    for member in (*members, third):
        await member.close()


async def test_rubbish_in_the_topic_is_handed_on_and_removes_nothing(house: House) -> None:
    log = await house.log(None, TOPIC)
    newest = await filled(house, log, cameras=3)
    async with raw_producer(house.config) as producer:
        name = house.config.topic_prefix + "cameras"
        await producer.send_and_wait(name, None, key=b"cam-1", headers=[])
    share = await log.share("cameras", "reception")
    async for change in share.changes():
        assert isinstance(change, Gained)
        by_key = {stored.event.key: stored.event for stored in change.events}
        break
    assert set(by_key) == set(newest)
    assert by_key["cam-1"].type == ""
    assert by_key["cam-1"].value == b""


async def test_a_member_that_is_cut_off_loses_everything_once_it_is_back(
    house: House, cable: Cable
) -> None:
    """Meanwhile it keeps what it has: it cannot know, and footage counts more than doubles."""
    log = await house.log(
        None, TOPIC, name=CABLED, session_timeout_seconds=2.0, request_timeout_seconds=1.0
    )
    other = await house.log(None, TOPIC, session_timeout_seconds=2.0)
    cut_off, staying = await join(log), await join(other)
    await eventually(shared_out(cut_off, staying))
    cable.cut()
    await eventually(lambda: staying.held == ALL)
    assert len(cut_off.held) == PARTITIONS // 2
    cable.mend()
    await eventually(lambda: len(staying.held) == PARTITIONS // 2)
    await eventually(shared_out(cut_off, staying))
    await cut_off.close()
    await eventually(lambda: staying.held == ALL)
    await staying.close()


async def test_while_no_broker_answers_everything_is_kept(house: House, cable: Cable) -> None:
    log = await house.log(
        None,
        TOPIC,
        name=CABLED,
        session_timeout_seconds=2.0,
        request_timeout_seconds=1.0,
        without_word_seconds=0.5,
    )
    member = await join(log)
    await eventually(shared_out(member))
    cable.cut()
    # Longer than the session, and longer than it waits for a word.
    await asyncio.sleep(4.0)
    assert member.held == ALL
    cable.mend()
    other = await house.log(None, TOPIC, session_timeout_seconds=2.0)
    await filled(house, other, cameras=5)
    await eventually(lambda: len(member.cameras) == 5)
    assert [type(change) for change in member.history].count(Lost) == 0
    await member.close()


async def test_without_a_word_of_the_group_everything_is_lost(house: House) -> None:
    """Brokers answer, but give it nothing: the group has thrown it out, and others have it all."""
    log = await house.log(None, TOPIC, without_word_seconds=0.5)
    member = await join(log)
    await eventually(shared_out(member))
    share = member.share
    share._member.revoked()  # type: ignore[attr-defined] # as a rebalance that never ends
    await eventually(lambda: member.held == frozenset())
    assert isinstance(member.history[-1], Lost)
    await member.close()
