"""What keeps events from getting out, and for how long it has."""

from typing import Final

from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock

LASTING_SECONDS: Final = 30.0
"""Longer than a broker takes to hand over what it leads, and a relay to try again."""
NEWS_SECONDS: Final = 60.0
"""What failed so long ago, and was not tried since, says nothing of now."""


class Trouble:
    """Failures without one success between them.

    Args:
        clock: measures.
    """

    def __init__(self, clock: MonotonicClock) -> None:
        self._clock = clock
        self._since_us = 0
        self._last_us = 0
        self.text: str | None = None
        """What was told last; ``None``: the last thing that was tried went well."""

    def note(self, text: str) -> None:
        """It has failed, once more."""
        self._last_us = self._clock.now_us()
        if self.text is None:
            self._since_us = self._last_us
        self.text = text

    def clear(self) -> None:
        """It went well."""
        self.text = None

    def lasting(self, *, under_way: bool) -> str | None:
        """What has lasted for `LASTING_SECONDS`, in one line; else ``None``.

        Args:
            under_way: something still waits for its outcome. Where nothing does, only failures
                count that lie so far apart, the last of them not long ago: one alone is none that
                lasts, and nobody may ever try again.
        """
        now_us = self._clock.now_us()
        lasted_us = (now_us if under_way else self._last_us) - self._since_us
        if self.text is None or lasted_us < LASTING_SECONDS * MICROSECONDS_PER_SECOND:
            return None
        if not under_way and now_us - self._last_us > NEWS_SECONDS * MICROSECONDS_PER_SECOND:
            return None
        seconds = (now_us - self._since_us) // MICROSECONDS_PER_SECOND
        return f"events do not get out since {seconds} s: {self.text}"
