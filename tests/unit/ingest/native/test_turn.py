"""One camera does not hold the thread of all, and none pays for a machine that is slow."""

from collections.abc import Iterator
from typing import Any

import pytest

from unit.ingest.native.sessions import Talk
from vigie.ingest.engine import EndCause
from vigie.ingest.native.session import State
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.native.turn import Turn

MS = 1_000_000
"""Nanoseconds."""
SETTINGS = NativeSettings()
TICK_US = 100_000


class Processor:
    """Processor time of a thread, used by the taking apart of each piece."""

    def __init__(self) -> None:
        self.used_ns = 0
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.used_ns


class Busy(Talk):
    """Taking a piece apart costs processor time, and passes time on all clocks."""

    piece_ns = 0
    piece_us = 0

    def __init__(self, monkeypatch: Any, **wanted: Any) -> None:
        self.processor = Processor()
        super().__init__(monkeypatch, processor_ns=self.processor, **wanted)
        inside: Any = self.session
        taking = inside._take

        def take(end: int, *, paused: bool = False) -> None:
            self.processor.used_ns += self.piece_ns
            self.step(self.piece_us)
            taking(end, paused=paused)

        inside._take = take


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Busy]:
    made = Busy(monkeypatch)
    made.until_playing()
    made.processor.asked = 0
    made.line.reads.clear()
    yield made
    made.close()


def flood(talk: Talk, size_bytes: int) -> bytes:
    """Media without end, in frames of 1000 bytes."""
    count = talk.sequence
    return b"".join(
        talk.frame(count + number, 1000, size=1000, group=10**9 if count + number else 1)
        for number in range(size_bytes // 1000)
    )


def test_a_turn_ends_when_its_time_is_used_and_goes_on_in_the_next(busy: Busy) -> None:
    busy.piece_ns = 20 * MS
    data = flood(busy, 900_000)
    busy.tick(data, TICK_US)
    assert len(busy.line.reads) == 3, "3 x 20 ms are more than 50 ms"
    assert max(busy.line.reads) <= SETTINGS.piece_bytes
    assert busy.host.throttled == 1
    busy.tick(b"", TICK_US)
    assert busy.line.waiting
    for _ in range(2):
        busy.tick(b"", TICK_US)
    assert not busy.line.waiting
    busy.session.end(EndCause.STOPPED, "")
    assert [len(group.frames) for group in busy.sink.groups] == [900], "nothing is lost"
    assert busy.sink.losses == []


def test_the_clock_is_not_asked_for_what_comes_in_one_piece(busy: Busy) -> None:
    busy.tick(flood(busy, 100_000), TICK_US)
    assert len(busy.line.reads) == 1
    assert busy.processor.asked == 2


def test_a_camera_that_takes_too_long_again_and_again_ends(busy: Busy) -> None:
    busy.piece_ns = 60 * MS
    turns = 0
    while busy.state is State.PLAYING:
        busy.tick(flood(busy, 200_000), TICK_US)
        turns += 1
        assert turns < 100
    assert busy.end == (
        EndCause.STREAM_UNSUPPORTED, "what comes takes too long to be taken apart",
    )  # fmt: skip
    assert turns == 41, "2 s owed at 50 ms a turn"
    assert busy.sink.names[-2:] == ["group", "ended"], "what came is delivered"


def test_a_single_piece_that_holds_everybody_up_is_enough(busy: Busy) -> None:
    """And it is the camera's doing, though the thread was away for longer than a stall."""
    busy.piece_ns, busy.piece_us = 6000 * MS, 6_000_000
    busy.tick(flood(busy, 500_000), TICK_US)
    assert len(busy.line.reads) == 1
    assert busy.end[0] is EndCause.STREAM_UNSUPPORTED


def test_no_camera_pays_for_a_machine_that_is_slow(busy: Busy) -> None:
    """Time passes, but this thread has not used it."""
    busy.piece_ns, busy.piece_us = 1 * MS, 900_000
    for _ in range(40):
        busy.tick(flood(busy, 250_000), TICK_US)
    assert busy.state is State.PLAYING
    assert busy.host.throttled == 0


def test_what_waited_during_a_stall_is_read_in_time() -> None:
    """All that the kernel keeps of a camera (6 MB), on a machine that is ten times slower."""
    processor = Processor()
    turn = Turn(SETTINGS, processor)
    for _ in range(6_000_000 // SETTINGS.piece_bytes + 1):
        turn.begin()
        processor.used_ns += 5 * MS
        assert not turn.end()


def test_turns_that_use_little_pay_back(busy: Busy) -> None:
    for _ in range(30):
        busy.piece_ns = 110 * MS
        busy.tick(flood(busy, 1000), TICK_US)
        busy.piece_ns = 0
        for _ in range(10):
            busy.tick(flood(busy, 1000), TICK_US)
    assert busy.state is State.PLAYING


def test_what_waits_in_the_tls_layer_is_read_also_while_we_converse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The selector does not tell of it."""
    settings = NativeSettings(session_budget_bytes=10_000, piece_bytes=4096)
    talk = Talk(monkeypatch, settings=settings)
    talk.until_play()
    talk.line.is_tls = True
    talk.say(flood(talk, 20_000))
    assert talk.line.waiting
    talk.tick(b"", TICK_US)
    talk.tick(b"", TICK_US)
    assert not talk.line.waiting
    talk.close()


# --- media before PLAY is answered ------------------------------------------------------------


def test_media_before_play_is_answered_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk(monkeypatch)
    talk.until_play()
    talk.say(b"".join(talk.frame(number, 1000, size=15_000) for number in range(100)))
    talk.answer()
    talk.play(1, base=1000 + 100 * 3600)
    assert talk.state is State.PLAYING
    assert [len(group.frames) for group in talk.sink.groups] == [50, 50]
    talk.close()


@pytest.mark.parametrize("size", [60_000, 20])
def test_but_not_without_end(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Small packets cost more than their bytes."""
    talk = Talk(monkeypatch)
    talk.until_play()
    sent = number = 0
    while talk.state is State.CONVERSING:
        data = b"".join(talk.frame(number + n, 1000, size=size, group=1) for n in range(8))
        number += 8
        sent += len(data)
        assert sent <= SETTINGS.early_bytes + 8 * 70_000
        talk.say(data)
    assert talk.end == (
        EndCause.STREAM_UNSUPPORTED, "too much media before PLAY was answered",
    )  # fmt: skip
    assert talk.sink.names == ["ended"]
    assert sent > SETTINGS.early_bytes // 10
    assert size > 20 or sent < SETTINGS.early_bytes // 4
    talk.close()
