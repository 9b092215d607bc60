"""Waits until the searchable table has caught up with the log, for a short time."""

from typing import Final

from vigie.audit.reasons import ACCESS_INDEX_BEHIND
from vigie.audit.recorder import ACCESSES_TOPIC
from vigie.audit.search import AccessReader
from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog

_WAIT_SECONDS: Final = 2.0
_EXPORT_WAIT_SECONDS: Final = 30.0
_STEP_SECONDS: Final = 0.02


class Freshness:
    """Lets a search see what was recorded before it was asked.

    The consumer usually is a few milliseconds behind. When it is far behind or stands still, the
    search answers from what is there and says up to when that is complete.
    """

    def __init__(
        self,
        event_log: EventLog,
        reader: AccessReader,
        *,
        wall_clock: WallClock,
        monotonic_clock: MonotonicClock,
    ) -> None:
        self._event_log = event_log
        self._reader = reader
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock

    async def catch_up(self) -> int:
        """Wait for the records that are in the log now, for at most two seconds.

        Returns:
            The instant (microseconds since the Unix epoch) up to which the table is complete.
        """
        complete_until_us, _ = await self._wait(_WAIT_SECONDS)
        return complete_until_us

    async def require(self) -> None:
        """Wait for the records that are in the log now.

        Raises:
            VigieError: ACCESS_INDEX_BEHIND: an export would silently lack the newest.
        """
        _, caught_up = await self._wait(_EXPORT_WAIT_SECONDS)
        if not caught_up:
            raise VigieError(ACCESS_INDEX_BEHIND, "the searchable table is behind the log")

    async def _wait(self, seconds: float) -> tuple[int, bool]:
        now_us = self._wall_clock.now_us()
        missing = list(await self._event_log.ends(ACCESSES_TOPIC))
        deadline_us = self._monotonic_clock.now_us() + round(seconds * 1e6)
        while True:
            missing = [
                end for end in missing if await self._reader.reached(end.partition) < end.offset
            ]
            if not missing:
                return now_us, True
            if self._monotonic_clock.now_us() >= deadline_us:
                newest = [await self._reader.newest_us(end.partition) for end in missing]
                return min(newest), False
            await self._monotonic_clock.sleep(_STEP_SECONDS)
