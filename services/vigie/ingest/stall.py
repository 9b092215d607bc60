"""Whether this process was away: stopped, paused with its machine, or without a processor.

What lies in the sockets afterwards came at times that nobody has seen. Up to `STALL_SECONDS` the
time model bears it: frames that come late place nothing, and a run that begins with them is put
right by the frames that follow (`vigie.ingest.timekeeping`). After more than that nothing that
waited is used: a run must not begin at a time at which it was only read.
"""

import threading
from typing import Final

from vigie.platform.clock import MonotonicClock

STALL_SECONDS: Final = 5.0
"""Away for longer: the session ends (`INGEST_DOWN`) and what waited is not used. No more than
``START_UP_US``, nor than half of ``LATE_US`` of the time model."""
BEHIND_SECONDS: Final = 1.0
"""Away for longer: what is missing of what waited is this side's doing, whatever it looks like."""
_BEAT_SECONDS: Final = 0.5
_US: Final = 1_000_000


def stall_detail(away_us: int) -> str:
    """The detail of a gap that a stall has made."""
    return f"nothing was read for {away_us / _US:.1f} s: this process was stopped or starved"


class StallWatch:
    """For who looks at a source again and again; times are microseconds, monotonic.

    Args:
        now_us: the source is looked at for the first time.
        longest_us: away for so long is a stall.
    """

    __slots__ = ("_behind_until_us", "_longest_us", "_looked_us")

    def __init__(self, now_us: int, longest_us: int = round(STALL_SECONDS * _US)) -> None:
        self._longest_us = longest_us
        self._looked_us = now_us
        self._behind_until_us = now_us

    def look(self, now_us: int) -> int:
        """The source is looked at.

        Returns:
            How long it was not, when that was a stall; else 0.
        """
        away_us, self._looked_us = now_us - self._looked_us, now_us
        if away_us >= BEHIND_SECONDS * _US:
            # What waited is read at least twice as fast as it came.
            self._behind_until_us = now_us + away_us
        return away_us if away_us >= self._longest_us else 0

    def is_behind(self, now_us: int) -> bool:
        """Whether what is read now may have waited."""
        return now_us < self._behind_until_us


class Heartbeat:
    """For who waits inside a library: counts the stalls of this process, by a thread that beats.

    A stall is known at once, also to a thread that goes on before the one that beats does.

    Args:
        monotonic: says how long nothing beat.
        longest_us: without a beat for so long is a stall.
    """

    def __init__(
        self, monotonic: MonotonicClock, longest_us: int = round(STALL_SECONDS * _US)
    ) -> None:
        self._monotonic = monotonic
        self._longest_us = longest_us
        self._known = (monotonic.now_us(), 0)  # last beat, stalls before it: changed as one
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest-heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopping.set()

    def beat(self) -> None:
        """The process runs."""
        self._known = (self._monotonic.now_us(), self.stalls())

    def stalls(self) -> int:
        """How many stalls there were until now."""
        beat_us, stalls = self._known
        return stalls + (self._monotonic.now_us() - beat_us >= self._longest_us)

    def _run(self) -> None:
        while not self._stopping.wait(_BEAT_SECONDS):
            self.beat()
