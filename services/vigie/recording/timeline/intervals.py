"""Half-open intervals of microseconds, and how layers of them are painted over each other."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """Anything that lasts from ``start_us`` (inclusive) to ``end_us`` (exclusive)."""

    @property
    def start_us(self) -> int:
        """First instant, microseconds since the Unix epoch."""
        ...

    @property
    def end_us(self) -> int:
        """End, exclusive, microseconds since the Unix epoch."""
        ...


T = TypeVar("T", bound=Timed)
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Interval:
    """``[start_us, end_us)``, never empty by construction of the functions here."""

    start_us: int
    end_us: int

    @property
    def duration_us(self) -> int:
        """Length in microseconds."""
        return self.end_us - self.start_us


@dataclass(frozen=True, slots=True)
class Piece(Generic[S]):
    """The part ``[start_us, end_us)`` of ``item``."""

    start_us: int
    end_us: int
    item: S


def flatten(items: Iterable[T], rank: Callable[[T], str]) -> list[Piece[T]]:
    """Lay overlapping items out so that every instant they cover belongs to exactly one.

    At every instant the item with the smallest ``rank`` wins. Pieces come in ascending order and
    never overlap; empty items are ignored.
    """
    waiting = sorted((i for i in items if i.start_us < i.end_us), key=lambda i: i.start_us)
    bounds = sorted({i.start_us for i in waiting} | {i.end_us for i in waiting})
    active: list[tuple[str, int, T]] = []
    pieces: list[Piece[T]] = []
    position = 0
    for start, end in pairwise(bounds):
        while position < len(waiting) and waiting[position].start_us == start:
            # The position breaks ties, so that items are never compared with each other.
            heapq.heappush(active, (rank(waiting[position]), position, waiting[position]))
            position += 1
        while active and active[0][2].end_us <= start:
            heapq.heappop(active)
        if not active:
            continue
        winner = active[0][2]
        if pieces and pieces[-1].item is winner and pieces[-1].end_us == start:
            pieces[-1] = Piece(pieces[-1].start_us, end, winner)
        else:
            pieces.append(Piece(start, end, winner))
    return pieces


def paint(
    free: Sequence[Interval], layer: Sequence[Piece[S]]
) -> tuple[list[Piece[S]], list[Interval]]:
    """Cover what is still free with a layer.

    Args:
        free: ascending, disjoint.
        layer: ascending, disjoint.

    Returns:
        The parts of the layer that lie in free intervals, and what remains free; both ascending
        and disjoint, and together exactly ``free``.
    """
    painted: list[Piece[S]] = []
    remaining: list[Interval] = []
    position = 0
    for hole in free:
        at = hole.start_us
        while position < len(layer) and layer[position].end_us <= at:
            position += 1
        index = position
        while index < len(layer) and layer[index].start_us < hole.end_us:
            piece = layer[index]
            start, end = max(piece.start_us, at), min(piece.end_us, hole.end_us)
            if start > at:
                remaining.append(Interval(at, start))
            painted.append(Piece(start, end, piece.item))
            at = end
            index += 1
        if at < hole.end_us:
            remaining.append(Interval(at, hole.end_us))
    return painted, remaining
