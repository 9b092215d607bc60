"""TLS, floods and broken servers: what one camera does, the others do not notice."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certificates import camera_certificate
from integration.ingest_engine.conftest import Receiver, Simulator
from integration.ingest_engine.test_native_engine import assert_as_sent, assert_continuous
from vigie.ingest.engine import EndCause, SourceSpec

Simulate = Callable[..., Simulator]
Receive = Callable[..., Receiver]

SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\n"
)


def test_rtsps_is_received_and_certificates_are_checked(
    simulate: Simulate, receive: Receive, tmp_path: Path
) -> None:
    simulator = simulate(tls=camera_certificate(tmp_path))
    receiver = receive()
    _, trusting = receiver.open(simulator.source(verify_tls=False))
    _, careful = receiver.open(simulator.source())
    trusting.wait_for(lambda s: len(s.groups) >= 3)
    careful.wait_for(lambda s: s.end is not None)
    assert_as_sent(simulator, trusting.groups)
    assert_continuous(trusting.groups)
    assert trusting.all("connected")[0].transport == "rtsps/tcp"  # type: ignore[attr-defined]  # a list of what was noted
    assert careful.end is not None
    assert careful.end[0] is EndCause.CAMERA_UNREACHABLE
    assert "certificate refused" in careful.end[1]


def test_tls_to_a_camera_without_it_is_unreachable(simulate: Simulate, receive: Receive) -> None:
    simulator = simulate()
    uri = simulator.server.url("cam-a").replace("rtsp://", "rtsps://")
    _, sink = receive(connect_timeout_seconds=1.0).open(SourceSpec("cam-a", uri))
    sink.wait_for(lambda s: s.end is not None)
    assert sink.end is not None
    assert sink.end[0] is EndCause.CAMERA_UNREACHABLE


@contextmanager
def raw_camera(behave: Callable[[socket.socket], None]) -> Iterator[SourceSpec]:
    """A server that does what ``behave`` does with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        behave(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield SourceSpec("cam-raw", f"rtsp://127.0.0.1:{listener.getsockname()[1]}/x")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def play(connection: socket.socket) -> None:
    """Answer until PLAY."""
    while True:
        request = connection.recv(4096).decode()
        if not request:
            raise ConnectionResetError
        cseq = request.split("CSeq: ")[1].split("\r\n")[0]
        head = f"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nSession: 1\r\n"
        if request.startswith("DESCRIBE"):
            head += f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}"
            connection.sendall(head.encode())
        else:
            connection.sendall(f"{head}\r\n".encode())
        if request.startswith("PLAY"):
            return


def test_a_flood_starves_nobody(simulate: Simulate, receive: Receive) -> None:
    over = threading.Event()
    # Well-formed packets of another payload type, as fast as the socket takes them.
    packet = b"$\0\5\xdc" + b"\x80\x21\0\0" + bytes(1496)

    def flood(connection: socket.socket) -> None:
        play(connection)
        while not over.is_set():
            connection.sendall(packet * 500)

    simulator = simulate()
    receiver = receive(silence_timeout_seconds=60, session_budget_bytes=1 << 20)
    with raw_camera(flood) as source:
        _, neighbour = receiver.open(simulator.source())
        session, flooded = receiver.open(source)
        flooded.wait_for(lambda s: "connected" in s.names)
        neighbour.wait_for(lambda s: len(s.groups) >= 4)
        assert receiver.engine.statistics()[0].throttled >= 1
        assert neighbour.losses == []
        assert_continuous(neighbour.groups)
        over.set()
        session.close()
        flooded.wait_for(lambda s: s.end is not None)


def test_a_camera_that_never_ends_its_frame_is_bounded(receive: Receive) -> None:
    over = threading.Event()

    def endless(connection: socket.socket) -> None:
        play(connection)
        sequence = 0
        while not over.is_set():
            # FU-A fragments of one NAL unit that never ends.
            first = 0x80 if sequence == 0 else 0
            head = b"\x80\x60" + (sequence & 0xFFFF).to_bytes(2, "big") + b"\0\0\0\1\0\0\0\7"
            payload = head + bytes((0x7C, first | 5)) + bytes(60_000)
            connection.sendall(b"$\0" + len(payload).to_bytes(2, "big") + payload)
            sequence += 1

    with raw_camera(endless) as source:
        session, sink = receive(foreign_timeout_seconds=30.0).open(source)
        sink.wait_for(lambda s: len(s.losses) >= 1 or s.end is not None, 40)
        assert sink.losses[0][0] is EndCause.STREAM_UNSUPPORTED
        over.set()
        session.close()
        sink.wait_for(lambda s: s.end is not None)


@pytest.mark.parametrize(
    ("answer", "cause", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", EndCause.STREAM_UNSUPPORTED, "does not speak RTSP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", EndCause.STREAM_UNSUPPORTED, "does not speak RTSP"),
        (b"", EndCause.CLOSED_BY_CAMERA, "closed the connection at OPTIONS"),
        (b"RTSP/1.0 200 OK\r\nCSe", EndCause.CLOSED_BY_CAMERA, "closed the connection"),
    ],
)
def test_servers_that_are_no_cameras(
    receive: Receive, answer: bytes, cause: EndCause, says: str
) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    with raw_camera(behave) as source:
        _, sink = receive().open(source)
        sink.wait_for(lambda s: s.end is not None)
    assert sink.end is not None
    assert sink.end[0] is cause
    assert says in sink.end[1]


def test_a_redirect_in_a_circle_ends(receive: Receive) -> None:
    targets: list[str] = []

    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(
            f"RTSP/1.0 302 Found\r\nCSeq: 1\r\nLocation: {targets[0]}\r\n\r\n".encode()
        )

    with raw_camera(behave) as source:
        targets.append(source.uri)
        _, sink = receive().open(source)
        sink.wait_for(lambda s: s.end is not None)
    assert sink.end == (EndCause.STREAM_UNSUPPORTED, "redirected too many times")


def test_credentials_do_not_follow_a_redirect_to_another_host(receive: Receive) -> None:
    heard: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        heard.append(connection.recv(4096))
        connection.sendall(
            b'RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'
        )
        heard.append(connection.recv(4096))

    with raw_camera(listen) as thief:

        def redirect(connection: socket.socket) -> None:
            connection.recv(4096)
            target = thief.uri.replace("127.0.0.1", "localhost")
            connection.sendall(
                f"RTSP/1.0 302 Found\r\nCSeq: 1\r\nLocation: {target}\r\n\r\n".encode()
            )

        with raw_camera(redirect) as own:
            source = SourceSpec("cam-raw", own.uri, "user", "lagoon")
            _, sink = receive().open(source)
            sink.wait_for(lambda s: s.end is not None)
    assert sink.end is not None
    assert sink.end[0] is EndCause.CREDENTIALS_REFUSED
    assert b"Authorization" not in b"".join(heard)


def test_an_address_that_cannot_be_used_ends_at_once(receive: Receive) -> None:
    receiver = receive()
    for uri in ("http://127.0.0.1/x", "rtsp://", "rtsp://u:lagoon@127.0.0.1:99999/"):
        _, sink = receiver.open(SourceSpec("cam-a", uri))
        sink.wait_for(lambda s: s.end is not None)
        assert sink.end is not None
        assert sink.end[0] is EndCause.CAMERA_UNREACHABLE
        assert "lagoon" not in sink.end[1]


def test_closing_before_anything_came_ends_too(receive: Receive) -> None:
    with raw_camera(lambda connection: time.sleep(0.05)) as source:
        session, sink = receive().open(source)
        session.close()
        sink.wait_for(lambda s: s.end is not None)
        assert sink.end is not None
