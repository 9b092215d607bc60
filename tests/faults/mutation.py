"""One thing that is broken by hand."""

from collections.abc import Callable
from dataclasses import dataclass

from faults.estate import NOW, Estate


@dataclass(frozen=True)
class Mutation:
    """What is broken, how it must be named, and whether it may be mended.

    Attributes:
        invariant: what it breaks first.
        way: missing, extra, altered, reordered or half.
        name: in plain words.
        breaks: does it.
        named: (invariant, words of the finding) that must be told.
        left: why no program mends it; empty: it is mended, and the index is again what it was.
        deep: whether it takes reading every object.
        now_us: when the checker looks.
        retention: whether a round of retention finishes what the repair has prepared.
    """

    invariant: str
    way: str
    name: str
    breaks: Callable[[Estate], None]
    named: tuple[tuple[str, str], ...]
    left: str = ""
    deep: bool = False
    now_us: int = NOW
    retention: bool = False
