"""Whatever bytes come, the parsers answer or raise their own errors, and quickly."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from long_forms import examples
from unit.ingest.rtsp.transcript import SDP, Conversation, response
from vigie.ingest.engine import SourceSpec
from vigie.ingest.rtsp import sdp
from vigie.ingest.rtsp.address import (
    Scrubber,
    join_control,
    parse,
    resolve_redirect,
    scrubber_for,
    show,
)
from vigie.ingest.rtsp.auth import Authenticator, parse_challenges
from vigie.ingest.rtsp.errors import RtspError
from vigie.ingest.rtsp.message import Response, read_message
from vigie.ingest.rtsp.transport import parse_session, parse_transport

CHALLENGE = 'WWW-Authenticate: Digest realm="cam", nonce="n1", qop="auth", algorithm=SHA-256\r\n'
SEEDS = [
    response(1, headers="Public: DESCRIBE, GET_PARAMETER\r\n"),
    response(2, "401 Unauthorized", CHALLENGE),
    response(3, headers="Content-Base: rtsp://192.0.2.7/live/\r\n", body=SDP),
    response(3, body=SDP, with_length=False),
    response(4, headers="Transport: RTP/AVP/TCP;interleaved=0-1\r\nSession: 1;timeout=60\r\n"),
    response(5, headers="RTP-Info: url=rtsp://192.0.2.7/live;seq=1;rtptime=2\r\n"),
    response(2, "302 Found", "Location: rtsp://192.0.2.8/other\r\n"),
    b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    b"ANNOUNCE rtsp://x RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\nabcd",
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A transcript with bytes changed, removed, doubled and cut."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=6))))
    for _ in range(draw(st.integers(0, 8))):
        if not data:
            break
        position = draw(st.integers(0, len(data) - 1))
        action = draw(st.integers(0, 3))
        if action == 0:
            data[position] = draw(st.integers(0, 255))
        elif action == 1:
            del data[position : position + draw(st.integers(1, 30))]
        elif action == 2:
            data[position:position] = data[position : position + draw(st.integers(1, 60))]
        else:
            data[position:position] = draw(st.binary(max_size=20))
    return bytes(data)


@settings(max_examples=examples(150), deadline=None)
@given(data=damaged() | st.binary(max_size=300), step=st.integers(1, 200))
@example(data=b"RTSP/1.0 200 OK\r\n\r\n" * 50, step=7)
def test_a_conversation_survives_anything(data: bytes, step: int) -> None:
    talk = Conversation(username="u", password="geheim")
    kept = b""
    try:
        for start in range(0, len(data), step):
            kept += data[start : start + step]
            while kept:
                taken = talk.receive(kept)
                kept = kept[taken:]
                if not taken and kept[:1] == b"$":
                    kept = kept[1:]
                elif not taken:
                    break
        talk.receive(kept, paused=True)
    except RtspError as error:
        assert "geheim" not in str(error)  # noqa: PT017 - an error is allowed, not required
    assert not any("geheim" in request for request in talk.sent if "Basic" not in request)


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=500) | st.text(max_size=300).map(lambda text: ("v=0\n" + text).encode()))
def test_descriptions_are_read_or_refused(body: bytes) -> None:
    try:
        track = sdp.choose_video(sdp.parse(body))
    except RtspError:
        return
    assert track.codec in {"h264", "h265"}
    assert 0 <= track.payload_type <= 999


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=200))
def test_small_parsers_take_any_text(text: str) -> None:
    parse_challenges([text])
    Authenticator("u", "geheim").challenged([text])
    transport = parse_transport(text, 0)
    assert 0 <= transport.media_channel <= 255
    assert 0 <= transport.control_channel <= 255
    assert transport.media_channel != transport.control_channel
    assert 2 <= parse_session(text)[1] <= 3600
    assert Scrubber("geheim")(text).isprintable()
    join_control("rtsp://host/path", text)
    for attempt in (lambda: parse(text), lambda: resolve_redirect(parse("rtsp://h/"), text)):
        try:
            attempt()
        except RtspError as error:
            assert "geheim" not in str(error)  # noqa: PT017 - an error is allowed, not required


def test_formats_of_a_real_description() -> None:
    body = (
        "v=0\no=- 0 0 IN IP4 0.0.0.0\ns=Media\nc=IN IP4 0.0.0.0\nb=AS:5050\nt=0 0\n"
        "a=range:npt=0-\na=control:rtsp://192.0.2.7/axis?x=1\n"
        "m=application 0 RTP/AVP 107\na=rtpmap:107 vnd.onvif.metadata/90000\na=control:meta\n"
        "m=video 0 RTP/AVP 26 98\na=rtpmap:98 H265/90000\n"
        "a=fmtp:98 sprop-vps=QAE=; sprop-sps=QgE= ;sprop-pps=RAE==\na=control:video\n"
        "m=audio 0 RTP/AVP 0\na=control:sound\n"
    )
    description = sdp.parse(body.encode())
    assert description.control == "rtsp://192.0.2.7/axis?x=1"
    assert description.has_audio
    assert sdp.choose_video(description) == sdp.VideoTrack(
        "h265", 98, "video", {"sprop-vps": "QAE=", "sprop-sps": "QgE=", "sprop-pps": "RAE=="}
    )


def test_addresses_are_taken_apart() -> None:
    address = parse("rtsps://us%40er:p%3Aw@[2001:db8::1]:9000/a/b?c=d#e")
    assert address.uri == "rtsps://[2001:db8::1]:9000/a/b?c=d"
    assert (address.host, address.port, address.secure) == ("2001:db8::1", 9000, True)
    assert (address.username, address.password) == ("us@er", "p:w")
    assert parse("rtsp://h").port == 554
    assert parse("RTSPS://h").port == 322
    for bad in ("http://h/", "rtsp:///x", "rtsp://h:99999/", "rtsp://h:0/", "rtsp://h/a b", ""):
        with pytest.raises(RtspError):
            parse(bad)


def test_secrets_in_addresses_are_hidden() -> None:
    assert show("at rtsp://u:p@h/x?user=u&password=p now") == "at rtsp://…@h/x?… now"
    assert Scrubber("p4ss")("a p4ss\r\nX: p4ss") == "a …  X: …"
    assert len(Scrubber()("x" * 1000)) == 160


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http"])
def test_a_password_that_stands_only_in_the_address_is_not_shown(scheme: str) -> None:
    """The engine of other streams than RTSP takes them out by the same."""
    scrub = scrubber_for(SourceSpec("cam-a", f"{scheme}://root:p%C3%A4ss%2Fword@192.0.2.1/x"))
    for quoted in ("p%C3%A4ss%2Fword", "päss/word", "p%c3%a4ss%2fword", "p%C3%A4ss/word"):
        assert scrub(f"no: {quoted}!") == "no: …!"


def test_a_message_is_read_with_its_body() -> None:
    found = read_message(SEEDS[2] + b"rest", 0, len(SEEDS[2]) + 4)
    assert found is not None
    message, end = found
    assert isinstance(message, Response)
    assert message.body.decode() == SDP
    assert end == len(SEEDS[2])


class CountedBuffer(bytearray):
    """Counts the bytes that are taken out of it."""

    taken = 0

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        self.taken += len(found) if isinstance(index, slice) else 1
        return found


@pytest.mark.parametrize("garbage", [b"x", b"RTSP/1.1 \n", b"RTSP/x\r\n", b"GET /x HTTP/1.0\r\n"])
def test_what_is_no_message_is_told_by_its_beginning(garbage: bytes) -> None:
    # While a camera plays this is asked wherever no packet begins, with much behind it.
    buffer = CountedBuffer(garbage + b"$\0" * 20_000 + b"\r\n\r\n")
    with pytest.raises(RtspError):
        read_message(buffer, 0, len(buffer))
    assert buffer.taken < 100


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_a_message_is_read_whatever_came_of_it_before(line_end: str) -> None:
    message = line_end.join(("RTSP/1.0 200 OK", "CSeq: 7", "Public: A", " B", "", "")).encode()
    for length in range(1, len(message)):
        assert read_message(message[:length] + b"??", 0, length) is None
    found = read_message(b"..." + message + b"$", 3, 4 + len(message))
    assert found is not None
    assert found[1] == 3 + len(message)
    assert isinstance(found[0], Response)
    assert (found[0].status, found[0].headers.get("Public")) == (200, "A B")


def test_a_first_line_without_end_is_no_message() -> None:
    endless = b"GET_PARAMETER " + b"x" * 5000
    assert read_message(endless, 0, 4000) is None
    with pytest.raises(RtspError):
        read_message(endless, 0, len(endless))
