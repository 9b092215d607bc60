"""The RTSP client as a state machine without I/O (RFC 2326 appendix A.1).

Order: OPTIONS, DESCRIBE, SETUP of the one video track (interleaved over this connection), PLAY;
then keep-alives until TEARDOWN. Sound is never set up. The caller moves bytes::

    client = RtspClient(parse("rtsp://host/path"), Authenticator("user", "secret"))
    client.start()
    send(client.take_output())
    position = client.consume(buffer, start, end)    # stops at "$" and at a partial message
    for event in client.take_events(): ...           # Prepared | Playing | Redirected | Failed
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from vigie.ingest.engine import EndCause
from vigie.ingest.rtsp import sdp
from vigie.ingest.rtsp.address import Address, Scrubber, join_control, resolve_redirect
from vigie.ingest.rtsp.auth import Authenticator
from vigie.ingest.rtsp.events import Event, Failed, Playing, Prepared, Redirected
from vigie.ingest.rtsp.message import (
    Buffer,
    Request,
    Response,
    read_message,
    write_request,
    write_response,
)
from vigie.ingest.rtsp.transport import (
    DEFAULT_TIMEOUT_SECONDS,
    Transport,
    keep_alive_seconds,
    parse_methods,
    parse_session,
    parse_transport,
)

USER_AGENT: Final = "Vigie"
INTERLEAVED_MARK: Final = 0x24  # "$" (RFC 2326 section 10.12)
_REQUESTED_CHANNEL: Final = 0
_MAX_ATTEMPTS: Final = 4
_REDIRECTS: Final = frozenset({301, 302, 303, 305, 307, 308})
_NOT_IMPLEMENTED: Final = frozenset({400, 404, 405, 451, 455, 500, 501, 551})
_UNAUTHORIZED: Final = 401
_INVALID_RANGE: Final = 457
_SESSION_NOT_FOUND: Final = 454
_CAUSES: Final = {
    401: EndCause.CREDENTIALS_REFUSED,
    403: EndCause.CREDENTIALS_REFUSED,
    407: EndCause.CREDENTIALS_REFUSED,
    406: EndCause.STREAM_UNSUPPORTED,
    415: EndCause.STREAM_UNSUPPORTED,
    461: EndCause.STREAM_UNSUPPORTED,
    454: EndCause.CLOSED_BY_CAMERA,
}


@dataclass(slots=True)
class _Pending:
    method: str
    uri: str
    fields: list[tuple[str, str]]
    handler: Callable[[Response], None]
    attempts: int = 1
    was_authorized: bool = False


@dataclass(slots=True)
class _Setup:
    """What the answers so far have told."""

    methods: frozenset[str] = frozenset()
    server: str = ""
    base: str = ""
    has_audio: bool = False
    track: sdp.VideoTrack | None = None
    transport: Transport | None = None
    session: str = ""
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS
    is_playing: bool = False
    keep_alive_method: str = "OPTIONS"
    events: list[Event] = field(default_factory=list)


class RtspClient:
    """One conversation with one camera over one connection.

    Args:
        address: where; its ``uri`` holds no credentials.
        authenticator: the credentials of this connection.
        scrub: makes text of the camera fit for logs.
    """

    def __init__(
        self, address: Address, authenticator: Authenticator, scrub: Scrubber | None = None
    ) -> None:
        self._address = address
        self._authenticator = authenticator
        self._scrub = scrub or Scrubber()
        self._output = bytearray()
        self._pending: dict[int, _Pending] = {}
        self._cseq = 0
        self._is_over = False
        self._known = _Setup(base=address.uri)

    # --- what the caller moves -----------------------------------------------------------------

    def start(self) -> None:
        """Begin: OPTIONS."""
        self._send("OPTIONS", self._address.uri, [], self._on_options)

    def consume(self, buffer: Buffer, start: int, end: int, *, paused: bool = False) -> int:
        """Read messages from ``buffer[start:end]``; ``paused``: nothing more came for a while.

        Returns:
            Where it stopped: at interleaved data (``$``), at a partial message, or at ``end``.

        Raises:
            RtspError: what came is no RTSP, or the camera refuses in a way that ends everything.
        """
        position = start
        while position < end and not self._is_over:
            byte = buffer[position]
            if byte in {0x0D, 0x0A}:  # blank lines between messages (RFC 2326 section 4)
                position += 1
                continue
            if byte == INTERLEAVED_MARK:
                break
            found = read_message(buffer, position, end, paused=paused)
            if found is None:
                break
            message, position = found
            if isinstance(message, Response):
                self._on_response(message)
            else:
                self._on_request(message)
        return position

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._known.events = self._known.events, []
        return events

    @property
    def has_events(self) -> bool:
        """Whether something happened since the last `take_events`."""
        return bool(self._known.events)

    @property
    def has_output(self) -> bool:
        """Whether there is something to send."""
        return bool(self._output)

    def take_output(self) -> bytes:
        """Bytes to send, in order."""
        output = bytes(self._output)
        self._output.clear()
        return output

    @property
    def is_playing(self) -> bool:
        """Whether PLAY was accepted."""
        return self._known.is_playing

    @property
    def waits_for(self) -> str:
        """The method whose answer is awaited; empty when none is."""
        return next((pending.method for pending in self._pending.values()), "")

    def keep_alive(self) -> None:
        """Tell the camera that we are still there, with a method it supports."""
        if not self._known.is_playing or self._is_over:
            return
        # One at a time: a camera that never answers them must not make the table grow.
        self._pending.clear()
        self._send(self._known.keep_alive_method, self._known.base, [], self._on_keep_alive)

    def teardown(self) -> None:
        """Ask the camera to free the session; no answer is awaited."""
        if self._known.session and not self._is_over:
            self._send("TEARDOWN", self._known.base, [], lambda _: None)

    # --- sending -------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        uri: str,
        fields: list[tuple[str, str]],
        handler: Callable[[Response], None],
    ) -> None:
        self._transmit(_Pending(method, uri, fields, handler))

    def _transmit(self, pending: _Pending) -> None:
        self._cseq += 1
        fields = [("User-Agent", USER_AGENT), *pending.fields]
        if self._known.session:
            fields.append(("Session", self._known.session))
        authorization = self._authenticator.authorization(pending.method, pending.uri)
        if authorization is not None:
            fields.append(("Authorization", authorization))
        pending.was_authorized = authorization is not None
        self._pending[self._cseq] = pending
        self._output += write_request(pending.method, pending.uri, self._cseq, fields)

    # --- receiving -----------------------------------------------------------------------------

    def _on_response(self, response: Response) -> None:
        if response.status < 200:  # noqa: PLR2004 - provisional (RFC 2326 section 7.1.1)
            return
        pending = self._match(response)
        if pending is None:
            return
        self._known.server = self._known.server or self._scrub(response.headers.get("Server") or "")
        if response.status == _UNAUTHORIZED:
            self._on_unauthorized(pending, response)
        elif response.status in _REDIRECTS and not self._known.is_playing:
            self._redirect(response.headers.get("Location"))
        else:
            if pending.was_authorized:
                self._authenticator.accepted()
            pending.handler(response)

    def _match(self, response: Response) -> _Pending | None:
        text = response.headers.get("CSeq") or ""
        if text.isascii() and text.isdigit():
            return self._pending.pop(int(text[:9]), None)
        # Without number it answers the oldest question; cameras that omit it answer in order.
        oldest = next(iter(self._pending), None)
        return None if oldest is None else self._pending.pop(oldest)

    def _on_unauthorized(self, pending: _Pending, response: Response) -> None:
        again = self._authenticator.challenged(response.headers.all("WWW-Authenticate"))
        if again and pending.attempts < _MAX_ATTEMPTS:
            pending.attempts += 1
            self._transmit(pending)
        elif self._authenticator.has_credentials:
            self._fail(
                EndCause.CREDENTIALS_REFUSED, f"user or password refused at {pending.method}"
            )
        else:
            self._fail(
                EndCause.CREDENTIALS_REFUSED, f"user and password are asked for at {pending.method}"
            )

    def _on_request(self, request: Request) -> None:
        """Answer what the camera asks; several probe their clients with OPTIONS."""
        cseq = request.headers.get("CSeq")
        known = {"OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "ANNOUNCE", "REDIRECT", "TEARDOWN"}
        if request.method not in known:
            self._output += write_response(501, "Not Implemented", _digits(cseq), [])
            return
        fields = [("Public", "OPTIONS, GET_PARAMETER")] if request.method == "OPTIONS" else []
        self._output += write_response(200, "OK", _digits(cseq), fields)
        if request.method == "REDIRECT":
            self._redirect(request.headers.get("Location"))
        elif request.method == "TEARDOWN":
            self._fail(EndCause.CLOSED_BY_CAMERA, "the camera ended the session")

    def _redirect(self, location: str | None) -> None:
        if location is None:
            self._fail(EndCause.STREAM_UNSUPPORTED, "redirected without saying where")
            return
        target = resolve_redirect(self._address, location)
        self._is_over = True
        self._known.events.append(Redirected(target))

    def _fail(self, cause: EndCause, detail: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._known.events.append(Failed(cause, detail))

    def _refuse(self, method: str, response: Response) -> None:
        cause = _CAUSES.get(response.status, EndCause.CAMERA_UNREACHABLE)
        reason = f" {self._scrub(response.reason)}" if response.reason else ""
        self._fail(cause, f"{method} answered {response.status}{reason}")

    # --- the steps -----------------------------------------------------------------------------

    def _on_options(self, response: Response) -> None:
        if _is_success(response):
            self._known.methods = parse_methods(response.headers.all("Public"))
        elif response.status not in _NOT_IMPLEMENTED:
            self._refuse("OPTIONS", response)
            return
        self._send(
            "DESCRIBE", self._address.uri, [("Accept", "application/sdp")], self._on_describe
        )

    def _on_describe(self, response: Response) -> None:
        if not _is_success(response):
            self._refuse("DESCRIBE", response)
            return
        headers = response.headers
        base = headers.get("Content-Base") or headers.get("Content-Location") or ""
        description = sdp.parse(response.body)
        track = sdp.choose_video(description)
        self._known.track = track
        self._known.has_audio = description.has_audio
        described = base if base.lower().startswith(("rtsp://", "rtsps://")) else self._address.uri
        described = join_control(described, "*")
        self._known.base = join_control(described, description.control)
        transport = f"RTP/AVP/TCP;unicast;interleaved={_REQUESTED_CHANNEL}-{_REQUESTED_CHANNEL + 1}"
        control = _without_user(join_control(self._known.base, track.control))
        self._known.base = _without_user(self._known.base)
        self._send("SETUP", control, [("Transport", transport)], self._on_setup)

    def _on_setup(self, response: Response) -> None:
        if not _is_success(response):
            self._refuse("SETUP", response)
            return
        transport = parse_transport(response.headers.get("Transport"), _REQUESTED_CHANNEL)
        if not transport.is_interleaved:
            self._fail(EndCause.STREAM_UNSUPPORTED, "the camera insists on UDP")
            return
        assert self._known.track is not None
        self._known.transport = transport
        self._known.events.append(Prepared(self._known.track, transport))
        session, timeout = parse_session(response.headers.get("Session"))
        self._known.session = "".join(c for c in session if c.isprintable())
        self._known.timeout_seconds = timeout
        self._send("PLAY", self._known.base, [("Range", "npt=0.000-")], self._on_play)

    def _on_play(self, response: Response) -> None:
        if response.status == _INVALID_RANGE:
            self._send("PLAY", self._known.base, [], self._on_bare_play)
            return
        self._on_bare_play(response)

    def _on_bare_play(self, response: Response) -> None:
        if not _is_success(response):
            self._refuse("PLAY", response)
            return
        known = self._known
        assert known.track is not None
        assert known.transport is not None
        known.is_playing = True
        if "GET_PARAMETER" in known.methods:
            known.keep_alive_method = "GET_PARAMETER"
        interval = keep_alive_seconds(known.timeout_seconds)
        known.events.append(
            Playing(known.track, known.transport, known.server, known.has_audio, interval)
        )

    def _on_keep_alive(self, response: Response) -> None:
        if response.status == _SESSION_NOT_FOUND:
            self._fail(EndCause.CLOSED_BY_CAMERA, "the camera has forgotten the session")
        elif not _is_success(response) and self._known.keep_alive_method != "OPTIONS":
            self._known.keep_alive_method = "OPTIONS"
            self.keep_alive()


def _is_success(response: Response) -> bool:
    return 200 <= response.status < 300  # noqa: PLR2004 - the class of success (RFC 2326 section 7.1.1)


def _digits(text: str | None) -> str | None:
    return text if text is not None and text.isascii() and text.isdigit() else None


def _without_user(uri: str) -> str:
    """The address without user information, and without what would break a request line."""
    scheme, separator, rest = uri.partition("://")
    authority, slash, path = rest.partition("/")
    bare = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    return "".join(c for c in bare if c.isprintable() and c != " ")
