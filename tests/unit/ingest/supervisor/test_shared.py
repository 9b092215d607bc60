"""A process has the cameras of the partitions that its group has given it, and no others."""

import asyncio
from collections.abc import AsyncIterator

from ingest_support import eventually
from vigie.ingest.supervisor.shared import SharedCameras
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.port import (
    Change,
    Event,
    Gained,
    Lost,
    Position,
    StoredEvent,
    Told,
)
from vigie.platform.reasons import EVENT_LOG_UNAVAILABLE, STOPPING


class Share:
    """A group that a test plays."""

    def __init__(self) -> None:
        self.partitions: frozenset[int] = frozenset()
        self.queue: asyncio.Queue[Change | VigieError] = asyncio.Queue()
        self.trouble: str | None = None

    async def changes(self) -> AsyncIterator[Change]:
        while True:
            change = await self.queue.get()
            if isinstance(change, VigieError):
                raise change
            yield change

    def not_ready(self) -> str | None:
        return self.trouble

    async def close(self) -> None:
        self.queue.put_nowait(VigieError(STOPPING, "closed"))


class Log:
    """An event log that has nothing but a share."""

    def __init__(self) -> None:
        self.shared = Share()
        self.asked: list[tuple[str, str]] = []

    async def share(self, topic: str, group: str) -> Share:
        self.asked.append((topic, group))
        return self.shared


def state(camera: str, partition: int, value: bytes | None = b"x") -> StoredEvent:
    return StoredEvent(
        "cameras",
        Position(partition, 0),
        Event(camera, "vigie.registry.v1.CameraState", value, f"id-{camera}", 0, "test"),
    )


async def joined() -> tuple[SharedCameras, Share, list[int]]:
    log, calls = Log(), []
    cameras = SharedCameras(log, "cameras")  # type: ignore[arg-type] # asks for nothing but the share
    cameras.on_change(lambda: calls.append(1))
    await cameras.join()
    assert log.asked == [("cameras", "ingest")]
    return cameras, log.shared, calls


async def test_what_is_gained_is_mine_and_what_is_lost_is_not() -> None:
    cameras, share, calls = await joined()
    assert cameras.not_ready() is not None
    assert not cameras.is_mine("cam-a")
    share.queue.put_nowait(Gained(frozenset({1, 2}), 1, (state("cam-a", 1), state("cam-b", 2))))
    await eventually(lambda: len(calls) == 1)
    assert cameras.not_ready() is None
    assert cameras.is_mine("cam-a")
    assert cameras.is_mine("cam-b")
    assert not cameras.is_mine("cam-c")
    share.queue.put_nowait(Lost(frozenset({1}), 2))
    await eventually(lambda: len(calls) == 2)
    assert not cameras.is_mine("cam-a")
    assert cameras.is_mine("cam-b")
    await cameras.leave()


async def test_a_new_camera_is_told_once_and_a_removed_one_goes() -> None:
    cameras, share, calls = await joined()
    share.queue.put_nowait(Gained(frozenset({1}), 1, ()))
    share.queue.put_nowait(Told(state("cam-a", 1)))
    await eventually(lambda: len(calls) == 2)
    assert cameras.is_mine("cam-a")
    share.queue.put_nowait(Told(state("cam-a", 1)))
    share.queue.put_nowait(Told(state("cam-a", 1, None)))
    await eventually(lambda: not cameras.is_mine("cam-a"))
    assert len(calls) == 3
    await cameras.leave()


async def test_leaving_keeps_what_is_recorded_until_it_has_ended() -> None:
    cameras, share, calls = await joined()
    share.queue.put_nowait(Gained(frozenset({1}), 1, (state("cam-a", 1),)))
    await eventually(lambda: len(calls) == 1)
    await cameras.leave()
    await cameras.leave()
    assert cameras.is_mine("cam-a")


async def test_what_troubles_the_share_is_told() -> None:
    cameras, share, calls = await joined()
    share.queue.put_nowait(Gained(frozenset({1}), 1, (state("cam-a", 1),)))
    await eventually(lambda: len(calls) == 1)
    share.trouble = "no broker answers"
    assert cameras.not_ready() == "no broker answers"
    share.queue.put_nowait(VigieError(EVENT_LOG_UNAVAILABLE, "the log is gone"))
    await eventually(lambda: "not shared any more" in (cameras.not_ready() or ""))
    assert cameras.is_mine("cam-a")
    await cameras.leave()
