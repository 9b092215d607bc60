"""What watches are told out of the table: nothing is missed, nothing is told for nothing."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Self

import pytest

from vigie.ingest.services import watching
from vigie.ingest.services.watching import StatusFeed, StatusWatch, Told, parse_status
from vigie.ingest.upload.events import STATUS_TOPIC
from vigie.ingest.v1 import events_pb2 as pb
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.database.embedded import open_database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import CompactedTable, Position, TopicSpec, make_event, open_event_log
from vigie.platform.eventlog.embedded import EmbeddedEventLog
from vigie.platform.eventlog.progress import unpack

RECORDING, WAITING = pb.STREAM_STATE_RECORDING, pb.STREAM_STATE_WAITING
Said = tuple[str, int] | None
"""Camera and state; nothing: a checkpoint."""


class Stream:
    """A topic of states, the table kept from it, and watches."""

    def __init__(self, log: EmbeddedEventLog, wall: ManualWallClock) -> None:
        self.log = log
        self._wall = wall
        self.table = self._new_table()
        self.feed = StatusFeed(log, self.table)
        self._sent = 0
        self.zone = {"cam-1", "cam-2", "cam-3"}

    def _new_table(self) -> CompactedTable[pb.StreamStatusEvent]:
        return CompactedTable(self.log, STATUS_TOPIC, parse_status, ManualMonotonicClock())

    async def say(self, camera: str, state: pb.StreamState.ValueType, *, seen: bool = True) -> int:
        """Tell a state; wait until the table has it."""
        self._sent += 1
        status = pb.StreamStatusEvent(camera=camera, state=state, last_frame_us=self._sent)
        event = make_event(
            status, key=camera, source="test", wall_clock=self._wall, event_id=f"e{self._sent}"
        )
        await self.log.append(STATUS_TOPIC, [event])
        (position,) = await self.log.ends(STATUS_TOPIC)
        while seen and self.table.positions != (position,):
            await asyncio.sleep(0.001)
        return position.offset

    def watch(self, *, heartbeats: bool = False) -> "Watching":
        return Watching(self, heartbeats=heartbeats)


class Watching:
    """One watch and what it was told so far."""

    def __init__(self, stream: Stream, *, heartbeats: bool) -> None:
        self._block = stream.feed.watch(lambda one: one in stream.zone, heartbeats=heartbeats)
        self._told: AsyncGenerator[Told, None] | None = None
        self.watch: StatusWatch | None = None
        self.token = ""

    def __enter__(self) -> Self:
        self.watch = self._block.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._block.__exit__(None, None, None)

    async def read(self, count: int, after: str = "") -> list[Said]:
        """The next answers."""
        assert self.watch is not None
        if self._told is None:
            places = unpack(bytes.fromhex(after)) if after else ()
            self._told = self.watch.told(places, bytes.hex)
        said: list[Said] = []
        async with asyncio.timeout(20):
            while len(said) < count:
                status, self.token = await anext(self._told)
                said.append(None if status is None else (status.camera, status.state))
        return said


@pytest.fixture
async def stream(tmp_path: Path) -> AsyncIterator[Stream]:
    wall = ManualWallClock(1_800_000_000_000_000)
    database = await open_database(tmp_path / "vigie.db")
    log = await open_event_log(database, wall)
    await log.declare([TopicSpec(STATUS_TOPIC, compacted=True, partitions=1, why="")])
    made = Stream(log, wall)
    await made.table.start()
    yield made
    await made.table.stop()
    await log.close()
    await database.close()


async def test_the_present_then_what_changes(stream: Stream) -> None:
    await stream.say("cam-1", WAITING)
    await stream.say("cam-1", RECORDING)
    with stream.watch() as watching_:
        assert await watching_.read(2) == [("cam-1", RECORDING), None]
        await stream.say("cam-2", WAITING)
        assert await watching_.read(1) == [("cam-2", WAITING)]


async def test_what_repeats_is_told_to_those_who_ask_for_it(stream: Stream) -> None:
    await stream.say("cam-1", RECORDING)
    with stream.watch() as plain, stream.watch(heartbeats=True) as beating:
        assert await plain.read(2) == await beating.read(2) == [("cam-1", RECORDING), None]
        await stream.say("cam-1", RECORDING)
        await stream.say("cam-1", WAITING)
        assert await plain.read(1) == [("cam-1", WAITING)]
        assert await beating.read(2) == [("cam-1", RECORDING), ("cam-1", WAITING)]


async def test_a_token_tells_what_has_come_since_and_nothing_else(stream: Stream) -> None:
    await stream.say("cam-1", RECORDING)
    await stream.say("cam-2", RECORDING)
    with stream.watch() as first:
        await first.read(3)
    for state in (WAITING, RECORDING, WAITING):
        await stream.say("cam-2", state)
    with stream.watch() as again:
        assert await again.read(2, after=first.token) == [("cam-2", WAITING), None]
        at_the_end = again.token
    with stream.watch() as once_more:
        assert await once_more.read(1, after=at_the_end) == [None]


async def test_resuming_reads_nothing_of_the_log(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of heartbeats stand behind an old token."""
    await stream.say("cam-1", RECORDING)
    with stream.watch() as first:
        await first.read(2)
    await stream.say("cam-1", WAITING)
    monkeypatch.delattr(EmbeddedEventLog, "read")
    with stream.watch() as again:
        assert await again.read(2, after=first.token) == [("cam-1", WAITING), None]


async def test_whoever_breaks_off_in_the_present_loses_nothing_of_it(stream: Stream) -> None:
    await stream.say("cam-3", WAITING)
    with stream.watch() as first:
        await first.read(2)
    await stream.say("cam-1", RECORDING)
    await stream.say("cam-2", RECORDING)
    with stream.watch() as broken_off:
        told = await broken_off.read(1, after=first.token)
    with stream.watch() as again:
        rest = await again.read(3, after=broken_off.token)
    assert {*told, *rest} == {("cam-1", RECORDING), ("cam-2", RECORDING), None}


async def test_a_token_of_a_process_that_had_come_further(stream: Stream) -> None:
    """The table of this one lags: what it reads later was told already."""
    await stream.say("cam-1", RECORDING)
    await stream.table.stop()
    offset = await stream.say("cam-1", WAITING, seen=False)
    theirs = watching.Progress([Position(0, offset)], bytes.hex).newest_token()
    await stream.say("cam-2", WAITING, seen=False)
    with stream.watch() as again:
        assert await again.read(2, after=theirs) == [("cam-2", WAITING), None]
        await stream.table.start()  # reads the three once more, and hands them on
        await stream.say("cam-3", WAITING)
        assert await again.read(1) == [("cam-3", WAITING)]


async def test_a_camera_that_comes_into_sight_is_told_with_its_next_heartbeat(
    stream: Stream,
) -> None:
    stream.zone = {"cam-1"}
    await stream.say("cam-1", RECORDING)
    await stream.say("cam-2", RECORDING)
    with stream.watch() as watching_:
        assert await watching_.read(2) == [("cam-1", RECORDING), None]
        stream.zone = {"cam-2"}
        for camera in ("cam-1", "cam-2"):
            await stream.say(camera, RECORDING)
        stream.zone = {"cam-1", "cam-2"}
        await stream.say("cam-2", RECORDING)
        await stream.say("cam-1", RECORDING)
        assert await watching_.read(2) == [("cam-2", RECORDING), ("cam-1", RECORDING)]


async def test_what_was_told_before_is_not_taken_for_told_in_this_watch(stream: Stream) -> None:
    """The table lags behind the token, and a camera came into sight during the break."""
    await stream.say("cam-1", RECORDING)
    await stream.table.stop()
    offset = await stream.say("cam-2", WAITING, seen=False)
    theirs = watching.Progress([Position(0, offset)], bytes.hex).newest_token()
    with stream.watch() as again:
        assert await again.read(1, after=theirs) == [None]
        await stream.table.start()
        await stream.say("cam-2", WAITING)
        assert await again.read(1) == [("cam-2", WAITING)]


async def test_a_change_that_was_out_of_sight_when_it_was_read_is_told_later(
    stream: Stream,
) -> None:
    await stream.say("cam-1", RECORDING)
    with stream.watch() as watching_:
        assert await watching_.read(2) == [("cam-1", RECORDING), None]
        await stream.say("cam-1", WAITING)
        await stream.say("cam-2", RECORDING)
        stream.zone = {"cam-2"}
        assert await watching_.read(1) == [("cam-2", RECORDING)]
        stream.zone = {"cam-1", "cam-2"}
        await stream.say("cam-1", WAITING)
        assert await watching_.read(1) == [("cam-1", WAITING)]


async def test_a_change_is_told_though_heartbeats_came_behind_it(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_WAITING_MOST", 2)
    await stream.say("cam-1", RECORDING)
    with stream.watch(heartbeats=True) as beating, stream.watch() as plain:
        for each in (beating, plain):
            each.watch._waiting_most = 2
            assert await each.read(2) == [("cam-1", RECORDING), None]
        await stream.say("cam-1", WAITING)
        for _ in range(3):
            await stream.say("cam-1", WAITING)
        assert await beating.read(1) == [("cam-1", WAITING)]
        assert await plain.read(1) == [("cam-1", WAITING)]
        await stream.say("cam-1", RECORDING)
        assert await plain.read(1) == [("cam-1", RECORDING)]


async def test_more_cameras_than_may_wait_are_not_looked_through_at_every_change(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_WAITING_MOST", 2)
    looked: list[int] = []
    newest = watching._newest

    def counted(waiting: list[watching._Change]) -> list[watching._Change]:
        looked.append(len(waiting))
        return newest(waiting)

    monkeypatch.setattr(watching, "_newest", counted)
    with stream.watch(heartbeats=True) as slow:
        assert await slow.read(1) == [None]
        for _ in range(8):
            for camera in ("cam-1", "cam-2", "cam-3"):
                await stream.say(camera, RECORDING)
        assert len(looked) < 10
        assert max(looked) <= 6


async def test_for_who_does_not_read_only_the_newest_of_each_camera_wait(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_WAITING_MOST", 4)
    with stream.watch() as slow:
        assert await slow.read(1) == [None]
        await stream.say("cam-1", RECORDING)
        await stream.say("cam-2", WAITING)
        for state in (WAITING, RECORDING):
            await stream.say("cam-1", state)
        await stream.say("cam-3", WAITING)
        # In the order of the log: a token behind one says that those before it were told.
        said = await slow.read(3)
    assert said == [("cam-2", WAITING), ("cam-1", RECORDING), ("cam-3", WAITING)]


async def test_checkpoints_come_in_silence_and_stand_behind_heartbeats(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "CHECKPOINT_SECONDS", 0.05)
    await stream.say("cam-1", RECORDING)
    with stream.watch() as watching_:
        await watching_.read(2)
        offset = await stream.say("cam-1", RECORDING)
        assert await watching_.read(1) == [None]
        assert unpack(bytes.fromhex(watching_.token)) == (Position(0, offset),)


async def test_a_table_that_is_not_followed_ends_the_watch(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint would say that everything known was told, and nobody would know better."""
    monkeypatch.setattr(watching, "CHECKPOINT_SECONDS", 0.05)
    with stream.watch() as watching_:
        assert await watching_.read(1) == [None]
        monkeypatch.setattr(stream.table, "_trouble", "no broker answers")
        with pytest.raises(VigieError, match="no broker answers") as caught:
            await watching_.read(1)
    assert caught.value.reason.name == "EVENT_LOG_UNAVAILABLE"


async def test_a_watch_that_has_ended_is_fed_no_more(stream: Stream) -> None:
    fed: list[str] = []

    def may_see(camera: str) -> bool:
        fed.append(camera)
        return True

    with stream.feed.watch(may_see, heartbeats=False) as watch:
        async with aclosing(watch.told((), bytes.hex)) as told:
            await anext(told)
        await stream.say("cam-1", RECORDING)
    await stream.say("cam-2", RECORDING)
    assert fed == ["cam-1"]
