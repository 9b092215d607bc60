"""A session of the native engine without thread and socket, against a camera of a few lines."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from integration.ingest_engine.sinks import RecordingSink
from vigie.ingest.engine import EndCause, SourceSpec
from vigie.ingest.native import session as sessions
from vigie.ingest.native.connection import Connection
from vigie.ingest.native.environment import Environment
from vigie.ingest.native.host import Host
from vigie.ingest.native.session import NativeSession, State
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.rtsp.address import Address
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock

WALL_US = 1_790_000_000_000_000
SPS = bytes.fromhex("6742c01eda0280bfe584000003000400000300c83c58ba80")
PPS = bytes.fromhex("68ce3c80")
SDP = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t\r\n"
FRAME_TICKS = 3600
FRAME_US = 40_000
FRAMES_OF_A_GROUP = 50


@dataclass
class Line:
    """A connection: what the camera says in pieces, and what it was told."""

    is_tls: bool = False
    waiting: bytearray = field(default_factory=bytearray)
    sent: bytes = b""
    unsent_bytes: int = 0
    is_closed: bool = False
    reads: list[int] = field(default_factory=list)

    def fileno(self) -> int:
        return 9

    def send(self, data: bytes) -> None:
        assert not self.is_closed
        self.sent += data

    def receive_into(self, view: memoryview) -> int:
        if not self.waiting:
            return -1
        count = min(len(view), len(self.waiting))
        view[:count] = self.waiting[:count]
        del self.waiting[:count]
        self.reads.append(count)
        return count

    def close(self) -> None:
        self.is_closed = True


class Buffers:
    """What a session wants of its reactor here."""

    def __init__(self) -> None:
        self.buffer = bytearray(1 << 20)
        self.view = memoryview(self.buffer)
        self.throttled = 0

    def watch(self, *_: object) -> None: ...

    def unwatch(self, *_: object) -> None: ...

    def note_received(self, size_bytes: int, *, throttled: bool) -> None:
        self.throttled += throttled

    def note_garbage(self, size_bytes: int) -> None: ...


class NoDialler:
    """Reaches every address, when the test says so."""

    failure = ""
    dialled: list[str]

    def __init__(self, address: Address, *_: object, **__: object) -> None:
        NoDialler.dialled.append(address.uri)

    def resolve(self, done: Callable[[object], None]) -> None: ...

    def drop(self) -> None: ...

    def check(self, now_us: int) -> None: ...


class Talk:
    """A session and the camera that it talks to.

    Args:
        monkeypatch: of pytest.
        uri: address of the camera.
        password: beside the address.
        settings: of the engine.
        processor_ns: processor time of the thread.
    """

    def __init__(
        self,
        monkeypatch: Any,
        *,
        uri: str = "rtsp://192.0.2.7/a",
        password: str = "",
        settings: NativeSettings | None = None,
        processor_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        NoDialler.dialled = []
        monkeypatch.setattr(sessions, "Dialler", NoDialler)
        self.monotonic, self.wall = ManualMonotonicClock(1_000_000), ManualWallClock(WALL_US)
        self.environment = Environment(settings or NativeSettings(), self.wall, self.monotonic)
        self.environment.processor_ns = processor_ns
        self.host, self.sink = Buffers(), RecordingSink()
        source = SourceSpec(camera="cam-a", uri=uri, password=password)
        self.session = NativeSession(source, self.sink, self.environment, cast("Host", self.host))
        self.session.begin()
        self.line = Line()
        self.sequence = 0

    def close(self) -> None:
        self.environment.resolver.close()

    @property
    def dialled(self) -> list[str]:
        return NoDialler.dialled

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def end(self) -> tuple[EndCause, str]:
        assert self.sink.end is not None
        return self.sink.end

    def step(self, step_us: int) -> None:
        self.monotonic._now_us += step_us
        self.wall.advance(step_us / 1e6)

    def connected(self) -> None:
        """The connection stands; the session asks for OPTIONS."""
        self.line = Line()
        inside = cast("Any", self.session)
        inside._dialled(inside._dialler, cast("Connection", self.line))

    def say(self, data: bytes) -> None:
        """The camera says it while it is being watched."""
        self.line.waiting += data
        self.step(1000)
        self.session.on_ready(self.monotonic.now_us(), self.wall.now_us())

    def answer(self, headers: str = "", body: str = "", status: str = "200 OK") -> None:
        """Answer the request sent last."""
        number = self.line.sent.decode().rpartition("CSeq: ")[2].partition("\r\n")[0]
        head = f"RTSP/1.0 {status}\r\nCSeq: {number}\r\n{headers}Content-Length: {len(body)}"
        self.say(f"{head}\r\n\r\n{body}".encode())

    def until_play(self) -> None:
        """All but the answer to PLAY."""
        self.connected()
        self.answer("Public: OPTIONS, GET_PARAMETER\r\n")
        self.answer("Content-Type: application/sdp\r\n", SDP)
        self.answer("Session: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n")

    def until_playing(self) -> None:
        self.until_play()
        self.answer()
        assert self.state is State.PLAYING

    def tick(self, data: bytes = b"", step_us: int = FRAME_US) -> None:
        """The camera sends, and the session is visited."""
        self.line.waiting += data
        self.step(step_us)
        self.session.on_tick(self.monotonic.now_us(), self.wall.now_us())

    def packet(self, ticks: int, nal: bytes, *, marker: bool = False) -> bytes:
        head = struct.pack(
            "!BBHII", 0x80, 96 | marker << 7, self.sequence & 0xFFFF, ticks & 0xFFFFFFFF, 7
        )
        self.sequence += 1
        return struct.pack("!BBH", 0x24, 0, len(head) + len(nal)) + head + nal

    def frame(self, number: int, base: int, *, size: int = 50, group: int = 50) -> bytes:
        """Frame ``number`` of a stream that begins at ``base``."""
        ticks = base + number * FRAME_TICKS
        if number % group:
            return self.packet(ticks, b"\x41\x9a" + b"\xaa" * size, marker=True)
        sets = self.packet(ticks, SPS) + self.packet(ticks, PPS)
        return sets + self.packet(ticks, b"\x65\x88" + b"\xaa" * size, marker=True)

    def play(self, frames: int, base: int) -> None:
        for number in range(frames):
            self.tick(self.frame(number, base))
