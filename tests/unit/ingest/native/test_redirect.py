"""A camera that sends us elsewhere, before it plays and while it does."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from unit.ingest.native.sessions import Talk
from vigie.ingest.engine import EndCause
from vigie.ingest.native.session import State
from vigie.ingest.native.settings import NativeSettings

ASKS = b"REDIRECT rtsp://192.0.2.7/a RTSP/1.0\r\nCSeq: 1\r\nLocation: %s\r\n\r\n"
ANSWERED = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n"


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Talk]]:
    made: list[Talk] = []

    def talk(**wanted: Any) -> Talk:
        made.append(Talk(monkeypatch, **wanted))
        return made[-1]

    yield talk
    for each in made:
        each.close()


def test_who_is_sent_elsewhere_while_it_plays_ends_with_all_that_came(
    make: Callable[..., Talk],
) -> None:
    """What comes from elsewhere has other times: it must not look like more of the same."""
    talk = make()
    talk.until_playing()
    talk.play(145, base=1000)

    talk.tick(ASKS % b"rtsp://192.0.2.7/b")

    assert sum(len(group.frames) for group in talk.sink.groups) == 145
    assert talk.sink.groups[-1].next_ticks is None
    assert talk.sink.names == ["connected", "parameters", "group", "group", "group", "ended"]
    assert talk.end == (EndCause.CLOSED_BY_CAMERA, "the camera sent the session elsewhere")
    assert talk.line.sent.endswith(ANSWERED + b"\r\n")
    assert talk.line.is_closed
    assert talk.dialled == ["rtsp://192.0.2.7/a"]


def test_where_it_sends_us_is_looked_at_all_the_same(make: Callable[..., Talk]) -> None:
    talk = make(uri="rtsps://192.0.2.7/a")
    talk.until_playing()
    talk.play(60, base=1000)
    talk.tick(ASKS % b"rtsp://192.0.2.7/b")
    assert talk.end == (EndCause.STREAM_UNSUPPORTED, "redirected from rtsps to rtsp: refused")
    assert sum(len(group.frames) for group in talk.sink.groups) == 60
    assert talk.line.sent.endswith(ANSWERED + b"\r\n")


def test_before_it_plays_we_go_where_it_sends_us(make: Callable[..., Talk]) -> None:
    talk = make()
    talk.until_play()
    first = talk.line
    talk.say(ASKS % b"rtsp://192.0.2.8/b")
    assert first.sent.endswith(ANSWERED + b"\r\n"), "the request is answered first"
    assert first.is_closed
    assert talk.state is State.DIALLING
    assert talk.dialled == ["rtsp://192.0.2.7/a", "rtsp://192.0.2.8/b"]
    talk.until_playing()
    talk.play(60, base=500_000)
    assert talk.sink.names == ["connected", "parameters", "group"]


def test_a_turn_that_ends_with_being_sent_elsewhere_leaves_nothing_to_read(
    make: Callable[..., Talk],
) -> None:
    """The budget of the turn is used up, but there is no connection to go on with."""
    talk = make(settings=NativeSettings(session_budget_bytes=4096, piece_bytes=4096))
    talk.until_play()
    talk.say(ASKS % b"rtsp://192.0.2.8/b" + talk.frame(0, 1000, size=5000))
    assert talk.line.waiting
    talk.tick()
    assert talk.host.throttled == 0
    assert talk.state is State.DIALLING
    talk.until_playing()
    assert talk.sink.names == ["connected"]


def test_the_end_of_a_session_by_the_camera_is_answered(make: Callable[..., Talk]) -> None:
    talk = make()
    talk.until_playing()
    talk.tick(b"TEARDOWN rtsp://192.0.2.7/a RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    assert talk.end == (EndCause.CLOSED_BY_CAMERA, "the camera ended the session")
    assert talk.line.sent.endswith(ANSWERED + b"\r\n")


@pytest.mark.parametrize(("uri", "password"), [
    ("rtsp://user:p%40ss%2fw@192.0.2.7/a", ""),
    ("rtsp://192.0.2.7/a", "p@ss/w"),
])  # fmt: skip
@pytest.mark.parametrize("said", ["p@ss/w", "p%40ss%2Fw", "p%40ss%2fw", "p%40ss/w"])
def test_a_password_is_not_shown_wherever_it_stands(
    make: Callable[..., Talk], uri: str, password: str, said: str
) -> None:
    talk = make(uri=uri, password=password)
    talk.connected()
    talk.answer()
    talk.answer(status=f"404 no {said} here")
    assert talk.end == (EndCause.CAMERA_UNREACHABLE, "DESCRIBE answered 404 no … here")
