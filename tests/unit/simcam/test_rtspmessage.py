import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.simcam.rtspmessage import (
    Interleaved,
    MessageReader,
    ProtocolViolationError,
    Request,
    build_response,
)

REQUEST = (
    b"SET_PARAMETER rtsp://h:1/cam-01/x?y=1 RTSP/1.0\r\nCSeq: 4\r\nContent-Length: 3\r\n\r\nabc"
)
REPORT = b"$\x01\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x01"


@given(st.lists(st.integers(1, 40), max_size=30))
def test_messages_are_found_however_the_bytes_arrive(sizes: list[int]) -> None:
    data = REQUEST + REPORT + REQUEST
    reader = MessageReader()
    found: list[Request | Interleaved] = []
    for size in [*sizes, len(data)]:
        found += reader.feed(data[:size])
        data = data[size:]
    assert [type(m) for m in found] == [Request, Interleaved, Request]
    first = found[0]
    assert isinstance(first, Request)
    assert (first.method, first.path, first.body) == ("SET_PARAMETER", "cam-01/x", b"abc")
    assert first.headers["cseq"] == "4"
    assert found[1] == Interleaved(1, REPORT[4:])


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nno colon\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_not_rtsp_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolationError):
        list(MessageReader().feed(data))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        list(MessageReader().feed(data))
    except ProtocolViolationError:
        return


def test_a_response() -> None:
    assert build_response(401, "7", [("A", "b"), ("A", "c")], b"xy") == (
        b"RTSP/1.0 401 Unauthorized\r\nCSeq: 7\r\nA: b\r\nA: c\r\nContent-Length: 2\r\n\r\nxy"
    )


def test_a_path_without_a_host() -> None:
    assert Request("OPTIONS", "*").path == "*"
    assert Request("DESCRIBE", "rtsp://host").path == ""
