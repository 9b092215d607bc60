"""Which cameras are this process's own, as its share of the topic changes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from vigie.ingest.supervisor.shared import GROUP, SharedCameras
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import Event, EventLog, Position, StoredEvent
from vigie.platform.eventlog.port import Change, Gained, Lost, Told
from vigie.platform.reasons import EVENT_LOG_UNAVAILABLE, STOPPING
from vigie.platform.supervisor import Supervisor


def stored(camera: str, partition: int, *, value: bytes | None = b"state") -> StoredEvent:
    event = Event(key=camera, type="t", value=value, id=camera, time_us=0, source="test")
    return StoredEvent("cameras", Position(partition, 0), event)


def gained(generation: int, *cameras: tuple[str, int], empty: Sequence[int] = ()) -> Gained:
    partitions = frozenset({partition for _, partition in cameras} | set(empty))
    return Gained(partitions, generation, [stored(*each) for each in cameras])


class ScriptedShare:
    """A share that a test tells what to say; `SharedCameras` sees it as the log's."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[Change | None] = asyncio.Queue()
        self.partitions: frozenset[int] = frozenset()
        self.closed = False
        self.asked: list[tuple[str, str]] = []

    async def share(self, topic: str, group: str) -> "ScriptedShare":
        self.asked.append((topic, group))
        return self

    async def changes(self) -> AsyncIterator[Change]:
        while (change := await self.said.get()) is not None:
            yield change
        raise VigieError(STOPPING, "closed")

    def not_ready(self) -> str | None:
        return "rebalancing"

    async def close(self) -> None:
        self.closed = True
        self.said.put_nowait(None)


class Rig:
    def __init__(self) -> None:
        self.share = ScriptedShare()
        self.tasks = Supervisor()
        self.cameras = SharedCameras(cast("EventLog", self.share), self.tasks)
        self.changes = 0
        self.cameras.on_change(self._changed)

    def _changed(self) -> None:
        self.changes += 1

    async def say(self, change: Change) -> None:
        self.share.said.put_nowait(change)
        while not self.share.said.empty():
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    def mine(self, *cameras: str) -> list[bool]:
        return [self.cameras.is_mine(camera) for camera in cameras]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.cameras.start()
    yield made
    await made.cameras.stop()


async def test_nothing_is_its_own_before_it_is_told(rig: Rig) -> None:
    assert rig.share.asked == [("cameras", GROUP)]
    assert rig.mine("cam-a") == [False]
    assert rig.cameras.not_ready() == "rebalancing"


async def test_what_it_keeps_is_never_let_go(rig: Rig) -> None:
    await rig.say(gained(1, ("cam-a", 0), ("cam-b", 0), ("cam-c", 1)))
    assert rig.mine("cam-a", "cam-b", "cam-c") == [True, True, True]
    seen: list[list[bool]] = []
    rig.cameras.on_change(lambda: seen.append(rig.mine("cam-a", "cam-c")))
    await rig.say(Lost(frozenset({1}), 2))
    await rig.say(gained(2, ("cam-d", 7)))
    assert seen == [[True, False], [True, False]]
    assert rig.mine("cam-d") == [True]


async def test_new_and_removed_cameras_of_its_partitions(rig: Rig) -> None:
    await rig.say(gained(1, ("cam-a", 0), empty=(3,)))
    before = rig.changes
    await rig.say(Told(stored("cam-new", 3)))
    assert rig.mine("cam-new") == [True]
    assert rig.changes == before + 1
    # A later state of a camera that is known changes nothing of whose it is.
    await rig.say(Told(stored("cam-new", 3)))
    assert rig.changes == before + 1
    await rig.say(Told(stored("cam-new", 3, value=None)))
    assert rig.mine("cam-new") == [False]
    assert rig.changes == before + 2


async def test_it_leaves_the_group_and_keeps_what_it_must_end(rig: Rig) -> None:
    await rig.say(gained(1, ("cam-a", 0)))
    await rig.cameras.stop()
    assert rig.share.closed
    assert rig.mine("cam-a") == [True]
    await rig.cameras.stop()
    assert rig.tasks.error is None


async def test_a_share_that_breaks_ends_the_process() -> None:
    rig = Rig()

    async def broken() -> AsyncIterator[Any]:
        raise VigieError(EVENT_LOG_UNAVAILABLE, "the group is gone")
        yield

    rig.share.changes = broken  # type: ignore[method-assign]  # what this test is about
    await rig.cameras.start()
    crash = await rig.tasks.crashed()
    assert crash.name == "ingest-share"
    await rig.cameras.stop()
