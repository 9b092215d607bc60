"""How much of a segment that was never closed can be trusted.

Three witnesses, from weak to strong: the boxes fit; the NAL units of every sample fill it
exactly; the running digest written behind each fragment matches. A fragment with a digest must
match it. One without (the process died between the two writes) must have whole NAL units; and
after a power cut those that may have been written without having been forced to the disk
(`Unforced`) are not believed without one.
"""

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from vigie.ingest.recorder.segment import SUM
from vigie.media.bmff.movie import MediaHeader
from vigie.media.bmff.reader import Fragment, drive, fragment_steps, header_steps
from vigie.media.errors import MediaError

_CHUNK: Final = 1 << 20


class Unforced(StrEnum):
    """Which fragments of a file may not be what was written, because the power may have gone."""

    NOTHING = "nothing"
    """The machine was not restarted."""
    LAST = "last"
    """Each fragment was forced to the disk before the next was written."""
    ANY = "any"
    """Only whole segments were."""


_BOX_HEADER: Final = 8
_LENGTH: Final = 4


@dataclass(frozen=True, slots=True)
class ScannedSegment:
    """The part of an open segment that is whole.

    Attributes:
        header: its CMAF header, parsed; ``None`` when not even that is whole.
        header_bytes: the same, raw.
        fragments: those that can be trusted, in order.
        digest: SHA-256, running, of everything up to the end of the last of them.
        altered: whether a digest did not match: the disk gave other bytes than were written.
    """

    header: MediaHeader | None
    header_bytes: bytes
    fragments: list[Fragment]
    digest: "hashlib._Hash"
    altered: bool

    @property
    def size_bytes(self) -> int:
        """Where the trusted part ends."""
        return self.fragments[-1].end if self.fragments else 0


def scan_segment(media: Path, sums: Path, *, unforced: Unforced) -> ScannedSegment:
    """Look at an open segment.

    Args:
        media: the segment.
        sums: its running digests; may be cut short. They are removed once the record of the
            closed segment is durable: a segment that has its index and no sums was closed, and
            is on the disk whatever was ``unforced`` before.
        unforced: what may not have been forced to the disk.

    Raises:
        OSError: the disk does not give it.
    """
    known = _read_sums(sums)
    closed = not sums.exists()
    descriptor = os.open(media, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _scan(descriptor, known, unforced, closed=closed)
    finally:
        os.close(descriptor)


def _scan(
    descriptor: int, known: dict[int, bytes], unforced: Unforced, *, closed: bool
) -> ScannedSegment:
    def read(offset: int, length: int) -> bytes:
        return os.pread(descriptor, length, offset)

    size = os.fstat(descriptor).st_size
    nothing = ScannedSegment(None, b"", [], hashlib.sha256(), altered=False)
    try:
        header = drive(header_steps(size), read)
    except MediaError:
        return nothing
    fragments = _whole_fragments(descriptor, size, header)
    if closed and fragments and read(fragments[-1].end, _BOX_HEADER)[4:] == b"mfra":
        unforced = Unforced.NOTHING
    digest, position, trusted = hashlib.sha256(), 0, 0
    altered = False
    last_known = max(known, default=0)
    for index, fragment in enumerate(fragments):
        advanced = digest.copy()
        _hash_range(descriptor, position, fragment.end, advanced)
        if fragment.end in known:
            if known[fragment.end] != advanced.digest():
                # Where sums are not forced behind their data, the power cut alone explains it.
                altered = unforced is not Unforced.ANY
                break
        elif position < last_known:
            # Digests are written in order: what has none, though one lies behind its beginning, is
            # not where it was written; or, where sums are not forced, its own never reached the
            # disk.
            altered = unforced is not Unforced.ANY
            break
        elif _is_doubtful(unforced, last=index + 1 == len(fragments)) or not _is_whole(
            descriptor, fragment
        ):
            break
        digest, position, trusted = advanced, fragment.end, index + 1
    header_bytes = read(0, header.size_bytes)
    return ScannedSegment(header, header_bytes, fragments[:trusted], digest, altered=altered)


def _read_sums(path: Path) -> dict[int, bytes]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    whole = len(content) - len(content) % SUM.size
    return dict(SUM.iter_unpack(content[:whole]))


def _whole_fragments(descriptor: int, size: int, header: MediaHeader) -> list[Fragment]:
    """The longest list of fragments at the start whose boxes all fit."""

    def read(offset: int, length: int) -> bytes:
        return os.pread(descriptor, length, offset)

    ends = _media_data_ends(descriptor, size, header.size_bytes)
    while ends:
        try:
            return drive(fragment_steps(ends[-1], header), read)
        except MediaError:
            ends.pop()
    return []


def _media_data_ends(descriptor: int, size: int, position: int) -> list[int]:
    """Where the media data boxes end that lie whole in the file."""
    ends: list[int] = []
    while position + _BOX_HEADER <= size:
        box = os.pread(descriptor, _BOX_HEADER, position)
        length = int.from_bytes(box[:4])
        if length < _BOX_HEADER or position + length > size or box[4:] == b"mfra":
            break
        position += length
        if box[4:] == b"mdat":
            ends.append(position)
    return ends


def _is_doubtful(unforced: Unforced, *, last: bool) -> bool:
    return unforced is Unforced.ANY or (unforced is Unforced.LAST and last)


def _is_whole(descriptor: int, fragment: Fragment) -> bool:
    """Whether the NAL units of every sample fill it exactly."""
    data = os.pread(descriptor, fragment.data_size, fragment.data_offset)
    position = 0
    for sample_size in fragment.table.sizes:
        end = position + sample_size
        while position < end:
            length = int.from_bytes(data[position : position + _LENGTH])
            position += _LENGTH + length
            if not length or position > end:
                return False
    return position == len(data)


def _hash_range(descriptor: int, start: int, end: int, digest: "hashlib._Hash") -> None:
    while start < end:
        chunk = os.pread(descriptor, min(_CHUNK, end - start), start)
        if not chunk:
            break
        digest.update(chunk)
        start += len(chunk)
