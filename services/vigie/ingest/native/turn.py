"""How much work one camera may make of a receiving thread.

Bytes are no measure of work: a few hundred of them, chosen well, can cost a parser a second, and
all other cameras of the thread wait. So a session's turn has a budget of processor time as well. It
is the time of this *thread*: on a machine that is busy, or stopped, a turn takes long and uses
little, and no camera is blamed for it. What waited during a stall of ours is dear in bytes only:
all that the kernel keeps of a camera (6 MB) costs some ten milliseconds to read.
"""

from collections.abc import Callable
from typing import Final

from vigie.ingest.native.settings import NativeSettings

_NS: Final = 1_000_000_000


class Turn:
    """The turns of one session; times are nanoseconds of the thread's processor time.

    Args:
        settings: ``turn_seconds``, ``fair_turn_seconds``, ``overdraft_seconds``,
            ``session_budget_bytes``.
        clock: processor time that this thread has used.
    """

    __slots__ = ("_began_ns", "_budget_bytes", "_budget_ns", "_clock", "_fair_ns", "_limit_ns",
                 "_overdraft_ns")  # fmt: skip

    def __init__(self, settings: NativeSettings, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._budget_bytes = settings.session_budget_bytes
        self._budget_ns = round(settings.turn_seconds * _NS)
        self._fair_ns = round(settings.fair_turn_seconds * _NS)
        self._limit_ns = round(settings.overdraft_seconds * _NS)
        self._began_ns = self._overdraft_ns = 0

    def begin(self) -> None:
        """The session is read now."""
        self._began_ns = self._clock()

    def is_used_up(self, received: int, *, more: bool) -> bool:
        """Whether the rest has to wait for the next turn.

        Args:
            received: bytes in this turn.
            more: whether more may wait; the clock is not asked otherwise.
        """
        if received >= self._budget_bytes:
            return True
        return more and self._clock() - self._began_ns >= self._budget_ns

    def end(self) -> bool:
        """The turn is over; whether the session has used more than it may for too long.

        What a turn uses beyond its fair part is owed, and turns that use less pay it back.
        """
        owed_ns = self._overdraft_ns + self._clock() - self._began_ns - self._fair_ns
        self._overdraft_ns = max(owed_ns, 0)
        return owed_ns > self._limit_ns
