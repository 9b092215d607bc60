from contextlib import ExitStack

import pytest
import structlog

from vigie.platform.errors import VigieError
from vigie.platform.grpc.limiter import StrangerLimiter, Suppressed
from vigie.platform.grpc.strangers import StrangerSlots

NOON_US = 1_790_000_000_000_000


def test_a_round_that_is_interrupted_forgets_nobody_behind() -> None:
    limiter = StrangerLimiter(burst=1, refill_seconds=60)
    for peer in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        assert limiter.attempt(peer, NOON_US) == 0
        assert limiter.attempt(peer, NOON_US) is None
        assert limiter.attempt(peer, NOON_US) is None
    begun = limiter.due(NOON_US, everything=True)
    assert next(begun) == Suppressed("192.0.2.1", 2)
    del begun  # the process stops while the first one goes on record
    left = list(limiter.due(NOON_US, everything=True))
    assert left == [Suppressed("192.0.2.2", 2), Suppressed("192.0.2.3", 2)]
    assert list(limiter.due(NOON_US, everything=True)) == []


def test_what_could_not_be_recorded_is_due_again() -> None:
    limiter = StrangerLimiter(burst=1, refill_seconds=60)
    assert limiter.attempt("192.0.2.1", NOON_US) == 0
    assert limiter.attempt("192.0.2.1", NOON_US) is None
    for item in limiter.due(NOON_US, everything=True):
        limiter.restore(item.peer, item.count, NOON_US)
    assert list(limiter.due(NOON_US, everything=True)) == [Suppressed("192.0.2.1", 1)]


def test_slots_of_strangers_are_bounded_in_all_and_for_each_address() -> None:
    refused: list[int] = []
    slots = StrangerSlots(total=3, of_peer=2, refused=lambda: refused.append(1))
    with slots.slot("a"), ExitStack() as second:
        second.enter_context(slots.slot("a"))
        with pytest.raises(VigieError) as caught, slots.slot("a"):
            pass
        assert caught.value.reason.name == "TOO_MANY_STRANGERS"
        with slots.slot("b"):
            with pytest.raises(VigieError, match="too many"), slots.slot("c"):
                pass
            second.close()
            with slots.slot("c"):
                pass
        assert len(refused) == 2


def test_who_is_turned_away_is_named_in_the_logs_once() -> None:
    slots = StrangerSlots(total=64, of_peer=1)
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            with slots.slot("a"):
                for _ in range(3):
                    with pytest.raises(VigieError), slots.slot("a"):
                        pass
        full = StrangerSlots(total=1, of_peer=1)
        with full.slot("a"):
            for number in range(1000):
                with pytest.raises(VigieError), full.slot(str(number)):
                    pass
    assert [line["peer"] for line in lines] == ["a", "a", *(str(number) for number in range(64))]


def test_a_slot_comes_back_from_a_call_that_fails() -> None:
    slots = StrangerSlots(total=1, of_peer=1)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="the call failed"), slots.slot("a"):
            raise RuntimeError("the call failed")
