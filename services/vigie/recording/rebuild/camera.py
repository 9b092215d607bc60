"""The timeline of one camera from the names of its objects."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from vigie.platform.objectstore import ObjectStore
from vigie.recording.attributes import RunEnd
from vigie.recording.index import days
from vigie.recording.keys import FootageKey, parse_key
from vigie.recording.model import Segment
from vigie.recording.rebuild.chains import Chain, ChainMaker, Row, joined
from vigie.recording.rebuild.parsing import (
    NotFootageError,
    run_end_of,
    run_named_after,
    segment_of,
)
from vigie.recording.rebuild.report import ReindexReport

_LOOKS_AT_ONCE: Final = 16
_HOUR_US: Final = 3_600_000_000
NOT_FOOTAGE: Final = "the key is not one of footage"


@dataclass(slots=True)
class CameraTimeline:
    """What the names of a camera's objects tell.

    Attributes:
        camera: its identifier.
        rows: run -> rows of spans.
        ends: of runs.
        hours: folder of the bucket -> the hour that it is, microseconds since the Unix epoch.
    """

    camera: str
    rows: dict[str, list[Row]] = field(default_factory=dict)
    ends: dict[str, RunEnd] = field(default_factory=dict)
    hours: dict[str, int] = field(default_factory=dict)


class CameraLister:
    """Reads the names of one camera's objects.

    Args:
        store: the bucket.
        prefix: what the keys of footage begin with.
        camera: its identifier.
        destroyed: the number of a UTC day, counted from the Unix epoch -> keys of segments that
            begin on it and stand in the register of destructions.
        report: takes what cannot be indexed.
    """

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        camera: str,
        destroyed: Callable[[int], Awaitable[frozenset[str]]],
        report: ReindexReport,
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._destroyed_on = destroyed
        self._day = -1
        self._destroyed = frozenset[str]()
        self._report = report
        self._chains = ChainMaker()
        self._found = CameraTimeline(camera)
        self._parts: dict[str, list[Row]] = {}
        self._lone_ends: list[str] = []

    async def read(self) -> CameraTimeline:
        """List all, and ask for what no name tells.

        Raises:
            VigieError: the store is unavailable.
        """
        folder = ""
        async for key, parsed in self._keys():
            if parsed.is_end:
                if not self._chains.end(parsed, key):
                    self._lone_ends.append(key)
                continue
            if not key.startswith(folder) or not folder:
                folder = key[: key.rindex("/") + 1]
                self._found.hours[folder] = parsed.instant_us // _HOUR_US * _HOUR_US
                await self._settle(self._chains.done())
            if not await self._is_destroyed(parsed, key):
                self._report.listed += 1
                self._chains.segment(parsed, key)
        await self._settle(self._chains.done(last=True))
        for start in range(0, len(self._lone_ends), _LOOKS_AT_ONCE):
            some = self._lone_ends[start : start + _LOOKS_AT_ONCE]
            await asyncio.gather(*(self._end(key) for key in some))
        self._join()
        return self._found

    async def _keys(self) -> AsyncIterator[tuple[str, FootageKey]]:
        async for listed in self._store.list_keys(f"{self._prefix}/{self._found.camera}/"):
            parsed = parse_key(listed.key)
            if parsed is None or (parsed.prefix, parsed.camera) != (
                self._prefix,
                self._found.camera,
            ):
                self._report.refused[listed.key] = NOT_FOOTAGE
            else:
                yield listed.key, parsed

    async def _is_destroyed(self, parsed: FootageKey, key: str) -> bool:
        day = days.day_of(parsed.instant_us)
        if day != self._day:  # keys come in the order of their days: of each once
            self._destroyed, self._day = await self._destroyed_on(day), day
        return key in self._destroyed

    async def _settle(self, chains: Sequence[Chain]) -> None:
        for start in range(0, len(chains), _LOOKS_AT_ONCE):
            some = chains[start : start + _LOOKS_AT_ONCE]
            await asyncio.gather(*(self._resolve(chain) for chain in some))

    async def _resolve(self, chain: Chain) -> None:
        """Find out which run a chain is; nobody knows: its hours tell once they are described."""
        if chain.end_object is not None:
            end = await self._end(chain.end_object)
            if end is not None:
                self._parts.setdefault(end.run, []).extend(chain.rows(chain.end_us))
                return
        while chain.tail:
            segment = await self._look(chain)
            if segment is not None:
                rows = chain.rows(segment.end_us)
                self._parts.setdefault(segment.run, []).extend(rows)
                return
            chain.tail.pop()

    async def _look(self, chain: Chain) -> Segment | None:
        """The last segment of a chain, from its object."""
        key = chain.tail[-1].object_key
        parsed, first = parse_key(key), parse_key(chain.head.object_key)
        assert parsed is not None
        assert first is not None
        info = await self._store.stat(key)
        if info is None:
            return None

        async def run_of(_key: FootageKey, _duration_us: int) -> str:
            return run_named_after(first)

        try:
            return (await segment_of(self._store, info, parsed, run_of))[0]
        except NotFootageError as error:
            self._report.refused[key] = str(error)
            return None

    async def _end(self, key: str) -> RunEnd | None:
        parsed, info = parse_key(key), await self._store.stat(key)
        if parsed is None or info is None:
            return None
        try:
            end = run_end_of(info, parsed)
        except NotFootageError as error:
            self._report.refused[key] = str(error)
            return None
        known = self._found.ends.setdefault(end.run, end)
        self._report.run_ends += known is end
        return end

    def _join(self) -> None:
        for run, rows in self._parts.items():
            # Segments that claim the place of others are told once their hours are described.
            kept, _ = joined(rows)
            self._found.rows[run] = kept
