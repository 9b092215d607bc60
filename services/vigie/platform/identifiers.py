"""Identifiers that sort by time: UUID version 7 (RFC 9562, section 5.7)."""

import secrets
import threading
import uuid
from collections.abc import Callable

from vigie.platform.clock import WallClock

_RANDOM_BITS = 74
_RANDOM_B_BITS = 62
_MAX_UNIX_MS = (1 << 48) - 1


def uuid7(unix_ms: int, random_bits: int) -> uuid.UUID:
    """Compose a UUIDv7.

    Args:
        unix_ms: milliseconds since the Unix epoch, 0 to 2**48 - 1.
        random_bits: the 74 bits after the time (``rand_a`` then ``rand_b``).

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 <= unix_ms <= _MAX_UNIX_MS:
        raise ValueError(f"milliseconds out of the range of a UUIDv7: {unix_ms}")
    if not 0 <= random_bits < 1 << _RANDOM_BITS:
        raise ValueError("random bits out of range")
    random_a = random_bits >> _RANDOM_B_BITS
    random_b = random_bits & ((1 << _RANDOM_B_BITS) - 1)
    value = unix_ms << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b
    return uuid.UUID(int=value)


class IdentifierSource:
    """Makes UUIDv7 identifiers, strictly increasing within this source.

    Within one millisecond (or while the wall clock stands still or goes back) the previous
    value is incremented by a random step (RFC 9562, section 6.2, method 2), so that what was
    made later always sorts later. Safe to call from several threads.

    Args:
        wall_clock: gives the time part.
        random_bits: ``f(n)`` returns ``n`` random bits; tests pass a seeded one.
    """

    def __init__(
        self, wall_clock: WallClock, random_bits: Callable[[int], int] = secrets.randbits
    ) -> None:
        self._wall_clock = wall_clock
        self._random_bits = random_bits
        self._lock = threading.Lock()
        self._unix_ms = -1
        self._random = 0

    def uuid7(self) -> uuid.UUID:
        """The next identifier."""
        with self._lock:
            now_ms = self._wall_clock.now_us() // 1000
            if now_ms > self._unix_ms:
                self._unix_ms = now_ms
                # The top bit stays clear, which leaves room for increments in this millisecond.
                self._random = self._random_bits(_RANDOM_BITS - 1)
            else:
                self._random += 1 + self._random_bits(32)
                if self._random >= 1 << _RANDOM_BITS:
                    self._unix_ms += 1
                    self._random = self._random_bits(_RANDOM_BITS - 1)
            return uuid7(self._unix_ms, self._random)

    def hex(self) -> str:
        """The next identifier as 32 lower-case hexadecimal digits (the form of run ids)."""
        return self.uuid7().hex

    def text(self) -> str:
        """The next identifier in the usual form with hyphens."""
        return str(self.uuid7())


def time_of_uuid7(identifier: uuid.UUID) -> int:
    """The time part of a UUIDv7, microseconds since the Unix epoch (millisecond resolution).

    Raises:
        ValueError: it is not a UUIDv7.
    """
    if identifier.version != 7:  # noqa: PLR2004 - the version this function is about
        raise ValueError(f"not a UUIDv7: {identifier}")
    return (identifier.int >> 80) * 1000
