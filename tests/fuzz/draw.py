"""An input read as a list of decisions, so that its mutations are mutations of a scenario."""

from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T")


class Draw:
    """Takes decisions from the front of the input; past its end each of them is zero."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether there is something left."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """0 to 255."""
        if self._at >= len(self._data):
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def number(self, size: int) -> int:
        """An unsigned number of ``size`` bytes."""
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "big")

    def signed(self, size: int) -> int:
        """A number of ``size`` bytes with a sign."""
        value = self.number(size)
        return value - (1 << 8 * size) if value >> (8 * size - 1) else value

    def below(self, limit: int) -> int:
        """0 to ``limit`` - 1."""
        return (self.byte() if limit <= 256 else self.number(4)) % limit

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self.byte() & 1)

    def pick(self, choices: Sequence[_T]) -> _T:
        """One of them."""
        return choices[self.below(len(choices))]

    def take(self, size: int) -> bytes:
        """At most ``size`` bytes, as they are."""
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def block(self) -> bytes:
        """As many bytes as the next one says."""
        return self.take(self.byte())

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)
