"""Names are looked up for those who wait, and for nobody else."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import pytest

from vigie.ingest.engine import EndCause, SessionSink, SourceSpec
from vigie.ingest.native.connection import Connection
from vigie.ingest.native.dial import Dialler
from vigie.ingest.native.environment import Environment
from vigie.ingest.native.host import Host
from vigie.ingest.native.resolver import Resolved, Resolver
from vigie.ingest.native.session import NativeSession
from vigie.ingest.native.settings import NativeSettings
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock

PATIENCE_SECONDS = 20.0
THREADS = 4
FOUND = [(socket.AF_INET, ("192.0.2.7", 554))]


class NameServer:
    """Stands for the C library: answers when a test lets it."""

    def __init__(self) -> None:
        self.back = threading.Event()
        self.asked: Counter[str] = Counter()
        self.busy = threading.Semaphore(0)
        self.error: Exception | None = None

    def getaddrinfo(self, host: str, port: int, *, type: int, flags: int) -> list[Any]:  # noqa: A002 - its names there
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a literal address")
        self.asked[host] += 1
        self.busy.release()
        assert self.back.wait(PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", port))]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    made = NameServer()
    monkeypatch.setattr("vigie.ingest.native.resolver.socket.getaddrinfo", made.getaddrinfo)
    yield made
    made.back.set()


class Answer:
    """Waits for an outcome."""

    def __init__(self) -> None:
        self.found: Resolved | None = None
        self._came = threading.Event()

    def __call__(self, found: Resolved) -> None:
        self.found = found
        self._came.set()

    def wait(self) -> Resolved | None:
        assert self._came.wait(PATIENCE_SECONDS)
        return self.found


def occupy(server: NameServer, resolver: Resolver) -> None:
    """Every thread waits for the name server."""
    for number in range(THREADS):
        resolver.resolve(f"busy-{number}.example", 554, Answer())
        assert server.busy.acquire(timeout=PATIENCE_SECONDS)


class Sink:
    """Remembers how sessions ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[EndCause, str]] = []

    def ended(self, cause: EndCause, detail: str) -> None:
        self.ends.append((cause, detail))


class Calls:
    """A reactor that only takes what the resolver found."""

    def call_soon(self, session: NativeSession, dialler: Dialler, found: Resolved) -> None: ...

    def unwatch(self, connection: Connection) -> None: ...


def test_sessions_that_gave_up_leave_no_look_up_behind(server: NameServer) -> None:
    """While the name server is away each camera is tried again and again."""
    wall, monotonic = ManualWallClock(1_790_000_000_000_000), ManualMonotonicClock(1_000_000)
    shared = Environment(NativeSettings(connect_timeout_seconds=1.0), wall, monotonic)
    occupy(server, shared.resolver)
    sink = Sink()
    for _ in range(200):
        session = NativeSession(
            SourceSpec("cam-a", "rtsp://cam-a.example/live"),
            cast("SessionSink", sink),
            shared,
            cast("Host", Calls()),
        )
        session.begin()
        late_us = monotonic.now_us() + round(shared.settings.connect_timeout_seconds * 1_000_000)
        session.on_tick(late_us, wall.now_us())
    assert set(sink.ends) == {
        (EndCause.CAMERA_UNREACHABLE, "the name was not resolved in time"),
    }
    last = Answer()
    shared.resolver.resolve("cam-b.example", 554, last)

    server.back.set()
    assert last.wait() == FOUND
    shared.resolver._pool.shutdown()
    assert server.asked["cam-a.example"] == 0
    assert shared.resolver._waiting == {}


def test_who_comes_behind_one_that_gave_up_is_answered(server: NameServer) -> None:
    resolver = Resolver()
    occupy(server, resolver)
    gone, there = Answer(), Answer()
    give_up = resolver.resolve("cam-a.example", 554, gone)
    give_up()
    give_up()
    resolver.resolve("cam-a.example", 554, there)
    server.back.set()
    assert there.wait() == FOUND
    resolver._pool.shutdown()
    assert gone.found is None
    assert server.asked["cam-a.example"] == 1


def test_a_name_is_looked_up_once_for_all_who_wait(server: NameServer) -> None:
    resolver = Resolver()
    answers = [Answer() for _ in range(10)]
    for answer in answers:
        resolver.resolve("cam-a.example", 554, answer)
    other = Answer()
    resolver.resolve("cam-a.example", 8554, other)
    server.back.set()
    assert all(answer.wait() == FOUND for answer in answers)
    assert other.wait() == [(socket.AF_INET, ("192.0.2.7", 8554))]
    assert server.asked["cam-a.example"] == 2
    # And again later: nothing is kept.
    answers[0] = Answer()
    resolver.resolve("cam-a.example", 554, answers[0])
    assert answers[0].wait() == FOUND
    assert server.asked["cam-a.example"] == 3
    resolver.close()


def test_a_look_up_that_fails_unforeseen_is_an_answer_too(server: NameServer) -> None:
    """Else the name would count as being looked up for ever."""
    resolver, answer = Resolver(), Answer()
    server.error = RuntimeError("not foreseen")
    server.back.set()
    resolver.resolve("cam-a.example", 554, answer)
    assert isinstance(answer.wait(), str)
    server.error = None
    answer = Answer()
    resolver.resolve("cam-a.example", 554, answer)
    assert answer.wait() == FOUND
    resolver.close()
