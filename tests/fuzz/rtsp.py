"""What a camera sends before and between the media: messages, descriptions, challenges."""

from typing import Final
from urllib.parse import quote

from fuzz.draw import Draw
from fuzz.target import Target, promise
from integration.ingest_engine.sinks import RecordingSink
from unit.ingest.rtsp.transcript import SDP, response
from vigie.ingest.native.reception import Reception
from vigie.ingest.rtsp import auth, sdp
from vigie.ingest.rtsp.address import (
    DEFAULT_PORTS,
    Address,
    Scrubber,
    join_control,
    parse,
    resolve_redirect,
    show,
)
from vigie.ingest.rtsp.auth import Authenticator, parse_challenges
from vigie.ingest.rtsp.client import RtspClient
from vigie.ingest.rtsp.errors import MalformedMessageError, RtspError
from vigie.ingest.rtsp.events import Failed, Playing, Redirected
from vigie.ingest.rtsp.message import MAX_BODY_BYTES, MAX_HEADER_BYTES, read_message
from vigie.media.gop import Limits

PASSWORD: Final = "p4ss-W0rd!"
_MOST_OUTPUT: Final = 200  # bytes sent for a byte received, at most, beside what a request takes
_WORDS: Final = (
    b"RTSP/1.0 200 OK\r\n", b"RTSP/1.0 401 Unauthorized\r\n", b"RTSP/1.0 302 Moved\r\n",
    b"CSeq: ", b"CSeq: 1\r\n", b"CSeq: 2\r\n", b"CSeq: 3\r\n", b"CSeq: 4\r\n", b"\r\n\r\n",
    b"Content-Length: ", b"Content-Type: application/sdp\r\n", b"Content-Base: rtsp://",
    b"Location: rtsp://192.0.2.9/x\r\n", b"Session: 4711;timeout=60\r\n", b"Public: ",
    b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", b"OPTIONS * RTSP/1.0\r\n",
    b'WWW-Authenticate: Digest realm="r", nonce="n"\r\n',
    b'WWW-Authenticate: Basic realm="r"\r\n',
    b"stale=true", b'qop="auth"', b"algorithm=SHA-256-sess", b"m=video 0 RTP/AVP 96\r\n",
    b"a=rtpmap:96 H264/90000\r\n", b"a=rtpmap:96 H265/90000\r\n", b"a=control:", b"a=fmtp:96 ",
    b"sprop-parameter-sets=", b"packetization-mode=2", b"rtsp://", b"rtsps://", b"[::1]", b"@",
)  # fmt: skip


# --- messages ----------------------------------------------------------------------------------


def _messages(data: bytes) -> None:
    """Messages that come at once, and the first of them that comes in two pieces."""
    paused, cut = bool(data[:1] and data[0] & 1), data[1] if len(data) > 1 else 0
    buffer, position = data[2:], 0
    first = None
    while position < len(buffer):
        found = read_message(buffer, position, len(buffer), paused=paused)
        if found is None:
            break
        promise(position < found[1] <= len(buffer), "reading goes on, and within the buffer")
        first = first or found
        position = found[1]
    if first is not None and not paused and first[1] < MAX_HEADER_BYTES:
        end = cut * first[1] // 256
        early = _attempt(buffer, end)
        promise(
            early is None or (early[1] <= end and _same(early, first)),
            "a message that comes in pieces is the same message",
        )


def _attempt(buffer: bytes, end: int) -> tuple[object, int] | None:
    try:
        return read_message(buffer, 0, end) if end else None
    except MalformedMessageError as error:
        raise AssertionError(f"refused in pieces, taken whole: {error}") from None


def _same(one: tuple[object, int], other: tuple[object, int]) -> bool:
    return one[1] == other[1] and repr(one[0])[:20] == repr(other[0])[:20]


# --- the conversation --------------------------------------------------------------------------


class Talk:
    """A camera that says what the input makes it say."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.taken = 0
        self.sent = 0
        self.requests = 0
        self.scrub = Scrubber(PASSWORD)
        credentials = ("viewer", PASSWORD) if draw.flag() else ("", "")
        self.client = RtspClient(
            parse(draw.pick(("rtsp://192.0.2.7/live", "rtsps://cam.example:8322/a?b=1"))),
            Authenticator(*credentials, lambda: "c0ffee"),
            self.scrub,
        )
        self.client.start()
        self.buffer = b""
        self.cseq = 0
        self.is_over = False
        self.collect()

    def collect(self) -> None:
        output = self.client.take_output()
        self.sent += len(output)
        for text in output.decode().split("\r\n\r\n")[:-1]:
            self._check_sent(text)
        promise(not output or output.endswith(b"\r\n\r\n"), "what is sent are whole messages")
        events = self.client.take_events()
        for event in events:
            promise(PASSWORD not in repr(event), "no event shows the password")
            self.is_over |= isinstance(event, Failed | Redirected)
            if isinstance(event, Playing):
                promise(1 <= event.keep_alive_seconds <= 30, "keep-alives come in time")
                promise(0 <= event.transport.media_channel <= 255, "a channel is one byte")

    def _check_sent(self, text: str) -> None:
        lines = text.split("\r\n")
        promise(all(line.isprintable() for line in lines), "no control character is sent on")
        words = lines[0].split(" ")
        promise(len(words) == 3 or words[0] == "RTSP/1.0", f"a request line: {lines[0]!r}")
        if words[0] != "RTSP/1.0":
            self.requests += 1
            self.cseq = int(lines[1].removeprefix("CSeq: "))
        plain = [line for line in lines if not line.startswith("Authorization: Basic")]
        promise(not any(PASSWORD in line for line in plain), "the password is not sent in clear")

    def receive(self, data: bytes, *, paused: bool = False) -> None:
        self.taken += len(data)
        self.buffer += data
        while not self.is_over:
            before = len(self.buffer)
            position = self.client.consume(self.buffer, 0, before, paused=paused)
            promise(0 <= position <= before, "the position lies in the buffer")
            self.buffer = self.buffer[position:].removeprefix(b"$")  # media is not this target's
            self.collect()
            if len(self.buffer) == before or not self.buffer:
                break
        promise(len(self.buffer) <= MAX_HEADER_BYTES + MAX_BODY_BYTES + 4, "what waits is bounded")
        promise(len(self.client._pending) <= 3, "few requests are under way")
        limit = _MOST_OUTPUT * (self.taken + 100 * (self.requests + 10))
        promise(self.sent <= limit, "what is sent is in proportion")

    def answer(self) -> None:
        draw = self.draw
        status = draw.pick(_STATUS)
        headers = ""
        for _ in range(draw.below(5)):
            headers += draw.pick(_FIELDS) + draw.block().decode("latin-1") + "\r\n"
        body = draw.pick(("", SDP, SDP.replace("H264", "H265"), "x"))
        if body == "x":
            body = draw.block().decode("latin-1")
        cseq = draw.pick((self.cseq, self.cseq, self.cseq - 1, None))
        self.receive(response(cseq, status, headers, body, with_length=draw.flag()))


_STATUS: Final = (
    "200 OK", "200", "401 Unauthorized", "302 Moved", "404 Not Found", "454 Session Not Found",
    "457 Invalid Range", "500 x", "100 Continue",
)  # fmt: skip
_FIELDS: Final = (
    "Session: 4711", "Session: ", "Transport: RTP/AVP/TCP;interleaved=", "Content-Base: rtsp://",
    "Content-Location: ", "Location: ", "Location: rtsp://192.0.2.9/", "Public: GET_PARAMETER",
    "WWW-Authenticate: Basic realm=", 'WWW-Authenticate: Digest realm="r", nonce="n", ',
    "WWW-Authenticate: ", "Server: ", "Content-Type: application/sdp", "Content-Length: ", "",
)  # fmt: skip


def _conversation(data: bytes) -> None:
    talk = Talk(Draw(data))
    draw = talk.draw
    for _ in range(draw.below(4)):  # how far all goes well
        body = SDP if talk.client.waits_for == "DESCRIBE" else ""
        headers = "Transport: RTP/AVP/TCP;interleaved=0-1\r\nSession: 4711\r\n"
        talk.receive(response(talk.cseq, "200 OK", headers, body))
    while draw.more and not talk.is_over:
        step = draw.below(6)
        if step <= 2:
            talk.answer()
        elif step == 3:
            talk.receive(draw.block(), paused=draw.flag())
        elif step == 4:
            talk.client.keep_alive()
            talk.collect()
        else:
            talk.receive(
                f"{draw.pick(_METHODS)} * RTSP/1.0\r\n".encode() + draw.block() + b"\r\n\r\n"
            )
    talk.client.teardown()
    talk.collect()


_METHODS: Final = ("OPTIONS", "GET_PARAMETER", "ANNOUNCE", "REDIRECT", "TEARDOWN", "PLAY")


# --- descriptions, challenges, addresses -------------------------------------------------------


def _description(data: bytes) -> None:
    track = sdp.choose_video(sdp.parse(data))
    promise(0 <= track.payload_type <= 127, "a payload type has seven bits")
    promise(track.codec in {"h264", "h265"}, "only what can be recorded is chosen")
    Reception(track, RecordingSink(), Limits())


def _challenges(data: bytes) -> None:
    values = data.decode("utf-8", "replace").split("\n")
    challenges = parse_challenges(values)
    promise(len(challenges) <= auth._MAX_CHALLENGES, "challenges are bounded")
    authenticator = Authenticator("viewer", PASSWORD, lambda: "c0ffee")
    asked = 0
    for value in values[:8]:
        asked += authenticator.challenged([value])
        field = authenticator.authorization("DESCRIBE", "rtsp://192.0.2.7/live")
        promise((field is None) == (asked == 0), "an answer once there was a challenge")
        if field is not None:
            promise(field.isprintable(), "the answer is one line")
            promise(PASSWORD not in field, "the password is not in clear")


def _addresses(data: bytes) -> None:
    lines = data.decode("utf-8", "replace").split("\n", 2)
    text, control, other = [*lines, "", ""][:3]
    join_control(text, control)
    shown = Scrubber(PASSWORD)(f"{text} {PASSWORD}")
    promise(PASSWORD not in shown and shown.isprintable(), "shown on one line, without secrets")
    address = parse(text)
    _check_address(address)
    again = parse(address.uri)
    same = (again.host, again.port, again.secure) == (address.host, address.port, address.secure)
    promise(same and again.uri == address.uri, "an address is its own normal form")
    with_user = (
        f"{address.uri.split('://')[0]}://viewer:{quote(PASSWORD)}@{address.uri.split('://')[1]}"
    )
    promise(quote(PASSWORD) not in show(with_user), "user information is never shown")
    _check_address(parse(with_user))
    promise(parse(with_user).password == PASSWORD, "user information is taken off")
    target = resolve_redirect(address, other)
    _check_address(target)
    promise(target.secure or not address.secure, "no redirect leads out of TLS")


def _check_address(address: Address) -> None:
    authority = address.uri.split("://", 1)[1].split("/", 1)[0].split("?", 1)[0]
    promise("@" not in authority, "requests carry no user information")
    promise(0 < address.port < 65_536 and address.host, "somebody to connect to")
    promise(address.uri.isprintable() and " " not in address.uri, "fit for a request line")
    promise(address.uri.split(":")[0] in DEFAULT_PORTS, "of a known scheme")


TARGETS: Final = (
    Target("rtsp-message", _messages, (MalformedMessageError,), True, 4096, _WORDS),
    Target("rtsp-conversation", _conversation, (RtspError,), True, 2048, _WORDS),
    Target("sdp", _description, (RtspError,), True, 4096, _WORDS),
    Target("rtsp-challenge", _challenges, (), True, 4096, _WORDS),
    Target("rtsp-address", _addresses, (RtspError,), True, 1024, _WORDS),
)
