"""Timelines read from the index, in steps of bounded size."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial

from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.recording.index import reader
from vigie.recording.model import LiveState
from vigie.recording.timeline.algebra import Entry, Facts, TailRule, compose
from vigie.recording.timeline.intervals import Interval


class TimelineReader:
    """Reads timelines.

    Args:
        database: where the index is.
        wall_clock: says what is future.
        live: last word of the reception of a camera, by camera identifier.
        rule: how far that word is believed.
        row_limit: rows of one kind that are read at a time.
    """

    def __init__(
        self,
        database: Database,
        wall_clock: WallClock,
        live: Callable[[str], LiveState | None],
        rule: TailRule = TailRule(),  # noqa: B008 - a frozen value, the documented defaults
        *,
        row_limit: int = reader.ROW_LIMIT,
    ) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._live = live
        self._rule = rule
        self._row_limit = row_limit

    def now_us(self) -> int:
        """The instant taken as now."""
        return self._wall_clock.now_us()

    async def last_stored_us(self, camera: str) -> int | None:
        """End of the newest stored footage of a camera; ``None``: there is none.

        Raises:
            VigieError: DATABASE_UNAVAILABLE.
        """
        return await self._database.read(partial(reader.last_stored_us, camera=camera))

    async def entries(
        self, camera: str, window: Interval, *, now_us: int | None = None
    ) -> AsyncIterator[Entry]:
        """The timeline of a camera over a window, entry by entry (see `compose`).

        Memory is bounded however fragmented the window is; neighbours that say the same are
        joined across steps.
        """
        held: Entry | None = None
        at_us = window.start_us
        while at_us < window.end_us:
            step, at_us = await self._step(camera, Interval(at_us, window.end_us), now_us)
            for entry in step:
                if held is not None and entry.continues(held):
                    held = replace(held, end_us=entry.end_us)
                    continue
                if held is not None:
                    yield held
                held = entry
        if held is not None:
            yield held

    async def _step(
        self, camera: str, window: Interval, now_us: int | None
    ) -> tuple[list[Entry], int]:
        live = self._live(camera)
        now = self.now_us() if now_us is None else now_us

        async def work(connection: AsyncConnection) -> tuple[Facts, int]:
            return await reader.read_facts(
                connection,
                camera,
                window,
                row_limit=self._row_limit,
                tail_us=None if live is None else now,
            )

        facts, until_us = await self._database.read(work)
        facts = replace(facts, live=live)
        step = compose(Interval(window.start_us, until_us), now, facts, self._rule)
        return step, until_us
