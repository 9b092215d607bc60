"""What a receiving thread tells about itself, so that overload is seen before footage is lost."""

from dataclasses import dataclass


@dataclass(slots=True)
class ReactorStatistics:
    """Counters of one receiving thread since its start; read without lock (each is one word).

    Attributes:
        sessions: sessions now.
        playing: sessions that play.
        ticks: base ticks so far.
        tick_lag_us: how late the last base tick began.
        tick_lag_peak_us: the same, the greatest; `take_peak` starts it anew.
        received_bytes: everything received.
        garbage_bytes: skipped because it was no packet and no message.
        throttled: times that a session used up its budget of a tick.
    """

    sessions: int = 0
    playing: int = 0
    ticks: int = 0
    tick_lag_us: int = 0
    tick_lag_peak_us: int = 0
    received_bytes: int = 0
    garbage_bytes: int = 0
    throttled: int = 0

    def take_peak(self) -> int:
        """The greatest lag since the last call, microseconds."""
        peak, self.tick_lag_peak_us = self.tick_lag_peak_us, self.tick_lag_us
        return peak

    def note_lag(self, lag_us: int) -> None:
        """A base tick began this late."""
        self.tick_lag_us = lag_us
        self.tick_lag_peak_us = max(self.tick_lag_peak_us, lag_us)
