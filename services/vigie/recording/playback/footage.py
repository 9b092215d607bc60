"""Walks along stored footage: segments and fragments of a run, in order, without hole or repeat."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from vigie.media.bmff.reader import Fragment
from vigie.platform.database import Database
from vigie.recording.index import reader
from vigie.recording.model import Segment
from vigie.recording.playback.media import (
    SegmentMedia,
    StoredSegment,
    fragment_window,
    key_shown_us,
)
from vigie.recording.rebuild.describing import Describer
from vigie.recording.timeline.intervals import Interval

_BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Shot:
    """A fragment of a run, and which part of it is to be shown."""

    opened: StoredSegment
    fragment: Fragment
    start_us: int
    end_us: int
    show_start_us: int
    show_end_us: int


class Footage:
    """Reads the footage that spans of a timeline list."""

    def __init__(
        self, database: Database, media: SegmentMedia, describer: Describer | None = None
    ) -> None:
        self._database = database
        self._describer = describer
        self.media = media

    async def segments(self, run: str, window: Interval) -> AsyncIterator[Segment]:
        """Segments of a run that overlap a window, by number."""
        at_us = window.start_us
        while at_us < window.end_us:
            batch = await self._batch(run, Interval(at_us, window.end_us))
            for segment in batch:
                yield segment
            if len(batch) < _BATCH:
                return
            at_us = batch[-1].end_us

    async def _batch(self, run: str, window: Interval) -> list[Segment]:
        """The next segments; hours that have no rows yet, after a reindex, get them first."""
        while True:
            async with self._database.reading() as connection:
                batch = await reader.run_segments(connection, run, window, limit=_BATCH)
            if self._describer is None:
                return batch
            reach_us = batch[-1].end_us if len(batch) == _BATCH else window.end_us
            if not await self._describer.next_of_run(run, Interval(window.start_us, reach_us)):
                return batch

    async def shots(self, run: str, window: Interval) -> AsyncIterator[Shot]:
        """Fragments of a run that are needed to show a window.

        The first one holds the start of the window. Where the window begins among leading
        pictures (open GOP), the fragment before, which they refer to, comes first and nothing of
        it is shown.

        Raises:
            ObjectGoneError: an object is not in the store (any more).
            VigieError: FOOTAGE_DAMAGED, STORE_UNAVAILABLE.
        """
        first = True
        async for segment in self.segments(run, window):
            opened = await self.media.open(segment)
            await self.media.verify(segment)
            for index, fragment in enumerate(opened.fragments):
                start_us, end_us = fragment_window(opened, fragment)
                if end_us <= window.start_us:
                    continue
                if start_us >= window.end_us:
                    return
                if first and key_shown_us(opened, fragment) > window.start_us > start_us:
                    before = await self._before(opened, index)
                    if before is not None:
                        yield before
                first = False
                yield Shot(
                    opened,
                    fragment,
                    start_us,
                    end_us,
                    max(start_us, window.start_us),
                    min(end_us, window.end_us),
                )

    async def _before(self, opened: StoredSegment, index: int) -> Shot | None:
        if index == 0:
            start_us = opened.start_us
            window = Interval(start_us - 1, start_us)
            async for segment in self.segments(opened.source.run, window):
                opened = await self.media.open(segment)
                await self.media.verify(segment)
                index = len(opened.fragments)
                break
            else:
                return None
        fragment = opened.fragments[index - 1]
        start_us, end_us = fragment_window(opened, fragment)
        return Shot(opened, fragment, start_us, end_us, end_us, end_us)
