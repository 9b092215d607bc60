"""Exponential back-off with jitter, for cameras and for the store."""

import random
from dataclasses import dataclass
from typing import Final

_MAX_DOUBLINGS: Final = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the n-th failure in a row.

    Attributes:
        first_seconds: upper bound of the first wait.
        longest_seconds: upper bound of every wait.
    """

    first_seconds: float
    longest_seconds: float

    def wait_seconds(self, failures: int, source: random.Random) -> float:
        """Half of a doubling bound, and a random part of the other half ("equal jitter").

        Never zero, so that a fault that returns at once cannot spin; spread, so that what failed
        together does not return together.
        """
        doublings = min(max(failures - 1, 0), _MAX_DOUBLINGS)
        bound = min(self.first_seconds * 2.0**doublings, self.longest_seconds)
        return bound / 2 + source.random() * bound / 2
