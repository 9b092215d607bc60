"""When something was received is told after it was received, however long that took."""

from typing import Any, cast

from vigie.ingest.engine import SessionSink, SourceSpec
from vigie.ingest.native.connection import Connection
from vigie.ingest.native.environment import Environment
from vigie.ingest.native.host import Host
from vigie.ingest.native.reception import Reception
from vigie.ingest.native.session import NativeSession, State
from vigie.ingest.native.settings import NativeSettings
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock

WALL_US = 1_790_000_000_000_000
HELD_UP_US = 63_000


class SlowConnection:
    """The thread loses the processor while it reads; what it then reads has just come."""

    is_tls = False

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def receive_into(self, view: memoryview) -> int:
        cast("ManualMonotonicClock", self._environment.monotonic)._now_us += HELD_UP_US
        cast("ManualWallClock", self._environment.wall).advance(HELD_UP_US / 1e6)
        return 100


class Buffers:
    """What a session wants of its reactor here."""

    def __init__(self) -> None:
        self.buffer = bytearray(1 << 16)
        self.view = memoryview(self.buffer)

    def note_received(self, size_bytes: int, *, throttled: bool) -> None:
        assert size_bytes == 100


class NotedTimes:
    """Stands for the reception."""

    def __init__(self) -> None:
        self.noted: list[tuple[int, int]] = []

    def note_time(self, wall_us: int, monotonic_us: int) -> None:
        self.noted.append((wall_us, monotonic_us))


def test_bytes_are_stamped_after_they_were_read() -> None:
    environment = Environment(
        NativeSettings(), ManualWallClock(WALL_US), ManualMonotonicClock(1_000_000)
    )
    source = SourceSpec(camera="cam-a", uri="rtsp://127.0.0.1/a")
    session = NativeSession(source, cast("SessionSink", None), environment, cast("Host", Buffers()))
    reception = NotedTimes()
    taken: list[int] = []
    as_any = cast("Any", session)
    as_any._connection = cast("Connection", SlowConnection(environment))
    as_any._reception = cast("Reception", reception)
    as_any._take = taken.append
    as_any.state = State.CONVERSING

    session.on_ready(1_000_000, WALL_US)

    assert taken == [100]
    assert reception.noted == [(WALL_US + HELD_UP_US, 1_000_000 + HELD_UP_US)]
    environment.resolver.close()
