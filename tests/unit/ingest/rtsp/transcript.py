"""Plays the camera's side of a conversation against the state machine."""

from dataclasses import dataclass, field

from vigie.ingest.rtsp.address import Address, Scrubber, parse
from vigie.ingest.rtsp.auth import Authenticator
from vigie.ingest.rtsp.client import RtspClient
from vigie.ingest.rtsp.events import Event

SDP = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=Live\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n"
)


def response(
    cseq: int | None,
    status: str = "200 OK",
    headers: str = "",
    body: str = "",
    *,
    with_length: bool = True,
) -> bytes:
    lines = f"RTSP/1.0 {status}\r\n"
    lines += f"CSeq: {cseq}\r\n" if cseq is not None else ""
    lines += headers
    if body and with_length:
        lines += f"Content-Length: {len(body)}\r\n"
    if body and "ontent-" + "type" not in headers.lower():
        lines += "Content-Type: application/sdp\r\n"
    return (lines + "\r\n" + body).encode()


@dataclass
class Conversation:
    """The client, what it sent last, and what happened."""

    uri: str = "rtsp://192.0.2.7/live"
    username: str = ""
    password: str = ""
    events: list[Event] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.address: Address = parse(self.uri)
        authenticator = Authenticator(self.username, self.password, lambda: "c0ffee")
        self.client = RtspClient(self.address, authenticator, Scrubber(self.password))
        self.client.start()
        self._collect()

    def _collect(self) -> None:
        output = self.client.take_output().decode()
        self.sent += [text for text in output.split("\r\n\r\n") if text]
        self.events += self.client.take_events()

    def receive(self, data: bytes, *, paused: bool = False) -> int:
        """Hand bytes over; how many were taken."""
        taken = self.client.consume(data, 0, len(data), paused=paused)
        self._collect()
        return taken

    def answer(
        self,
        status: str = "200 OK",
        headers: str = "",
        body: str = "",
        *,
        with_length: bool = True,
    ) -> None:
        """Answer the request sent last."""
        self.receive(response(self.cseq, status, headers, body, with_length=with_length))

    @property
    def cseq(self) -> int:
        return int(self.field("CSeq") or "0")

    @property
    def last(self) -> str:
        """The request line sent last."""
        return self.sent[-1].split("\r\n")[0]

    def field(self, name: str) -> str | None:
        """A header field of the request sent last."""
        for line in self.sent[-1].split("\r\n")[1:]:
            found, _, value = line.partition(": ")
            if found.lower() == name.lower():
                return value
        return None

    def until_describe(self, options_headers: str = "Public: DESCRIBE, GET_PARAMETER\r\n") -> None:
        self.answer(headers=options_headers)

    def until_setup(self, body: str = SDP, headers: str = "") -> None:
        self.until_describe()
        self.answer(headers=headers, body=body)

    def until_play(self, transport: str = "RTP/AVP/TCP;unicast;interleaved=0-1") -> None:
        self.until_setup()
        self.answer(headers=f"Transport: {transport}\r\nSession: 4711;timeout=60\r\n")

    def until_playing(self, options_headers: str = "Public: GET_PARAMETER\r\n") -> None:
        self.until_describe(options_headers)
        self.answer(body=SDP)
        self.answer(
            headers="Transport: RTP/AVP/TCP;interleaved=0-1\r\nSession: 4711;timeout=60\r\n"
        )
        self.answer()
