from vigie.platform.grpc.limiter import StrangerLimiter, Suppressed

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
