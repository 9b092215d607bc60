import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from vigie.platform.eventlog import Event, EventLog, Position, StoredEvent
from vigie.platform.eventlog.following import Follower
from vigie.platform.grpc.call import NOWHERE
from vigie.platform.paging import Tokens
from vigie.registry.watch import CameraWatch


def stored(offset: int) -> StoredEvent:
    event = Event(key="k", type="t", value=b"", id=str(offset), time_us=0, source="s")
    return StoredEvent("topic", Position(0, offset), event)


class Line:
    """A log: what is put into it comes out of the read that follows."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[StoredEvent] = asyncio.Queue()
        self.following = 0

    async def read(self, *_: Any, follow: bool = False, **__: Any) -> AsyncIterator[StoredEvent]:
        if not follow:
            return
        self.following += 1
        try:
            while True:
                yield await self.events.get()
        finally:
            await asyncio.sleep(0)  # a connection takes a moment to close
            self.following -= 1


async def test_what_was_waited_for_in_vain_is_not_lost() -> None:
    line = Line()
    async with Follower(line.read(follow=True)) as follower:
        assert await follower.next(0.0) is None
        line.events.put_nowait(stored(1))
        line.events.put_nowait(stored(2))
        assert await follower.next(None) == stored(1)
        assert await follower.next(None) == stored(2)
        assert await follower.next(0.0) is None


async def test_leaving_ends_the_read_at_once_whether_it_waits_or_not() -> None:
    line = Line()
    async with Follower(line.read(follow=True)) as follower:
        await follower.next(0.0)
    assert line.following == 0
    async with Follower(line.read(follow=True)) as follower:
        line.events.put_nowait(stored(1))
        await follower.next(None)
        assert line.following == 1
    assert line.following == 0


async def test_a_watch_that_is_left_leaves_no_read_behind() -> None:
    line = Line()
    unused = cast("Any", None)
    watch = CameraWatch(unused, cast("EventLog", line), unused, Tokens(b"\1" * 32))
    answers = watch.follow((), NOWHERE)
    assert (await anext(answers)).is_checkpoint
    line.events.put_nowait(stored(1))  # without a value: nothing is told of it
    assert (await anext(answers)).is_checkpoint
    assert line.following == 1
    await answers.aclose()
    assert line.following == 0
