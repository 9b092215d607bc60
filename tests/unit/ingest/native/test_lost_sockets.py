"""Whatever becomes of a socket, the session ends and says so, and the next one can be received."""

import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from vigie.ingest.engine import ConnectionInfo, EndCause, SessionSink, SourceSpec
from vigie.ingest.native.connection import Connection, Progress
from vigie.ingest.native.dial import Dialler
from vigie.ingest.native.environment import Environment
from vigie.ingest.native.host import Host, State
from vigie.ingest.native.reactor import Reactor
from vigie.ingest.native.session import NativeSession
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.rtsp.address import parse
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock

WALL_US = 1_790_000_000_000_000
PATIENCE_SECONDS = 20.0
"""Of a test that is about to fail."""


class Sink:
    """Remembers how a session ended."""

    wants_frames = False

    def __init__(self) -> None:
        self.ends: list[EndCause] = []
        self.ended_event = threading.Event()

    def connected(self, info: ConnectionInfo) -> None: ...

    def ended(self, cause: EndCause, detail: str) -> None:
        self.ends.append(cause)
        self.ended_event.set()


class ResetInWrapping:
    """The camera resets between the look at the connection and the TLS layer.

    The standard library has taken the descriptor out of the plain socket by then, finds that it
    is not connected, closes it and raises.
    """

    def __init__(self) -> None:
        self.closed: list[int] = []

    def wrap_socket(self, plain: socket.socket, **_: object) -> ssl.SSLSocket:
        descriptor = plain.detach()
        socket.socket(fileno=descriptor).close()
        self.closed.append(descriptor)
        raise ConnectionResetError(104, "connection reset by peer")


@pytest.fixture
def shared() -> Iterator[Environment]:
    made = Environment(NativeSettings(), ManualWallClock(WALL_US), ManualMonotonicClock(1_000_000))
    yield made
    made.resolver.close()


@pytest.fixture
def reactor(shared: Environment) -> Iterator[Reactor]:
    """Its thread is not started; it runs in the end to give back what the reactor has."""
    made = Reactor(shared, "reactor-of-a-test")
    yield made
    made.stop()
    if not cast("Any", made)._thread.ident:
        made.start()
    assert made.join(PATIENCE_SECONDS)


@pytest.fixture
def camera() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_SECONDS)
        yield listening


def address_of(camera: socket.socket, scheme: str) -> str:
    return f"{scheme}://127.0.0.1:{camera.getsockname()[1]}/live"


def test_a_socket_with_the_number_of_one_that_tls_closed_is_received(
    camera: socket.socket, shared: Environment, reactor: Reactor
) -> None:
    """The number of the first session's socket is that of the second, of another camera."""
    resets = ResetInWrapping()
    cast("Any", shared)._contexts[True] = resets
    reactor.start()
    first, second = Sink(), Sink()
    reactor.open(SourceSpec("cam-a", address_of(camera, "rtsps")), cast("SessionSink", first))
    assert first.ended_event.wait(PATIENCE_SECONDS)
    assert first.ends == [EndCause.CAMERA_UNREACHABLE]
    camera.accept()[0].close()  # and its number, if it was the same, is free again

    session = reactor.open(
        SourceSpec("cam-b", address_of(camera, "rtsp")), cast("SessionSink", second)
    )
    line, _ = camera.accept()
    with line:
        line.settimeout(PATIENCE_SECONDS)
        assert line.recv(4096).startswith(b"OPTIONS ")
        connection = cast("Any", session)._connection
        assert resets.closed == [connection.fileno()]  # else nothing is shown here
        session.close()
        assert second.ended_event.wait(PATIENCE_SECONDS)
    assert second.ends == [EndCause.STOPPED]


def test_the_reactor_forgets_what_tls_closed(camera: socket.socket, reactor: Reactor) -> None:
    """Also before another socket has its number: the selector knows nothing of either."""
    resets = ResetInWrapping()
    session = cast("NativeSession", object())
    connection = Connection((socket.AF_INET, camera.getsockname()), None, "", 0)
    reactor.watch(connection, session, Progress.WANTS_WRITE)
    with pytest.raises(ConnectionResetError):
        resets.wrap_socket(cast("Any", connection)._socket)

    reactor.unwatch(connection)
    connection.close()

    assert cast("Any", reactor)._watched == {}


def test_a_number_that_the_kernel_let_go_of_is_watched_anew(
    camera: socket.socket, reactor: Reactor
) -> None:
    session = cast("NativeSession", object())
    gone = Connection((socket.AF_INET, camera.getsockname()), None, "", 0)
    reactor.watch(gone, session, Progress.WANTS_READ)
    gone.close()  # and nobody took it out of the selector
    there = Connection((socket.AF_INET, camera.getsockname()), None, "", 0)
    assert there.fileno() == gone.fileno()

    reactor.watch(there, session, Progress.WANTS_WRITE)

    camera.accept()[0].close()
    line, _ = camera.accept()
    ready = dict(cast("Any", reactor)._poll.poll(PATIENCE_SECONDS))
    assert there.fileno() in ready
    reactor.unwatch(there)
    there.close()
    line.close()


def test_what_is_opened_when_the_thread_has_ended_is_over_at_once(reactor: Reactor) -> None:
    reactor.start()
    reactor.stop()
    assert reactor.join(PATIENCE_SECONDS)

    sink = Sink()
    session = reactor.open(SourceSpec("cam-a", "rtsp://127.0.0.1/a"), cast("SessionSink", sink))
    session.close()

    assert sink.ends == [EndCause.STOPPED]
    assert session.state is State.ENDED


def test_what_is_opened_while_the_thread_ends_is_over_without_a_connection(
    camera: socket.socket, reactor: Reactor
) -> None:
    """It would be the last that keeps the thread: nobody closes it any more."""
    reactor.stop()
    cast("Any", reactor)._closings = False  # the look for sessions to close has been taken
    sink = Sink()
    reactor.open(SourceSpec("cam-a", address_of(camera, "rtsp")), cast("SessionSink", sink))
    reactor.start()

    assert reactor.join(PATIENCE_SECONDS)
    assert sink.ends == [EndCause.STOPPED]
    camera.setblocking(False)
    with pytest.raises(BlockingIOError):
        camera.accept()


class BrokenHost:
    """A reactor whose selector refuses."""

    def __init__(self) -> None:
        self.buffer = bytearray(1 << 16)
        self.view = memoryview(self.buffer)

    def unwatch(self, connection: Connection) -> None:
        raise OSError(9, "bad file descriptor")


class Line:
    """A connection that is there."""

    is_tls = False
    unsent_bytes = 0
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("way", ["end", "fail"])
@pytest.mark.parametrize("step", [State.DIALLING, State.PLAYING])
def test_the_end_is_told_although_the_connection_cannot_be_let_go_of(
    shared: Environment, way: str, step: State
) -> None:
    sink, line = Sink(), Line()
    source = SourceSpec(camera="cam-a", uri="rtsp://127.0.0.1/a")
    session = NativeSession(source, cast("SessionSink", sink), shared, cast("Host", BrokenHost()))
    session.state = step
    inside = cast("Any", session)
    if step is State.DIALLING:
        inside._dialler = dialler = Dialler(
            parse(source.uri),
            shared,
            verify_tls=True,
            watch=lambda connection, progress: None,
            unwatch=inside._host.unwatch,
        )
        cast("Any", dialler)._connection = line
    else:
        inside._connection = line

    ways = {"end": lambda: session.end(EndCause.CAMERA_SILENT, ""), "fail": session.fail}
    with pytest.raises(OSError, match="bad file descriptor"):
        ways[way]()

    assert sink.ends == [EndCause.CAMERA_SILENT if way == "end" else EndCause.INGEST_DOWN]
    assert line.closed
