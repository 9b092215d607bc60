"""One RTSP connection: reads requests, answers as a camera (RFC 2326), starts and stops media."""

import asyncio
import re
import secrets
from collections.abc import Callable
from typing import Final, Protocol

from vigie.simcam.camera import Camera
from vigie.simcam.faults import Fault
from vigie.simcam.pacer import Pacer
from vigie.simcam.quirks import Quirk
from vigie.simcam.rtspmessage import (
    Interleaved,
    MessageReader,
    ProtocolViolationError,
    Request,
    build_response,
)
from vigie.simcam.sdp import AUDIO_TRACK, VIDEO_TRACK, describe
from vigie.simcam.stream import Stream

_INTERLEAVED: Final = re.compile(r"interleaved=(\d{1,3})-(\d{1,3})")
_RTCP_TYPES: Final = range(192, 224)
MOVED_PATH: Final = "moved"

Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]


class Host(Protocol):
    """What a connection needs of the server."""

    pacer: Pacer
    report_us: int
    backlog_limit: int

    def camera_of_path(self, path: str, port: int) -> Camera | None:
        """The camera a path (or the listening port) stands for."""
        ...

    def base_url(self, camera: Camera) -> str:
        """``rtsp://host:port/path`` of a camera."""
        ...

    def opened(self, connection: "Connection") -> None:
        """A connection exists."""
        ...

    def closed(self, connection: "Connection") -> None:
        """A connection is gone."""
        ...


class Connection(asyncio.Protocol):
    """See the module. One session a connection, as cameras do it."""

    def __init__(self, host: Host, monotonic_us: Callable[[], int]) -> None:
        self._host = host
        self._monotonic_us = monotonic_us
        self._reader = MessageReader()
        self._transport: asyncio.Transport | None = None
        self._port = 0
        self._address = "127.0.0.1"
        self.camera: Camera | None = None
        self.session: str | None = None
        self.stream: Stream | None = None
        self._starting: Stream | None = None
        self._channels: tuple[int, int] | None = None
        self.last_heard_us = 0

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # The server guards its memory itself; asyncio's own flow control would only add calls.
        transport.set_write_buffer_limits(high=1 << 30)
        self._address, self._port = transport.get_extra_info("sockname")[:2]
        self.last_heard_us = self._monotonic_us()
        self._host.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.end_session()
        self._transport = None
        self._host.closed(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.last_heard_us = self._monotonic_us()
        try:
            for message in self._reader.feed(data):
                if isinstance(message, Interleaved):
                    self._on_interleaved(message)
                else:
                    self._on_request(message)
        except ProtocolViolationError:
            self.write(build_response(400, None))
            self.finish()

    # --- Wire ---

    def write(self, data: bytes | bytearray) -> None:
        """See `Wire.write`."""
        # A lost connection is told only later: a burst into it would be a warning a packet.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def backlog_bytes(self) -> int:
        """See `Wire.backlog_bytes`."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def finish(self) -> None:
        """See `Wire.finish`."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """See `Wire.abort`."""
        if self._transport is not None:
            self._transport.abort()

    # --- session ---

    def end_session(self) -> None:
        """Forget the session; media stops, the connection stays."""
        if self.stream is not None:
            self.stream.stop()
        self.stream, self.session, self._channels = None, None, None

    def check_timeout(self, now_us: int) -> None:
        """Drop the connection when its session was silent for too long (RFC 2326, A.3)."""
        if self.camera is None or self.session is None:
            return
        if now_us - self.last_heard_us > self.camera.config.session_timeout_seconds * 1_000_000:
            self.end_session()
            self.finish()

    def _on_interleaved(self, frame: Interleaved) -> None:
        is_rtcp = len(frame.payload) >= 8 and frame.payload[1] in _RTCP_TYPES  # noqa: PLR2004 - RFC 3550, 6.4.2: header and SSRC
        if is_rtcp and self.camera is not None:
            self.camera.receiver_reports += 1

    def _on_request(self, request: Request) -> None:
        camera = self._host.camera_of_path(request.path, self._port) or self.camera
        if camera is None:
            status = 200 if request.method == "OPTIONS" else 404
            self._respond(request, (status, self._public() if status == 200 else [], b""))  # noqa: PLR2004 - RTSP status
            return
        self.camera = camera
        if Fault.UNREACHABLE in camera.active:
            self.abort()
        elif Fault.SILENT not in camera.active:
            slow = camera.active.get(Fault.SLOW_START)
            if slow is not None and request.method in ("DESCRIBE", "PLAY"):
                loop = asyncio.get_running_loop()
                loop.call_later(slow.parameters.seconds, self._answer, request, camera)
            else:
                self._answer(request, camera)

    def _respond(self, request: Request, answer: Answer) -> None:
        status, headers, body = answer
        if self._has(Quirk.LOWER_CASE_HEADERS):
            headers = [(name.lower(), value) for name, value in headers]
        data = build_response(status, request.headers.get("cseq"), headers, body)
        if self.stream is not None:
            self.stream.respond(data)
        else:
            self.write(data)

    def _has(self, quirk: Quirk) -> bool:
        return self.camera is not None and quirk in self.camera.config.quirks

    def _answer(self, request: Request, camera: Camera) -> None:
        if self._transport is None:
            return  # the viewer left during a slow start
        answer = self._refusal(request, camera) or self._dispatch(request, camera)
        self._respond(request, answer)
        starting, self._starting = self._starting, None
        if starting is not None:
            # After the response, as a client expects it.
            self._host.pacer.add(starting, camera.due_us(starting.next_decode))
        if request.method == "TEARDOWN" and answer[0] == 200:  # noqa: PLR2004 - RTSP status
            self.end_session()

    def _refusal(self, request: Request, camera: Camera) -> Answer | None:
        """The answer when faults or authentication stand in the way."""
        if Fault.UNAVAILABLE in camera.active:
            return 503, [], b""
        if Fault.NOT_FOUND in camera.active and request.method != "OPTIONS":
            return 404, [], b""
        if request.method != "OPTIONS" and camera.authenticator is not None:
            given = request.headers.get("authorization")
            accepted, challenges = camera.authenticator.check(request.method, given)
            if not accepted:
                return 401, [("WWW-Authenticate", value) for value in challenges], b""
        redirect = camera.active.get(Fault.REDIRECT)
        is_moved = request.path.endswith("/" + MOVED_PATH)
        if redirect is not None and request.method == "DESCRIBE" and not is_moved:
            target = redirect.parameters.location or f"{self._host.base_url(camera)}/{MOVED_PATH}"
            return 302, [("Location", target)], b""
        return None

    def _dispatch(self, request: Request, camera: Camera) -> Answer:
        handlers: dict[str, Callable[[Request, Camera], Answer]] = {
            "OPTIONS": lambda _request, _camera: (200, self._public(), b""),
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "PAUSE": self._pause,
            "GET_PARAMETER": self._keep_alive,
            "SET_PARAMETER": self._keep_alive,
            "TEARDOWN": self._in_session,
        }
        handler = handlers.get(request.method)
        return handler(request, camera) if handler is not None else (501, [], b"")

    def _public(self) -> Headers:
        methods = ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN"]
        if not self._has(Quirk.NO_GET_PARAMETER):
            methods += ["GET_PARAMETER", "SET_PARAMETER"]
        return [("Public", ", ".join(methods))]

    def _session_header(self, camera: Camera) -> Headers:
        if self._has(Quirk.NO_SESSION_TIMEOUT):
            return [("Session", f"{self.session}")]
        return [("Session", f"{self.session};timeout={camera.config.session_timeout_seconds}")]

    def _describe(self, request: Request, camera: Camera) -> Answer:
        base = self._host.base_url(camera)
        if request.path.endswith("/" + MOVED_PATH):
            base += "/" + MOVED_PATH
        body = describe(camera.prepared.footage, camera.config, self._address, base)
        headers = [("Content-Type", "application/sdp")]
        if not self._has(Quirk.NO_CONTENT_BASE):
            headers.insert(0, ("Content-Base", base + "/"))
        return 200, headers, body

    def _setup(self, request: Request, camera: Camera) -> Answer:
        transport = request.headers.get("transport", "")
        if "RTP/AVP/TCP" not in transport:
            return 461, [], b""
        given = request.headers.get("session", "").partition(";")[0]
        if given and given != self.session:
            return 454, [], b""
        match = _INTERLEAVED.search(transport)
        channels = (int(match[1]), int(match[2])) if match else (0, 1)
        if self._has(Quirk.OTHER_CHANNELS):
            channels = (channels[0] + 10, channels[1] + 10)
        if max(channels) > 255:  # noqa: PLR2004 - one byte, RFC 2326, 10.12
            return 461, [], b""
        if camera.config.has_audio and request.path.endswith(AUDIO_TRACK):
            camera.audio_setups += 1
        elif request.path.endswith(VIDEO_TRACK):
            self._channels = channels
        else:
            return 404, [], b""
        if self.session is None:
            self.session = secrets.token_hex(8)
        answer = f"RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]}"
        return 200, [*self._session_header(camera), ("Transport", answer)], b""

    def _play(self, request: Request, camera: Camera) -> Answer:
        refused = self._in_session(request, camera)
        if refused[0] != 200:  # noqa: PLR2004 - RTSP status
            return refused
        if self.stream is not None:
            return refused  # PLAY while playing: some clients keep a session alive with it
        if self._channels is None or self.session is None:
            return 455, [], b""
        host = self._host
        self.stream = self._starting = Stream(
            camera,
            self.session,
            self,
            channels=self._channels,
            report_us=host.report_us,
            backlog_limit=host.backlog_limit,
        )
        info = (
            f"url={host.base_url(camera)}/{VIDEO_TRACK};seq={self.stream.sequence}"
            f";rtptime={self.stream.first_timestamp}"
        )
        headers = [*self._session_header(camera), ("Range", "npt=now-")]
        if not self._has(Quirk.NO_RTP_INFO):
            headers.append(("RTP-Info", info))
        return 200, headers, b""

    def _pause(self, request: Request, camera: Camera) -> Answer:
        answer = self._in_session(request, camera)
        if answer[0] == 200 and self.stream is not None:  # noqa: PLR2004 - RTSP status
            self.stream.stop()
            self.stream = None
        return answer

    def _keep_alive(self, request: Request, camera: Camera) -> Answer:
        if self._has(Quirk.NO_GET_PARAMETER):
            return 501, [], b""
        return self._in_session(request, camera)

    def _in_session(self, request: Request, camera: Camera) -> Answer:
        given = request.headers.get("session", "").partition(";")[0]
        if self.session is None or given != self.session:
            return 454, [], b""
        return 200, self._session_header(camera), b""
