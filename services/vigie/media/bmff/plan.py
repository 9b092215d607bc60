"""Files described as pieces: bytes made here, and ranges of recorded objects copied as they are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from vigie.media.bmff.movie import MediaHeader
from vigie.media.bmff.reader import Fragment
from vigie.media.errors import MediaError, MediaReason

S = TypeVar("S")
_CHUNK_BYTES: Final = 256 << 10
PRFT_SIZE: Final = 32  # what lies between the start of a fragment of ours and its moof


class WallMapping(NamedTuple):
    """Media time to wall clock within one segment.

    The wall duration differs from the media duration by the slew towards the receiver's clock
    (at most 500 ppm); between both ends time is linear. Media times are presentation times in
    the run, in ticks.
    """

    start_us: int
    duration_us: int
    media_start: int
    media_duration: int

    def wall_us(self, media_time: int) -> int:
        """The instant of a media time, rounded down."""
        return self.start_us + (media_time - self.media_start) * self.duration_us // (
            self.media_duration
        )

    def media_time(self, wall_us: int) -> int:
        """The media time of an instant, rounded down."""
        return self.media_start + (wall_us - self.start_us) * self.media_duration // (
            self.duration_us
        )


@dataclass(frozen=True)
class PlannedSegment(Generic[S]):
    """A recorded segment: the object's name, what is in it, and both clocks from the index.

    ``start_us`` is the wall time of its first fragment's base decode time and ``duration_us``
    that of all ``fragments`` together; when only some are of interest pass all nevertheless.
    """

    source: S
    header: MediaHeader
    fragments: Sequence[Fragment]
    start_us: int
    duration_us: int
    mapping: WallMapping = field(init=False)

    def __post_init__(self) -> None:
        if not self.fragments or self.duration_us <= 0:
            raise MediaError(MediaReason.MALFORMED, "segment without fragments or duration")
        start = self.fragments[0].base_decode_time
        duration = self.fragments[-1].end_decode_time - start
        if duration <= 0:
            raise MediaError(MediaReason.MALFORMED, "segment without media duration")
        mapping = WallMapping(self.start_us, self.duration_us, start, duration)
        object.__setattr__(self, "mapping", mapping)

    @property
    def end_us(self) -> int:
        """Where the segment ends on the wall clock."""
        return self.start_us + self.duration_us


class MediaPart(NamedTuple, Generic[S]):
    """Send ``head``, then ``length`` bytes of the object ``source`` from ``offset``."""

    head: bytes
    source: S
    offset: int
    length: int


class MediaGap(NamedTuple):
    """An interval of the wall clock inside a file for which there is no footage."""

    start_us: int
    end_us: int


@dataclass(frozen=True)
class MediaPlan(Generic[S]):
    """One playable file, not yet made.

    ``start_us`` and ``end_us`` are the instants at which its presentation begins and ends;
    ``duration_ticks`` is its length in 1/90000 s, as its header says.
    """

    content_type: str
    parts: tuple[MediaPart[S], ...]
    tail: bytes
    start_us: int
    end_us: int
    duration_ticks: int
    gaps: tuple[MediaGap, ...] = ()
    sample_counts: tuple[int, ...] = ()
    """Of a package: samples of each fragment, in order."""

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return sum(len(part.head) + part.length for part in self.parts) + len(self.tail)


def stream(plan: MediaPlan[S], read_source: Callable[[S, int, int], bytes]) -> Iterator[bytes]:
    """The bytes of the file in order, in chunks of at most 256 KiB (heads as they are).

    Raises:
        MediaError: ``read_source`` gave less than it was asked for.
    """
    for part in plan.parts:
        yield part.head
        position, end = part.offset, part.offset + part.length
        while position < end:
            size = min(_CHUNK_BYTES, end - position)
            data = read_source(part.source, position, size)
            if len(data) != size:
                raise MediaError(
                    MediaReason.TRUNCATED, f"asked for {size} bytes at {position}, got {len(data)}"
                )
            yield data
            position += size
    if plan.tail:
        yield plan.tail
