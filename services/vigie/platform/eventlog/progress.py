"""How far a watch has read a topic, and the resume token that says so.

A token names a position in every partition read, and a topic may have hundreds of partitions. So
positions are packed, not written as JSON, and a token is made now and then, not for every message.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Final

from vigie.platform.errors import VigieError
from vigie.platform.eventlog.port import Position, StoredEvent
from vigie.platform.reasons import POSITION_BEYOND_END, RESUME_TOKEN_INVALID

EVENTS_A_TOKEN: Final = 64
"""So many events at most are told again by whoever resumes: a token costs work for each
partition, and after a break the same event may come twice anyway."""
_BITS: Final = 7
_MORE: Final = 1 << _BITS


class Progress:
    """The positions of one watch.

    Args:
        after: where it begins.
        seal: makes a token of packed positions.
    """

    def __init__(self, after: Iterable[Position], seal: Callable[[bytes], str]) -> None:
        self._offsets = {position.partition: position.offset for position in after}
        self._seal = seal
        self._token = ""
        self._unsealed = EVENTS_A_TOKEN

    def advance(self, position: Position) -> None:
        """An event was read."""
        self._offsets[position.partition] = position.offset
        self._unsealed += 1

    def is_ahead(self, position: Position) -> bool:
        """Whether an event at ``position`` was not read yet."""
        return position.offset > self._offsets.get(position.partition, -1)

    def is_behind(self, reached: Iterable[Position]) -> bool:
        """Whether a reader who has come to ``reached`` has read everything that was read here."""
        theirs = {position.partition: position.offset for position in reached}
        return all(offset <= theirs.get(one, -1) for one, offset in self._offsets.items())

    def catch_up(self, reached: Iterable[Position]) -> None:
        """Everything up to ``reached`` is read, or need not be."""
        for position in reached:
            if self.is_ahead(position):
                self.advance(position)

    def positions(self) -> tuple[Position, ...]:
        """Where to read on, by partition."""
        return tuple(Position(*item) for item in sorted(self._offsets.items()))

    def token(self) -> str:
        """A token of this position, or of one less than `EVENTS_A_TOKEN` events before it."""
        return self.newest_token() if self._unsealed >= EVENTS_A_TOKEN else self._token

    def newest_token(self) -> str:
        """A token of this very position."""
        if self._unsealed or not self._token:
            self._token, self._unsealed = self._seal(pack(self._offsets)), 0
        return self._token


async def resumed(events: AsyncIterator[StoredEvent]) -> AsyncGenerator[StoredEvent, None]:
    """The same events, of a read that begins where a resume token says.

    Raises:
        VigieError: RESUME_TOKEN_INVALID: the log never was where the token says; else as the read.
    """
    try:
        async for event in events:
            yield event
    except VigieError as error:
        if error.reason is not POSITION_BEYOND_END:
            raise
        raise VigieError(
            RESUME_TOKEN_INVALID,
            "the log does not reach the place of the token: begin again without it",
            field="resume_token",
        ) from error


def pack(offsets: Mapping[int, int]) -> bytes:
    """Offsets by partition as bytes: how many, the smallest, then each as differences.

    All numbers are unsigned and of variable length (LEB128). 256 partitions with offsets of ten
    digits take about 1.5 kB, and usually less than half of that.
    """
    smallest = min(offsets.values(), default=0)
    packed = bytearray()
    _write(packed, len(offsets))
    _write(packed, smallest + 1)  # -1 stands for "nothing was read"
    before = -1
    for partition, offset in sorted(offsets.items()):
        _write(packed, partition - before - 1)
        _write(packed, offset - smallest)
        before = partition
    return bytes(packed)


def unpack(packed: bytes) -> tuple[Position, ...]:
    """What `pack` was given.

    Raises:
        ValueError: the bytes are not of `pack`.
    """
    numbers = _read(packed)
    count = next(numbers, 0)
    smallest = next(numbers, 0) - 1
    rest = list(numbers)
    if len(rest) != 2 * count:
        raise ValueError("not as many positions as announced")
    positions: list[Position] = []
    partition = -1
    for gap, above in zip(rest[::2], rest[1::2], strict=True):
        partition += gap + 1
        positions.append(Position(partition, smallest + above))
    return tuple(positions)


def _write(packed: bytearray, number: int) -> None:
    while number >= _MORE:
        packed.append(number % _MORE | _MORE)
        number >>= _BITS
    packed.append(number)


def _read(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed:
        number |= (byte % _MORE) << shift
        shift += _BITS
        if byte < _MORE:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("the last number is cut off")
