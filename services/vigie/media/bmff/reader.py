"""Reading segments and clips back: strict, bounds-checked, from memory or by ranges.

Each ``…_steps`` function is a generator that yields the ranges it needs and is sent their bytes,
so that one parser serves bytes in memory, files, and object stores (blocking or not): `drive`,
`drive_async`. A fragment costs one range of 8 KiB unless its sample table is larger.
"""

import struct
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from vigie.media.bmff.boxes import Box, read_box_header, unpack, version_and_flags
from vigie.media.bmff.movie import MediaHeader, parse_movie
from vigie.media.bmff.randomaccess import MFRO_SIZE, RandomAccessEntry, parse_random_access
from vigie.media.bmff.track_fragment import TrackFragment, parse_movie_fragment
from vigie.media.errors import MalformedMedia, MediaReason
from vigie.media.rtcp import ntp_to_unix_us
from vigie.media.timing import SampleTable

_T = TypeVar("_T")
_HEADER_PEEK: Final = 4096
_FRAGMENT_PEEK: Final = 8192
_BOX_HEADER: Final = 16
MAX_HEADER_BYTES: Final = 1 << 20
MAX_MOOF_BYTES: Final = 8 << 20
MAX_FRAGMENTS: Final = 100_000
_PRFT: Final = struct.Struct("!IQ")
_MFRO: Final = struct.Struct("!I4sII")


class ReadRequest(NamedTuple):
    """A range of the object; the reply must be exactly ``length`` bytes."""

    offset: int
    length: int


Steps = Generator[ReadRequest, bytes, _T]


@dataclass(frozen=True, slots=True)
class Fragment:
    """One movie fragment and where it is in its object.

    ``offset`` to ``end`` is all of it, ``prft`` included; its samples are
    ``data_offset``, ``data_size`` bytes of the media data box. Times are in media ticks.
    """

    offset: int
    end: int
    moof_offset: int
    data_offset: int
    data_size: int
    sequence_number: int
    base_decode_time: int
    description_index: int
    table: SampleTable
    wall_us: int | None

    @property
    def size_bytes(self) -> int:
        """Bytes from ``prft`` to the end of ``mdat``."""
        return self.end - self.offset

    @property
    def duration(self) -> int:
        """Sum of the sample durations."""
        return self.table.duration

    @property
    def end_decode_time(self) -> int:
        """Where the next fragment of the run begins."""
        return self.base_decode_time + self.table.duration


def drive(steps: Steps[_T], read: Callable[[int, int], bytes]) -> _T:
    """Run ``steps`` with a blocking ``read(offset, length)``."""
    try:
        request = next(steps)
        while True:
            request = steps.send(_checked(request, read(*request)))
    except StopIteration as stop:
        result: _T = stop.value
        return result


async def drive_async(steps: Steps[_T], read: Callable[[int, int], Awaitable[bytes]]) -> _T:
    """Run ``steps`` with an awaitable ``read(offset, length)``."""
    try:
        request = next(steps)
        while True:
            request = steps.send(_checked(request, await read(*request)))
    except StopIteration as stop:
        result: _T = stop.value
        return result


def _checked(request: ReadRequest, data: bytes) -> bytes:
    if len(data) != request.length:
        raise MalformedMedia(
            f"asked for {request.length} bytes, got {len(data)}",
            request.offset, "", MediaReason.TRUNCATED,
        )  # fmt: skip
    return data


def header_steps(size: int) -> Steps[MediaHeader]:
    """Read ``ftyp`` and ``moov`` at the start of an object of ``size`` bytes.

    Raises:
        MalformedMedia: not there, cut short, or not one video track.
        UnsupportedMedia: of another codec, or encrypted.
    """
    data = yield ReadRequest(0, min(size, _HEADER_PEEK))
    file_type = read_box_header(data, 0, size, "")
    if file_type.kind != b"ftyp":
        raise MalformedMedia("does not start with a file type box", 0, file_type.path)
    if file_type.end + _BOX_HEADER > min(len(data), size):
        raise MalformedMedia("no movie box", file_type.end, "moov", MediaReason.TRUNCATED)
    movie = read_box_header(data, file_type.end, size, "")
    if movie.kind != b"moov":
        raise MalformedMedia("no movie box after the file type", movie.start, movie.path)
    if movie.end > MAX_HEADER_BYTES:
        raise MalformedMedia(f"{movie.end} bytes", movie.start, movie.path, MediaReason.TOO_LARGE)
    if movie.end > len(data):
        data = yield ReadRequest(0, movie.end)
    return parse_movie(data[: movie.end], movie)


def fragment_steps(
    size: int, header: MediaHeader, *, start: int | None = None
) -> Steps[list[Fragment]]:
    """Index all fragments of an object of ``size`` bytes, from byte ``start`` (after the header).

    Boxes of other kinds are passed over; ``mfra`` ends the list. Media data of a fragment belongs
    to no other, and no sample is smaller than five bytes: all tables together take no more memory
    than some times the size of the object.

    Raises:
        MalformedMedia: a box that does not fit, sample tables that do not match their data.
    """
    position = header.size_bytes if start is None else start
    fragments: list[Fragment] = []
    pending = _Pending(header, size)
    while position < size:
        length = min(_FRAGMENT_PEEK, size - position)
        data = yield ReadRequest(position, length)
        consumed = 0
        while consumed < length:
            if consumed and consumed + _BOX_HEADER > length and position + length < size:
                break
            here = _shifted_header(data, consumed, position, size)
            if here.kind == b"mfra":
                return _finished(fragments, pending, size)
            whole = here.end - position
            if here.kind in {b"moof", b"prft"} and whole > length:
                if consumed:
                    break
                if whole > MAX_MOOF_BYTES:
                    raise MalformedMedia(
                        f"{whole} bytes", here.start, here.path, MediaReason.TOO_LARGE
                    )
                length = min(whole + _BOX_HEADER, size - position)
                data = yield ReadRequest(position, length)
            pending.take(data, here, position, fragments)
            consumed = whole
        if len(fragments) > MAX_FRAGMENTS:
            raise MalformedMedia("too many fragments", position, "moof", MediaReason.TOO_LARGE)
        position += consumed
    return _finished(fragments, pending, size)


def _finished(fragments: list[Fragment], pending: "_Pending", size: int) -> list[Fragment]:
    if pending.moof is not None:
        raise MalformedMedia("media data missing", size, "mdat", MediaReason.TRUNCATED)
    return fragments


def _shifted_header(data: bytes, at: int, position: int, size: int) -> Box:
    """The box ``at`` bytes into a chunk from ``position``, in offsets of the object."""
    try:
        found = read_box_header(data, at, size - position, "")
    except MalformedMedia as error:
        raise MalformedMedia(
            error.message, position + error.offset, error.path, error.reason
        ) from None
    return found._replace(
        start=found.start + position, body=found.body + position, end=found.end + position
    )


class _Pending:
    """What came before the media data box of the fragment being read."""

    def __init__(self, header: MediaHeader, size: int) -> None:
        self._header = header
        self._size = size
        self.clear()

    def clear(self) -> None:
        """Start over for the next fragment."""
        self.reference: Box | None = None
        self.wall_us: int | None = None
        self.moof: Box | None = None
        self.track: TrackFragment | None = None

    def take(self, data: bytes, here: Box, position: int, into: list[Fragment]) -> None:
        """Look at one box of the top level; ``data`` begins at ``position`` of the object."""
        local = here._replace(
            start=here.start - position, body=here.body - position, end=here.end - position
        )
        if here.kind == b"prft":
            self.reference = here
            version_and_flags(data, local, 1)
            self.wall_us = ntp_to_unix_us(unpack(_PRFT, data, local, 4)[1])
        elif here.kind == b"moof":
            if self.moof is not None:
                raise MalformedMedia("no media data before it", here.start, here.path)
            self.moof = here
            room_bytes = self._size - here.end
            self.track = parse_movie_fragment(data, local, self._header, room_bytes)
        elif here.kind == b"mdat":
            into.append(self._fragment(here))
            self.clear()

    def _fragment(self, data: Box) -> Fragment:
        if self.moof is None or self.track is None:
            raise MalformedMedia("no movie fragment before it", data.start, data.path)
        track, moof = self.track, self.moof
        first = moof.start + track.data_offset
        size = track.table.size_bytes
        if first < data.body or first + size > data.end:
            raise MalformedMedia(
                f"samples at {first}, {size} bytes, lie outside", data.start, data.path
            )
        return Fragment(
            offset=self.reference.start if self.reference else moof.start,
            end=data.end,
            moof_offset=moof.start,
            data_offset=first,
            data_size=size,
            sequence_number=track.sequence_number,
            base_decode_time=track.base_decode_time,
            description_index=track.description_index,
            table=track.table,
            wall_us=self.wall_us,
        )


def mfra_steps(size: int) -> Steps[list[RandomAccessEntry]]:
    """The random access table at the end of an object; the empty list when it has none.

    Raises:
        MalformedMedia: it is there, but cut short or contradicts itself.
    """
    if size < MFRO_SIZE:
        return []
    tail = yield ReadRequest(size - MFRO_SIZE, MFRO_SIZE)
    own_size, kind, _, length = _MFRO.unpack(tail)
    if own_size != MFRO_SIZE or kind != b"mfro":
        return []
    if not MFRO_SIZE < length <= min(size, MAX_MOOF_BYTES):
        raise MalformedMedia(f"size {length}", size - MFRO_SIZE, "mfra/mfro")
    data = yield ReadRequest(size - length, length)
    where = read_box_header(data, 0, length, "")
    if where.kind != b"mfra" or where.end != length:
        raise MalformedMedia("no random access table where mfro says", size - length, where.path)
    return parse_random_access(data, where)


def read_header(data: bytes) -> MediaHeader:
    """`header_steps` over bytes in memory."""
    return drive(header_steps(len(data)), _reader(data))


def read_fragments(data: bytes, header: MediaHeader | None = None) -> list[Fragment]:
    """`fragment_steps` over bytes in memory; the header is read from them when not given."""
    return drive(fragment_steps(len(data), header or read_header(data)), _reader(data))


def read_mfra(data: bytes) -> list[RandomAccessEntry]:
    """`mfra_steps` over bytes in memory."""
    return drive(mfra_steps(len(data)), _reader(data))


def _reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: bytes(memoryview(data)[offset : offset + length])
