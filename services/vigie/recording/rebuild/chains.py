"""Runs recognised by the names of their objects alone; pure functions of keys.

A name says when a segment begins, its run (older ones do not) and its number in it. The segment
with the next number begins where this one ends, so names tell how long each is, but the last of a
run: there the name of the span end object tells. Why a run ended, and what older names leave out,
an object is asked for: one look for a whole run.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from vigie.recording.keys import FootageKey
from vigie.recording.model import PIECE_US

_TAIL: Final = 4
_LONGEST_US: Final = 600_000_000
"""Configured lengths of segments end at half of it."""
_LONGER: Final = 1.5
"""Segments of a run are about as long as each other, but the last one, which is shorter."""
_PRUNE_EVERY: Final = 256


class Link(NamedTuple):
    """A segment by its name.

    Attributes:
        number: in its run.
        start_us: where it begins.
        object_key: its name.
    """

    number: int
    start_us: int
    object_key: str


class Row(NamedTuple):
    """What a row of spans says: numbers, and microseconds since the Unix epoch."""

    first: int
    last: int
    start_us: int
    end_us: int


@dataclass(slots=True)
class Chain:
    """Segments whose numbers and times follow each other.

    Attributes:
        head: the first segment.
        tail: the last few segments, the last of all at the end.
        longest_us: the longest of its segments; 0 while there is one only.
        begins: the first segments of the rows of spans so far.
        end_object: key of the span end object, ``None``: there is none.
        end_us: what its name says.
    """

    head: Link
    tail: deque[Link]
    begins: list[Link] = field(default_factory=list)
    longest_us: int = 0
    end_object: str | None = None
    end_us: int = 0

    def goes_on(self, instant_us: int) -> bool:
        """Whether its last segment may well end at an instant; to say no costs a look at it."""
        last_us = instant_us - self.tail[-1].start_us
        return 0 < last_us <= (self.longest_us * _LONGER or _LONGEST_US)

    def rows(self, end_us: int) -> list[Row]:
        """The rows of spans, when the last segment of `tail` ends at ``end_us``."""
        last = self.tail[-1].number
        begins = [link for link in self.begins if link.number <= last]
        ends = [(link.number - 1, link.start_us) for link in begins[1:]]
        return [
            Row(begin.number, number, begin.start_us, until_us)
            for begin, (number, until_us) in zip(begins, [*ends, (last, end_us)], strict=True)
        ]


class ChainMaker:
    """Makes chains from the keys of one camera in the order of their times."""

    def __init__(self) -> None:
        # Two processes may have recorded the same camera for a moment: there may be several.
        self._open: dict[tuple[str, int], list[Chain]] = {}
        self._done: list[Chain] = []
        self._added = 0

    def segment(self, key: FootageKey, object_key: str) -> None:
        """Take the next segment."""
        link = Link(key.counter, key.instant_us, object_key)
        chain = self._take(key)
        if chain is None:
            chain = Chain(link, deque([link], _TAIL), [link])
        else:
            if chain.begins[-1].start_us // PIECE_US != link.start_us // PIECE_US:
                chain.begins.append(link)
            chain.longest_us = max(chain.longest_us, link.start_us - chain.tail[-1].start_us)
            chain.tail.append(link)
        self._open.setdefault((key.run, key.counter + 1), []).append(chain)
        self._added += 1
        if self._added % _PRUNE_EVERY == 0:
            self._prune(key.instant_us)

    def end(self, key: FootageKey, object_key: str) -> bool:
        """Take a span end object; false when no segment that leads to it is there."""
        chain = self._take(key)
        if chain is None:
            return False
        chain.end_object, chain.end_us = object_key, key.instant_us
        self._done.append(chain)
        return True

    def done(self, *, last: bool = False) -> list[Chain]:
        """The chains that are whole, once each; with ``last``, all the others too."""
        done, self._done = self._done, []
        if last:
            done += [chain for chains in self._open.values() for chain in chains]
            self._open.clear()
        return done

    def _take(self, key: FootageKey) -> Chain | None:
        """The chain that goes on with this key, taken out; of several the latest."""
        place = (key.run, key.counter)
        chains = self._open.get(place)
        if chains is None:
            return None
        fitting = [chain for chain in chains if chain.goes_on(key.instant_us)]
        if not fitting:
            return None
        chain = max(fitting, key=lambda each: each.tail[-1].start_us)
        chains.remove(chain)
        if not chains:
            del self._open[place]
        return chain

    def _prune(self, instant_us: int) -> None:
        """What is too old to go on is whole."""
        for place, chains in list(self._open.items()):
            old = [c for c in chains if instant_us - c.tail[-1].start_us > _LONGEST_US]
            self._done += old
            kept = [chain for chain in chains if chain not in old]
            if kept:
                self._open[place] = kept
            else:
                del self._open[place]


def joined(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Rows of one run as the index has them, and those whose numbers are taken by others.

    Chains are broken where a listing is out of order; their rows are joined here by the rule of
    `vigie.recording.index.spans`.
    """
    sound: list[Row] = []
    refused: list[Row] = []
    # A copy under another name is short: the run is what most of its segments say.
    for row in sorted(rows, key=lambda each: (each.first - each.last, each)):
        at = bisect_left(sound, row)
        overlaps = (at > 0 and sound[at - 1].last >= row.first) or (
            at < len(sound) and sound[at].first <= row.last
        )
        if overlaps:
            refused.append(row)
        else:
            sound.insert(at, row)
    kept: list[Row] = []
    for row in sound:
        before = kept[-1] if kept else None
        if before is not None and _meet(before, row):
            kept[-1] = Row(before.first, row.last, before.start_us, row.end_us)
        else:
            kept.append(row)
    return kept, refused


def _meet(before: Row, after: Row) -> bool:
    return (
        before.last + 1 == after.first
        and before.end_us == after.start_us
        and before.start_us // PIECE_US == after.start_us // PIECE_US
    )
