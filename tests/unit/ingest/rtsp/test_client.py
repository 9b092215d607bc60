"""Conversations with cameras as they are, not as RFC 2326 would have them."""

import pytest

from unit.ingest.rtsp.transcript import SDP, Conversation, response
from vigie.ingest.engine import EndCause
from vigie.ingest.rtsp.errors import MalformedMessageError, RtspError
from vigie.ingest.rtsp.events import Failed, Playing, Prepared, Redirected


def test_an_orderly_conversation_sets_up_the_video_track_only() -> None:
    talk = Conversation()
    assert talk.last == "OPTIONS rtsp://192.0.2.7/live RTSP/1.0"
    talk.until_describe()
    assert talk.last == "DESCRIBE rtsp://192.0.2.7/live RTSP/1.0"
    assert talk.field("Accept") == "application/sdp"
    sound = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000\r\na=control:trackID=2\r\n"
    head, _, video = SDP.partition("m=video")
    talk.answer(headers="Server: Cam/1.2\r\n", body=f"{head}{sound}m=video{video}")
    assert talk.last == "SETUP rtsp://192.0.2.7/live/trackID=1 RTSP/1.0"
    assert talk.field("Transport") == "RTP/AVP/TCP;unicast;interleaved=0-1"
    talk.answer(headers="Transport: RTP/AVP/TCP;interleaved=0-1\r\nSession: 47\r\n")
    assert isinstance(talk.events[0], Prepared)
    assert talk.last == "PLAY rtsp://192.0.2.7/live RTSP/1.0"
    assert talk.field("Session") == "47"
    talk.answer(headers="Range: npt=0-\r\n")
    playing = talk.events[1]
    assert isinstance(playing, Playing)
    assert playing.server == "Cam/1.2"
    assert playing.has_audio
    assert playing.keep_alive_seconds == 30
    assert not any("trackID=2" in request for request in talk.sent)


@pytest.mark.parametrize(
    ("base_header", "control", "session_control", "setup", "play"),
    [
        ("", "trackID=1", "", "rtsp://192.0.2.7/live/trackID=1", "rtsp://192.0.2.7/live"),
        (
            "Content-Base: rtsp://192.0.2.7/live/\r\n",
            "trackID=1",
            "*",
            "rtsp://192.0.2.7/live/trackID=1",
            "rtsp://192.0.2.7/live/",
        ),
        (
            "content-location: rtsp://192.0.2.7/other\r\n",
            "video",
            "",
            "rtsp://192.0.2.7/other/video",
            "rtsp://192.0.2.7/other",
        ),
        (
            "",
            "rtsp://192.0.2.7:554/live/track1",
            "rtsp://192.0.2.7:554/live/",
            "rtsp://192.0.2.7:554/live/track1",
            "rtsp://192.0.2.7:554/live/",
        ),
        ("", "/live/trackID=1", "*", "rtsp://192.0.2.7/live/trackID=1", "rtsp://192.0.2.7/live"),
        ("", "/video", "", "rtsp://192.0.2.7/live/video", "rtsp://192.0.2.7/live"),
        ("", "", "", "rtsp://192.0.2.7/live", "rtsp://192.0.2.7/live"),
        (
            "",
            "rtsp://root:pass@192.0.2.7/live/track1",
            "",
            "rtsp://192.0.2.7/live/track1",
            "rtsp://192.0.2.7/live",
        ),
        (
            "Content-Base: 192.0.2.7\r\n",
            "t",
            "",
            "rtsp://192.0.2.7/live/t",
            "rtsp://192.0.2.7/live",
        ),
    ],
)
def test_control_addresses(
    *, base_header: str, control: str, session_control: str, setup: str, play: str
) -> None:
    talk = Conversation()
    body = SDP.replace("a=control:trackID=1", f"a=control:{control}")
    if session_control:
        body = body.replace("t=0 0", f"t=0 0\r\na=control:{session_control}")
    talk.until_setup(body, base_header)
    assert talk.last == f"SETUP {setup} RTSP/1.0"
    talk.answer(headers="Session: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n")
    assert talk.last == f"PLAY {play} RTSP/1.0"


def test_a_query_stays_in_front_of_the_control() -> None:
    talk = Conversation(uri="rtsp://192.0.2.7:8554/cam/monitor?channel=1&subtype=0")
    talk.until_setup(SDP.replace("trackID=1", "trackID=0"))
    uri = "rtsp://192.0.2.7:8554/cam/monitor?channel=1&subtype=0/trackID=0"
    assert talk.last == f"SETUP {uri} RTSP/1.0"


@pytest.mark.parametrize(
    ("session", "identifier", "keep_alive"),
    [
        ("Session: 12345678", "12345678", 30),
        ("Session: abc;timeout=10", "abc", 5),
        ("session:abc ; timeout = 20", "abc", 10),
        ("Session: abc;timeout=0", "abc", 1),
        ("Session: abc;timeout=nonsense", "abc", 30),
        ("Session: abc;timeout=99999", "abc", 30),
        ("X: y", None, 30),
    ],
)
def test_sessions_and_their_timeout(session: str, identifier: str, keep_alive: float) -> None:
    talk = Conversation()
    talk.until_setup()
    talk.answer(headers=f"{session}\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n")
    assert talk.field("Session") == identifier
    talk.answer()
    playing = talk.events[-1]
    assert isinstance(playing, Playing)
    assert playing.keep_alive_seconds == keep_alive


@pytest.mark.parametrize(
    ("transport", "channels"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=0-1", (0, 1)),
        ("RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=DEADBEEF", (4, 5)),
        ("RTP/AVP/TCP;interleaved=2", (2, 3)),
        ("RTP/AVP/TCP", (0, 1)),
        ("RTP/AVP;unicast;interleaved=6-6", (6, 7)),
        ("rtp/avp/tcp;Interleaved=0-1", (0, 1)),
        ("RTP/AVP/TCP;interleaved=900-901", (0, 1)),
    ],
)
def test_channels_are_those_of_the_camera(transport: str, channels: tuple[int, int]) -> None:
    talk = Conversation()
    talk.until_play(transport)
    prepared = talk.events[0]
    assert isinstance(prepared, Prepared)
    assert (prepared.transport.media_channel, prepared.transport.control_channel) == channels


def test_a_camera_that_insists_on_udp_is_unsupported() -> None:
    talk = Conversation()
    talk.until_play("RTP/AVP;unicast;client_port=1-2")
    assert talk.events == [Failed(EndCause.STREAM_UNSUPPORTED, "the camera insists on UDP")]


def test_no_transport_in_the_answer_means_what_was_asked_for() -> None:
    talk = Conversation()
    talk.until_setup()
    talk.answer(headers="Session: 1\r\n")
    assert isinstance(talk.events[0], Prepared)


def test_lower_case_folded_and_odd_headers_are_read() -> None:
    talk = Conversation()
    cseq = talk.cseq
    talk.receive(
        f"RTSP/1.0 200\ncseq:{cseq}\nnonsense without colon\n"
        "public: OPTIONS,\n\tDESCRIBE,\n  GET_PARAMETER\n\n".encode()
    )
    talk.answer(body=SDP)
    talk.answer(headers="Transport: RTP/AVP/TCP;interleaved=0-1\r\nSession: 1\r\n")
    talk.answer()
    talk.client.keep_alive()
    assert talk.client.take_output().startswith(b"GET_PARAMETER ")


def test_a_description_without_length_ends_at_what_follows_or_with_a_pause() -> None:
    talk = Conversation()
    talk.until_describe()
    data = response(talk.cseq, body=SDP, with_length=False)
    for cut in (20, 60, len(data) - 30, len(data)):
        assert talk.receive(data[:cut]) == 0, "more may come"
    assert talk.receive(data, paused=True) == len(data)
    assert talk.last.startswith("SETUP ")

    other = Conversation()
    other.until_describe()
    data = response(other.cseq, body=SDP, with_length=False)
    assert other.receive(data + b"$\0\0\1x") == len(data)
    assert other.last.startswith("SETUP ")


def test_messages_come_in_pieces() -> None:
    talk = Conversation()
    data = b"\r\n\r\n" + response(talk.cseq, headers="Public: DESCRIBE\r\n")
    for end in range(4, len(data)):
        assert talk.receive(data[:end]) == 4
    assert talk.receive(data) == len(data)
    assert talk.last.startswith("DESCRIBE ")


def test_interleaved_data_before_the_answer_to_play_is_left_to_the_caller() -> None:
    talk = Conversation()
    talk.until_play()
    assert talk.receive(b"$\x00\x00\x04abcd") == 0
    assert not talk.client.is_playing
    talk.answer()
    assert talk.client.is_playing


def test_options_may_be_unknown() -> None:
    talk = Conversation()
    talk.answer("405 Method Not Allowed")
    assert talk.last.startswith("DESCRIBE ")


def test_an_answer_without_number_is_for_the_oldest_question() -> None:
    talk = Conversation()
    talk.receive(response(None, headers="Public: DESCRIBE\r\n"))
    assert talk.last.startswith("DESCRIBE ")


def test_answers_to_nothing_are_ignored() -> None:
    talk = Conversation()
    talk.receive(response(99))
    talk.receive(response(talk.cseq, "100 Continue"))
    assert talk.last.startswith("OPTIONS ")
    assert talk.events == []


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ("404 Stream Not Found", EndCause.CAMERA_UNREACHABLE),
        ("403 Forbidden", EndCause.CREDENTIALS_REFUSED),
        ("454 Session Not Found", EndCause.CLOSED_BY_CAMERA),
        ("461 Unsupported Transport", EndCause.STREAM_UNSUPPORTED),
        ("453 Not Enough Bandwidth", EndCause.CAMERA_UNREACHABLE),
        ("500 Internal Server Error", EndCause.CAMERA_UNREACHABLE),
        ("503 Service Unavailable", EndCause.CAMERA_UNREACHABLE),
    ],
)
def test_refusals_and_their_causes(status: str, cause: EndCause) -> None:
    talk = Conversation()
    talk.until_setup()
    talk.answer(status)
    assert talk.events == [Failed(cause, f"SETUP answered {status}")]


def test_a_range_that_is_refused_is_left_out() -> None:
    talk = Conversation()
    talk.until_play()
    assert talk.field("Range") == "npt=0.000-"
    talk.answer("457 Invalid Range")
    assert talk.last.startswith("PLAY ")
    assert talk.field("Range") is None
    talk.answer()
    assert talk.client.is_playing


def test_a_redirect_leads_elsewhere() -> None:
    talk = Conversation()
    talk.until_describe()
    talk.answer("302 Moved Temporarily", "Location: rtsp://192.0.2.8:8554/there\r\n")
    (event,) = talk.events
    assert isinstance(event, Redirected)
    assert (event.target.host, event.target.port) == ("192.0.2.8", 8554)


def test_a_redirect_without_address_or_out_of_tls_is_refused() -> None:
    talk = Conversation()
    talk.until_describe()
    talk.answer("301 Moved Permanently")
    assert isinstance(talk.events[0], Failed)
    secure = Conversation(uri="rtsps://192.0.2.7/live")
    with pytest.raises(RtspError, match="refused"):
        secure.answer("302 Found", "Location: rtsp://192.0.2.7/live\r\n")


def test_keep_alive_uses_what_the_camera_knows() -> None:
    talk = Conversation()
    talk.until_playing()
    talk.client.keep_alive()
    talk._collect()
    assert talk.last.startswith("GET_PARAMETER ")
    assert talk.field("Session") == "4711"
    talk.answer("501 Not Implemented")
    assert talk.last.startswith("OPTIONS "), "asked again at once, so that the session stays"
    talk.answer()
    talk.client.keep_alive()
    talk._collect()
    assert talk.last.startswith("OPTIONS ")


def test_a_camera_that_never_answers_keep_alives_costs_no_memory() -> None:
    talk = Conversation()
    talk.until_playing()
    for _ in range(100):
        talk.client.keep_alive()
    assert len(talk.client._pending) == 1


def test_a_forgotten_session_ends() -> None:
    talk = Conversation()
    talk.until_playing()
    talk.client.keep_alive()
    talk._collect()
    talk.answer("454 Session Not Found")
    assert talk.events[-1] == Failed(
        EndCause.CLOSED_BY_CAMERA, "the camera has forgotten the session"
    )


def test_questions_of_the_camera_are_answered() -> None:
    talk = Conversation()
    talk.until_playing()
    talk.receive(b"OPTIONS rtsp://client RTSP/1.0\r\nCSeq: 7\r\n\r\n")
    assert talk.sent[-1].startswith("RTSP/1.0 200 OK\r\nCSeq: 7\r\nPublic: ")
    talk.receive(b"SET_PARAMETER * RTSP/1.0\r\nCSeq: 8\r\nContent-Length: 3\r\n\r\na=b")
    assert talk.sent[-1].startswith("RTSP/1.0 200 OK\r\nCSeq: 8")
    talk.receive(b"RECORD * RTSP/1.0\r\nCSeq: evil\r\n\r\n")
    assert talk.sent[-1] == "RTSP/1.0 501 Not Implemented"
    talk.receive(b"REDIRECT * RTSP/1.0\r\nCSeq: 9\r\nLocation: rtsp://192.0.2.9/x\r\n\r\n")
    assert isinstance(talk.events[-1], Redirected)


def test_the_camera_may_end_the_session() -> None:
    talk = Conversation()
    talk.until_playing()
    talk.receive(b"TEARDOWN rtsp://client RTSP/1.0\r\nCSeq: 7\r\n\r\n")
    assert talk.events[-1] == Failed(EndCause.CLOSED_BY_CAMERA, "the camera ended the session")


def test_teardown_names_the_session() -> None:
    talk = Conversation()
    talk.until_playing()
    talk.client.teardown()
    talk._collect()
    assert talk.last.startswith("TEARDOWN ")
    assert talk.field("Session") == "4711"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x80\x60\x00\x01" * 20,
        b"RTSP/1.0 banana\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"RTSP/1.0 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"RTSP/1.0 200 OK\r\nX: " + b"y" * 40_000,
    ],
)
def test_what_is_no_rtsp_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        Conversation().receive(data)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "no video"),
        (SDP.replace("m=video", "m=audio"), "no video"),
        (SDP.replace("H264", "JPEG"), "JPEG/90000"),
        (SDP.replace("96", "26").replace("a=rtpmap:26 H264/90000\r\n", ""), "JPEG/90000"),
        (SDP.replace("H264/90000", "H264/48000"), "H264/48000"),
    ],
)
def test_descriptions_that_offer_nothing_usable(body: str, says: str) -> None:
    talk = Conversation()
    talk.until_describe()
    with pytest.raises(RtspError, match=says if body else "empty") as caught:
        talk.answer(body=body)
    assert caught.value.cause is EndCause.STREAM_UNSUPPORTED
