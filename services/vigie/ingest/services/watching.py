"""What watches of streams are told, out of the table that the process keeps anyway.

A reader of the topic for each watch would cost a consumer of the log each, and every heartbeat of
every camera as many times as there are watchers; whoever resumes after hours would read hours of
heartbeats. The topic is read once, and each watch gets what its caller is to be told.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from vigie.ingest.upload.events import STATUS_TOPIC
from vigie.ingest.v1.events_pb2 import StreamStatusEvent
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog, Position, StoredEvent
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.eventlog.progress import Progress, resumed
from vigie.platform.eventlog.table import CompactedTable
from vigie.platform.reasons import EVENT_LOG_UNAVAILABLE

CHECKPOINT_SECONDS: Final = 15.0
_WAITING_MOST: Final = 4096
"""So many changes wait for a caller who does not read, before only the newest of each camera do."""
_CHANGING: Final = (
    "update_time",
    "last_frame_us",
    "frame_rate_millihertz",
    "bit_rate_bps",
    "camera_clock_offset_us",
)


class Told(NamedTuple):
    """A status, or (without one) a checkpoint.

    Attributes:
        status: what is new.
        token: resumes after this; empty: begin anew.
    """

    status: StreamStatusEvent | None
    token: str


class _Change(NamedTuple):
    """What waits to be told; ``repeats``: it says what the one before it said."""

    position: Position
    status: StreamStatusEvent
    repeats: bool


def parse_status(stored: StoredEvent) -> StreamStatusEvent:
    """The status in an event.

    Raises:
        Unprocessable: it is not one.
    """
    return parse_event(stored, StreamStatusEvent)


def same_state(before: StreamStatusEvent, now: StreamStatusEvent) -> bool:
    """Whether two states differ in nothing but what every heartbeat changes."""
    pair = []
    for status in (before, now):
        copy = StreamStatusEvent()
        copy.CopyFrom(status)
        for name in _CHANGING:
            copy.ClearField(name)
        pair.append(copy)
    return bool(pair[0] == pair[1])


class StatusFeed:
    """Hands every change of the table to the watches; for the life of the process.

    Args:
        log: to resume where this process has not come yet.
        table: newest status of every camera.
    """

    def __init__(self, log: EventLog, table: CompactedTable[StreamStatusEvent]) -> None:
        self.log = log
        self.table = table
        self._watches: set[StatusWatch] = set()
        table.on_change(self._changed)

    @contextmanager
    def watch(self, may_see: Callable[[str], bool], *, heartbeats: bool) -> "Iterator[StatusWatch]":
        """A watch that is fed until the block ends; see `StatusWatch`."""
        watch = StatusWatch(self, may_see, heartbeats=heartbeats)
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    def _changed(
        self, camera: str, before: StreamStatusEvent | None, now: StreamStatusEvent | None
    ) -> None:
        position = self.table.position_of(camera)
        if now is None or position is None or not self._watches:
            return
        repeats = before is not None and same_state(before, now)
        for watch in self._watches:
            watch.changed(position, now, repeats=repeats)


class StatusWatch:
    """What one caller is told.

    Args:
        feed: which feeds it.
        may_see: whether the caller is told of a camera now; asked at each change. Must not raise.
        heartbeats: whether states that repeat are told, too.
    """

    def __init__(
        self, feed: StatusFeed, may_see: Callable[[str], bool], *, heartbeats: bool
    ) -> None:
        self._log = feed.log
        self._table = feed.table
        self._may_see = may_see
        self._heartbeats = heartbeats
        self._waiting: list[_Change] = []
        self._waiting_most = _WAITING_MOST
        self._come = asyncio.Event()
        self._shown: set[str] = set()

    def changed(self, position: Position, status: StreamStatusEvent, *, repeats: bool) -> None:
        """A status came; ``repeats``: it says what the one before it said."""
        camera = status.camera
        if not self._may_see(camera):
            self._shown.discard(camera)
            return
        if repeats and camera in self._shown and not self._heartbeats:
            return
        if len(self._waiting) >= self._waiting_most:
            self._waiting = _newest(self._waiting)
            # However many cameras there are: not at every change.
            self._waiting_most = max(_WAITING_MOST, 2 * len(self._waiting))
        self._waiting.append(_Change(position, status, repeats))
        self._come.set()

    async def told(
        self, after: Sequence[Position], seal: Callable[[bytes], str]
    ) -> AsyncGenerator[Told, None]:
        """The present state of every camera, a checkpoint, then all changes as they come.

        A further checkpoint follows every `CHECKPOINT_SECONDS`. Behind a resume token the present
        is what has come since; who breaks off in the midst of it goes on from the same token.

        Args:
            after: positions of a resume token; none: everything.
            seal: makes a resume token of packed positions.

        Raises:
            VigieError: RESUME_TOKEN_INVALID: the log never was at ``after``; EVENT_LOG_UNAVAILABLE:
                it cannot be read now, so that nothing more would come.
        """
        progress = Progress(after, seal)
        begun_with = progress.newest_token() if after else ""
        async for status in self._present(progress):
            if self._is_to_be_told(status.camera, repeats=False):
                yield Told(status, begun_with)
        yield Told(None, progress.newest_token())
        loop = asyncio.get_running_loop()
        due = loop.time() + CHECKPOINT_SECONDS
        while True:
            async for told in self._until(due, progress):
                yield told
            if (trouble := self._table.trouble) is not None:
                raise VigieError(EVENT_LOG_UNAVAILABLE, trouble)
            due = loop.time() + CHECKPOINT_SECONDS
            yield Told(None, progress.newest_token())

    async def _present(self, progress: Progress) -> AsyncIterator[StreamStatusEvent]:
        """What has come since, as it is now."""
        if not progress.is_behind(self._table.positions):
            async for status in self._beyond_the_table(progress):
                yield status
            return
        # Taken at once, so that states and positions belong together.
        present = [
            status
            for camera, status in self._table.items.items()
            if (at := self._table.position_of(camera)) is not None and progress.is_ahead(at)
        ]
        self._waiting.clear()
        progress.catch_up(self._table.positions)
        for status in present:
            yield status

    async def _beyond_the_table(self, progress: Progress) -> AsyncIterator[StreamStatusEvent]:
        """The token is of a process that had come further: the log tells, or refuses it."""
        newest: dict[str, StoredEvent] = {}
        async for stored in resumed(self._log.read(STATUS_TOPIC, after=progress.positions())):
            newest[stored.event.key] = stored
            progress.advance(stored.position)
        for stored in newest.values():
            if (status := _readable(stored)) is not None:
                yield status

    async def _until(self, due: float, progress: Progress) -> AsyncIterator[Told]:
        """What comes up to a time of the event loop, however many come."""
        while True:
            waiting, self._waiting = self._waiting, []
            self._come.clear()
            for position, status, repeats in waiting:
                if not progress.is_ahead(position):
                    continue
                progress.advance(position)
                if self._is_to_be_told(status.camera, repeats=repeats):
                    yield Told(status, progress.token())
            left = due - asyncio.get_running_loop().time()
            if not self._waiting:
                progress.catch_up(self._table.positions)  # heartbeats that nobody is told of
                if left <= 0:
                    return
                try:
                    async with asyncio.timeout(left):
                        await self._come.wait()
                except TimeoutError:
                    return
            elif left <= 0:
                return

    def _is_to_be_told(self, camera: str, *, repeats: bool) -> bool:
        """Asked when it is read: the camera may have gone out of sight since, or been told."""
        if not self._may_see(camera):
            self._shown.discard(camera)
            return False
        if repeats and camera in self._shown and not self._heartbeats:
            return False
        self._shown.add(camera)
        return True


def _newest(waiting: Sequence[_Change]) -> list[_Change]:
    """The last of each camera, in the order of the log; it repeats only what all of them repeat."""
    newest: dict[str, _Change] = {}
    for change in waiting:
        camera = change.status.camera
        before = newest.pop(camera, change)
        newest[camera] = change._replace(repeats=change.repeats and before.repeats)
    return list(newest.values())


def _readable(stored: StoredEvent) -> StreamStatusEvent | None:
    """The status in an event, if it has one; the table counts those that cannot be read."""
    if stored.event.value is None:
        return None
    try:
        return parse_status(stored)
    except Unprocessable:
        return None
