"""What the fuzzer found in the conversation with a camera, said plainly."""

import time

import pytest

from unit.ingest.rtsp.transcript import SDP, Conversation
from vigie.ingest.rtsp import sdp
from vigie.ingest.rtsp.address import join_control, parse
from vigie.ingest.rtsp.auth import parse_challenges
from vigie.ingest.rtsp.errors import RtspError, UnsupportedDescriptionError


@pytest.mark.parametrize("base", ["rtsp://[x/a", "rtsp://\uff0fx/a", "rtsp://[::1", "nonsense"])
def test_a_base_that_is_no_address_is_no_fault_of_ours(base: str) -> None:
    assert join_control(base, "/track1").endswith("/track1")


def test_a_rooted_control_that_repeats_the_path_of_the_base_is_taken_whole() -> None:
    assert join_control("rtsp://c:8554/a/b?x=1", "/a/b/track1") == "rtsp://c:8554/a/b/track1"
    assert join_control("rtsp://c/a", "/b") == "rtsp://c/a/b"


@pytest.mark.parametrize("uri", ["rtsp://\x02", "rtsp://cam/\x7f", "rtsp://cam/\x1b[2J"])
def test_an_address_with_control_characters_cannot_be_used(uri: str) -> None:
    with pytest.raises(RtspError):
        parse(uri)


def test_what_a_camera_writes_into_its_base_never_breaks_our_request_line() -> None:
    talk = Conversation()
    talk.until_setup(headers="Content-Base: rtsp://a b\x01c/live/\r\n")
    assert talk.last == "SETUP rtsp://abc/live/trackID=1 RTSP/1.0"


def test_payload_types_beyond_seven_bits_are_not_offered() -> None:
    body = SDP.replace(" 96", " 999").replace(":96", ":999")
    with pytest.raises(UnsupportedDescriptionError):
        sdp.choose_video(sdp.parse(body.encode()))


def test_a_challenge_of_blanks_costs_no_more_than_its_length() -> None:
    started = time.process_time()
    parse_challenges(['Digest x="1"' + " " * 30_000 + '"'])
    assert time.process_time() - started < 1
    (challenge,) = parse_challenges(['Digest realm = "a, b" ,, nonce=n , stale'])[:1]
    assert challenge.parameters == {"realm": "a, b", "nonce": "n"}
