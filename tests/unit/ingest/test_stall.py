"""That this process was away is known at once, and to whoever looks first."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_support import START_US, Told, camera_recorder, footage, recorder_tools
from integration.ingest_engine.sinks import RecordingSink
from vigie.ingest.delivery import Delivery, FrameReader
from vigie.ingest.engine import EndCause, SourceSpec
from vigie.ingest.native.connection import Connection
from vigie.ingest.native.environment import Environment
from vigie.ingest.native.host import Host
from vigie.ingest.native.reception import Reception
from vigie.ingest.native.session import NativeSession, State
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.native.watch import Watch
from vigie.ingest.stall import STALL_SECONDS, Heartbeat, StallWatch, stall_detail
from vigie.ingest.timekeeping import LATE_US, START_UP_US
from vigie.media.gop import Discontinuity, DiscontinuityReason, ReceptionStatistics
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock

SECOND = 1_000_000
STALL_US = round(STALL_SECONDS * SECOND)
TICK_US = 100_000


def test_the_time_model_bears_what_is_not_a_stall() -> None:
    """A run that begins with what waited is put right, and one under way does not end."""
    assert STALL_US <= START_UP_US
    assert 2 * STALL_US <= LATE_US


@given(steps=st.lists(st.integers(0, 3 * STALL_US), min_size=1, max_size=20))
def test_a_look_tells_a_stall_once_and_exactly(steps: list[int]) -> None:
    watch, now_us = StallWatch(0), 0
    for step in steps:
        now_us += step
        assert watch.look(now_us) == (step if step >= STALL_US else 0)
        assert watch.look(now_us) == 0


def test_what_waited_is_read_in_the_time_it_took_to_come() -> None:
    watch = StallWatch(0)
    assert watch.look(SECOND // 2) == 0
    assert not watch.is_behind(SECOND // 2)
    assert watch.look(3 * SECOND) == 0
    assert watch.is_behind(5 * SECOND)
    assert not watch.is_behind(6 * SECOND)


def test_a_heartbeat_that_failed_is_known_before_and_after_it_beats_again() -> None:
    clock = ManualMonotonicClock(0)
    heart = Heartbeat(clock)
    for _ in range(3):
        clock._now_us += STALL_US - 1
        assert heart.stalls() == 0
        heart.beat()
    clock._now_us += STALL_US
    assert heart.stalls() == 1
    heart.beat()
    assert heart.stalls() == 1
    clock._now_us += STALL_US - 1
    assert heart.stalls() == 1


# --- a session --------------------------------------------------------------------------------


class Line:
    """A connection in which media waits; reading it can take as long as a test wants."""

    is_tls = False
    unsent_bytes = 0

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.takes_us = 0
        self.reads = 0
        self.closed = False

    def receive_into(self, view: memoryview) -> int:
        self.reads += 1
        advance(self.environment, self.takes_us)
        return 100

    def close(self) -> None:
        self.closed = True


class Buffers:
    """What a session wants of its reactor here."""

    def __init__(self) -> None:
        self.buffer = bytearray(1 << 16)
        self.view = memoryview(self.buffer)

    def note_received(self, size_bytes: int, *, throttled: bool) -> None: ...

    def unwatch(self, connection: Connection) -> None: ...


class Media:
    """Stands for the reception: remembers whether it was finished, and what was taken."""

    is_behind = said_goodbye = is_foreign = False
    media_packets = 0

    def __init__(self) -> None:
        self.taken = self.finished = 0

    def note_time(self, wall_us: int, monotonic_us: int) -> None: ...

    def deliver(self, wall_us: int) -> int:
        self.media_packets += 1
        return 1

    def finish(self, wall_us: int) -> None:
        self.finished += 1

    def receiver_report(self, ssrc: int, monotonic_us: int) -> None: ...


def advance(environment: Environment, step_us: int) -> None:
    cast("ManualMonotonicClock", environment.monotonic)._now_us += step_us
    cast("ManualWallClock", environment.wall).advance(step_us / SECOND)


class Playing:
    """A session that plays, without a thread."""

    def __init__(self) -> None:
        self.environment = Environment(
            NativeSettings(), ManualWallClock(START_US), ManualMonotonicClock(SECOND)
        )
        self.sink, self.line, self.media = RecordingSink(), Line(self.environment), Media()
        source = SourceSpec(camera="cam-a", uri="rtsp://127.0.0.1/a")
        self.session = NativeSession(source, self.sink, self.environment, cast("Host", Buffers()))
        inside = cast("Any", self.session)
        inside._connection = cast("Connection", self.line)
        inside._reception = cast("Reception", self.media)
        inside._watch = Watch(self.environment.settings, 3600, SECOND)
        inside._take = self._take
        inside.state = State.PLAYING

    def _take(self, end: int) -> None:
        self.media.taken += 1

    def tick(self, step_us: int = TICK_US) -> None:
        advance(self.environment, step_us)
        clocks = self.environment
        self.session.on_tick(clocks.monotonic.now_us(), clocks.wall.now_us())


@pytest.fixture
def playing() -> Iterator[Playing]:
    made = Playing()
    yield made
    made.environment.resolver.close()


def test_what_waited_during_a_stall_is_not_read(playing: Playing) -> None:
    for _ in range(5):
        playing.tick()
    assert (playing.line.reads, playing.media.taken) == (5, 5)

    playing.tick(12 * SECOND)

    assert playing.line.reads == 5
    assert playing.sink.end == (
        EndCause.INGEST_DOWN, stall_detail(12 * SECOND),
    )  # fmt: skip
    assert playing.media.finished == 1, "what came before is delivered"
    assert playing.line.closed
    playing.tick()
    assert len(playing.sink.calls) == 1


def test_a_stall_between_a_look_and_its_reading_is_one(playing: Playing) -> None:
    playing.tick()
    playing.line.takes_us = STALL_US
    playing.tick()
    assert (playing.line.reads, playing.media.taken) == (2, 1)
    assert playing.sink.end is not None
    assert playing.sink.end[0] is EndCause.INGEST_DOWN


def test_a_slow_thread_is_no_stall(playing: Playing) -> None:
    for _ in range(20):
        playing.tick(STALL_US - 1)
        assert playing.media.is_behind
    assert playing.media.taken == 20
    assert playing.sink.end is None
    for _ in range(60):
        playing.tick()
    assert not playing.media.is_behind


def test_who_is_told_to_stop_stops(playing: Playing) -> None:
    playing.tick()
    playing.session.is_closing = True
    playing.tick(12 * SECOND)
    assert playing.sink.end is not None
    assert playing.sink.end[0] is EndCause.STOPPED
    assert playing.media.taken == 1


@pytest.mark.parametrize("state", [State.DIALLING, State.CONVERSING])
def test_the_camera_is_not_blamed_for_a_stall(playing: Playing, state: State) -> None:
    playing.session.state = state
    playing.tick(30 * SECOND)
    assert playing.sink.end is not None
    assert playing.sink.end[0] is EndCause.INGEST_DOWN
    assert playing.media.finished == 0


# --- what is lost of what waited --------------------------------------------------------------


class Losing:
    """A reader that has lost something."""

    statistics = ReceptionStatistics()
    gop = None

    def __init__(self, reason: DiscontinuityReason) -> None:
        self._items = [Discontinuity(reason, 3, "as the test wants")]

    def take(self) -> list[Discontinuity]:
        items, self._items = self._items, []
        return items


@pytest.mark.parametrize(("reason", "before", "behind"), [
    (DiscontinuityReason.PACKETS_LOST, EndCause.PACKETS_LOST, EndCause.INGEST_DOWN),
    (DiscontinuityReason.TIMESTAMP_JUMP, EndCause.CLOCK_JUMP, EndCause.INGEST_DOWN),
    (DiscontinuityReason.SOURCE_CHANGED, EndCause.PACKETS_LOST, EndCause.PACKETS_LOST),
    (DiscontinuityReason.PAYLOAD_UNSUPPORTED, EndCause.STREAM_UNSUPPORTED,
     EndCause.STREAM_UNSUPPORTED),
])  # fmt: skip
def test_what_a_camera_leaves_out_while_nobody_reads_is_our_doing(
    reason: DiscontinuityReason, before: EndCause, behind: EndCause
) -> None:
    for is_behind, cause in ((False, before), (True, behind)):
        sink = RecordingSink()
        delivery = Delivery(cast("FrameReader", Losing(reason)), sink)
        delivery.is_behind = is_behind
        delivery.deliver(START_US)
        assert [found for found, _ in sink.losses] == [cause]


def test_a_run_that_ends_with_a_stall_has_no_time_of_what_waited(tmp_path: Any) -> None:
    """The gap is from the last frame before to the first of the new session, none in between."""
    told, film = Told(), footage()
    recorder = camera_recorder(recorder_tools(tmp_path), told)
    for index in range(4):
        recorder.group(film.parameters, film.group(index, last=index == 3))
    recorder.ended(EndCause.INGEST_DOWN, stall_detail(12 * SECOND), START_US)
    again_us = START_US + 17 * SECOND
    for index in range(3):
        recorder.group(film.parameters, film.group(index, start_us=again_us, last=index == 2))
    recorder.ended(EndCause.STOPPED, "", again_us)

    first, second = ([each for each in told.segments if each.run == run.run] for run in told.runs)
    assert first[-1].end_us == START_US + 4 * SECOND + 20_000
    assert second[0].start_us == again_us + 20_000
    assert told.interruptions[0] == (
        "INGEST_DOWN", stall_detail(12 * SECOND), first[-1].end_us,
    )  # fmt: skip
    assert [end.reason for end in told.ends] == ["OUTAGE", "STOPPED"]
