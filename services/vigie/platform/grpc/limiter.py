"""Keeps strangers from flooding the access log, without forgetting that they tried.

Rule: of the attempts of one peer address (the port left out) that carry no valid token, the first
``burst`` are recorded one by one, then one more after each ``refill_seconds``. What is not
recorded is counted, and the count goes on record: with the peer's next recorded attempt, or in a
record of its own (reason ATTEMPTS_SUPPRESSED) once ``refill_seconds`` have passed, and when the
process stops. At most ``max_peers`` addresses are told apart; further ones share one bucket, so
that a scan from many addresses cannot use up the memory.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_PEERS: Final = 4096
OTHER_PEERS: Final = "other-peers"


@dataclass(slots=True)
class _Bucket:
    tokens: float
    refilled_us: int
    suppressed: int = 0
    suppressed_since_us: int = 0


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Attempts of one peer that still have to go on record."""

    peer: str
    count: int


class StrangerLimiter:
    """Decides which attempts without a valid token are recorded one by one."""

    def __init__(self, *, burst: int, refill_seconds: float, max_peers: int = MAX_PEERS) -> None:
        self._burst = burst
        self._refill_us = round(refill_seconds * 1_000_000)
        self._max_peers = max_peers
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def attempt(self, peer: str, now_us: int) -> int | None:
        """Account for an attempt.

        Returns:
            The number of attempts suppressed since the peer's last record when this one is to be
            recorded (often 0); ``None`` when it is only counted.
        """
        bucket = self._bucket(peer, now_us)
        elapsed_us = max(0, now_us - bucket.refilled_us)
        bucket.tokens = min(self._burst, bucket.tokens + elapsed_us / self._refill_us)
        bucket.refilled_us = now_us
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            suppressed, bucket.suppressed = bucket.suppressed, 0
            return suppressed
        if not bucket.suppressed:
            bucket.suppressed_since_us = now_us
        bucket.suppressed += 1
        return None

    def restore(self, peer: str, count: int, now_us: int) -> None:
        """Give back a count that could not be recorded."""
        bucket = self._bucket(peer, now_us)
        if not bucket.suppressed:
            bucket.suppressed_since_us = now_us
        bucket.suppressed += count

    def due(self, now_us: int, *, everything: bool = False) -> Iterator[Suppressed]:
        """Counts that must go on record now; each is taken out of the account in its turn.

        Whoever is interrupted while a count goes on record has not taken those behind it.
        """
        for peer, bucket in list(self._buckets.items()):
            waited_us = now_us - bucket.suppressed_since_us
            if bucket.suppressed and (everything or waited_us >= self._refill_us):
                count, bucket.suppressed = bucket.suppressed, 0
                yield Suppressed(peer, count)
            idle_us = now_us - bucket.refilled_us
            if not bucket.suppressed and idle_us > self._burst * self._refill_us:
                self._buckets.pop(peer, None)

    def _bucket(self, peer: str, now_us: int) -> _Bucket:
        if peer not in self._buckets and len(self._buckets) >= self._max_peers:
            peer = OTHER_PEERS
        return self._buckets.setdefault(peer, _Bucket(float(self._burst), now_us))
