"""What the segment writer asks of the time model (built in ``vigie.ingest.timekeeping``)."""

from typing import Protocol

from vigie.ingest.engine import FrameGroup


class RunTime(Protocol):
    """The wall clock of one run: media ticks in, instants out.

    ``media_ticks`` count from the first presentation time of the run.
    """

    def observe(self, group: FrameGroup, media_ticks: int) -> bool:
        """Learn from the arrivals of a group whose key frame is at ``media_ticks``.

        Returns:
            False when the receiver's wall clock jumped: the run must end before this group.
        """
        ...

    def estimate_us(self, media_ticks: int) -> int:
        """Best present estimate of an instant; exact before the end of what is closed."""
        ...

    def close(self, media_end_ticks: int) -> tuple[int, int]:
        """Fix the time of the segment that ends there, for good.

        Returns:
            Start and duration in microseconds; the start is the end of the segment before.
        """
        ...


class RunTimeFactory(Protocol):
    """Begins the time model of a run."""

    def __call__(self, *, start_us: int | None, not_before_us: int | None) -> RunTime:
        """A new model.

        Args:
            start_us: the start when it is known exactly (the run before ends there without a
                break); ``None``: the least delayed frame of the first segment fixes it.
            not_before_us: the start is not put before this (runs of a camera do not overlap).
        """
        ...
