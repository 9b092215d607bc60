"""How much of a segment that was never closed can be trusted.

Three witnesses, from weak to strong: the boxes fit; the NAL units of every sample fill it
exactly; the running digest written behind each fragment matches. A fragment with a digest must
match it. One without (the process died between the two writes, or the power went before the small
file reached the disk) must have whole NAL units; and after a power cut the last such fragment is
not believed, because only it may have been written without having been forced to the disk.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vigie.ingest.recorder.segment import SUM
from vigie.media.bmff.movie import MediaHeader
from vigie.media.bmff.reader import Fragment, drive, fragment_steps, header_steps
from vigie.media.errors import MediaError

_CHUNK: Final = 1 << 20
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


def scan_segment(media: Path, sums: Path, *, rebooted: bool) -> ScannedSegment:
    """Look at an open segment.

    Args:
        media: the segment.
        sums: its running digests; may be missing or cut short.
        rebooted: whether the machine was restarted since it was written.

    Raises:
        OSError: the disk does not give it.
    """
    known = _read_sums(sums)
    descriptor = os.open(media, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _scan(descriptor, known, rebooted=rebooted)
    finally:
        os.close(descriptor)


def _scan(descriptor: int, known: dict[int, bytes], *, rebooted: bool) -> ScannedSegment:
    def read(offset: int, length: int) -> bytes:
        return os.pread(descriptor, length, offset)

    size = os.fstat(descriptor).st_size
    nothing = ScannedSegment(None, b"", [], hashlib.sha256(), altered=False)
    try:
        header = drive(header_steps(size), read)
    except MediaError:
        return nothing
    fragments = _whole_fragments(descriptor, size, header)
    digest, position, trusted = hashlib.sha256(), 0, 0
    altered = False
    last_known = max(known, default=0)
    for index, fragment in enumerate(fragments):
        advanced = digest.copy()
        _hash_range(descriptor, position, fragment.end, advanced)
        if fragment.end in known:
            if known[fragment.end] != advanced.digest():
                altered = True
                break
        elif fragment.end < last_known:
            # Digests are written in order: what has none before the last of them is not where it
            # was written.
            altered = True
            break
        elif not _believed(
            descriptor, fragment, last=index + 1 == len(fragments), rebooted=rebooted
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


def _believed(descriptor: int, fragment: Fragment, *, last: bool, rebooted: bool) -> bool:
    if rebooted and last:
        return False
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
