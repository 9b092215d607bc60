"""Boxes of ISO/IEC 14496-12: building them, and walking over them with bounds checked."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from vigie.media.errors import MalformedMedia, MediaReason

_HEADER: Final = struct.Struct("!I4s")
_LARGE: Final = struct.Struct("!Q")
MAX_BOXES: Final = 100_000


def box(kind: bytes, *payload: bytes) -> bytes:
    """A box with this content (clause 4.2)."""
    body = b"".join(payload)
    return _HEADER.pack(8 + len(body), kind) + body


def full_box(kind: bytes, version: int, flags: int, *payload: bytes) -> bytes:
    """A box that starts with a version and flags."""
    return box(kind, struct.pack("!I", version << 24 | flags), *payload)


class Box(NamedTuple):
    """Where a box lies in the buffer it was read from, and the path of boxes to it."""

    kind: bytes
    start: int
    body: int
    end: int
    path: str


def box_name(kind: bytes) -> str:
    """The four-character code for messages: anything unprintable is shown as hex."""
    return kind.decode("ascii") if kind.isalnum() else kind.hex()


def read_box_header(data: bytes, start: int, limit: int, path: str) -> Box:
    """The box at ``data[start]``, which must end by ``limit`` (may lie beyond ``data``).

    ``data`` must hold its header: 8 bytes, or 16 when its size field is 1.

    Raises:
        MalformedMedia: cut short, or larger than what it lies in.
    """
    if start + 8 > min(limit, len(data)):
        raise MalformedMedia("box header cut short", start, path, MediaReason.TRUNCATED)
    size, kind = _HEADER.unpack_from(data, start)
    here = f"{path}/{box_name(kind)}" if path else box_name(kind)
    body = start + 8
    if size == 1:
        if start + 16 > min(limit, len(data)):
            raise MalformedMedia("box header cut short", start, here, MediaReason.TRUNCATED)
        size = _LARGE.unpack_from(data, body)[0]
        body += 8
    elif size == 0:
        size = limit - start
    if size < body - start:
        raise MalformedMedia(f"box of {size} bytes", start, here)
    if start + size > limit:
        raise MalformedMedia(
            f"box of {size} bytes, {limit - start} are there", start, here, MediaReason.TRUNCATED
        )
    return Box(kind, start, body, start + size, here)


def iter_boxes(data: bytes, start: int, end: int, path: str = "") -> Iterator[Box]:
    """The boxes of ``data[start:end]`` one after the other.

    Raises:
        MalformedMedia: they do not fill the range exactly, or are too many.
    """
    count = 0
    while start < end:
        found = read_box_header(data, start, end, path)
        yield found
        start = found.end
        count += 1
        if count > MAX_BOXES:
            raise MalformedMedia("too many boxes", start, path, MediaReason.TOO_LARGE)


def child(data: bytes, parent: Box, kind: bytes) -> Box:
    """The one box of this kind in ``parent``. Raises MalformedMedia when absent or repeated."""
    found = children(data, parent, kind)
    if len(found) != 1:
        name = f"{parent.path}/{box_name(kind)}"
        raise MalformedMedia(f"found {len(found)} times, once is asked", parent.start, name)
    return found[0]


def children(data: bytes, parent: Box, kind: bytes) -> list[Box]:
    """All boxes of this kind in ``parent``."""
    return [each for each in iter_boxes(data, parent.body, parent.end, parent.path)
            if each.kind == kind]  # fmt: skip


def unpack(layout: struct.Struct, data: bytes, where: Box, offset: int) -> tuple[int, ...]:
    """Read fixed fields ``offset`` bytes into the body. Raises MalformedMedia beyond its end."""
    position = where.body + offset
    if position + layout.size > where.end:
        raise MalformedMedia("fields cut short", position, where.path, MediaReason.TRUNCATED)
    return layout.unpack_from(data, position)


_U32: Final = struct.Struct("!I")


def version_and_flags(data: bytes, where: Box, highest_version: int) -> tuple[int, int]:
    """Version and flags of a full box. Raises MalformedMedia for versions not known."""
    (word,) = unpack(_U32, data, where, 0)
    version, flags = word >> 24, word & 0xFFFFFF
    if version > highest_version:
        raise MalformedMedia(f"version {version}", where.start, where.path, MediaReason.UNSUPPORTED)
    return version, flags
