"""What is in a stored object, read by ranges and kept for the next reader.

Nothing of an object is believed before it was compared with its index row: its whole content is
hashed before its first byte leaves, and parsed. An object that was cut, altered or exchanged
raises FOOTAGE_DAMAGED instead of being shown, and is counted.
"""

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Final

from vigie.media.bmff.plan import PlannedSegment
from vigie.media.bmff.reader import Fragment, drive_async, fragment_steps, header_steps
from vigie.media.errors import MediaError
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ObjectStore
from vigie.platform.reasons import OBJECT_NOT_FOUND, RANGE_INVALID
from vigie.recording import reasons
from vigie.recording.model import Segment

StoredSegment = PlannedSegment[Segment]
CHUNK_BYTES: Final = 512 << 10
# Parallel lists of integers of a sample table, and the objects around them (measured).
_SAMPLE_COST_BYTES: Final = 120
_FRAGMENT_COST_BYTES: Final = 800
_VERIFIED_LIMIT: Final = 512


class ObjectGoneError(Exception):
    """The object of a listed segment is not in the store (any more)."""


def damaged(segment: Segment, why: str) -> VigieError:
    """FOOTAGE_DAMAGED for an object, naming it."""
    return VigieError(
        reasons.FOOTAGE_DAMAGED, f"{segment.object_key}: {why}", object_key=segment.object_key
    )


def _uncounted(_reason: str) -> None:
    """Nobody counts."""


class SegmentMedia:
    """Reads segments.

    Args:
        store: where the objects are.
        cache_bytes: memory for what was parsed (headers, sample tables); media is not kept.
        verify: hash the whole content of an object before anything of it is given away.
        count: told of each object that is damaged, by a constant reason.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        cache_bytes: int,
        verify: bool = False,
        count: Callable[[str], None] = _uncounted,
    ) -> None:
        self._store = store
        self._cache_bytes = cache_bytes
        self._verify = verify
        self._count = count
        # What was hashed lately; the next reader of the same footage does not wait for it again.
        self._verified: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._cached: OrderedDict[str, tuple[StoredSegment, int]] = OrderedDict()
        self._used_bytes = 0

    async def open(self, segment: Segment) -> StoredSegment:
        """Header and fragments of a segment, with its wall clock.

        Raises:
            ObjectGoneError: it is not in the store.
            VigieError: FOOTAGE_DAMAGED; STORE_UNAVAILABLE.
        """
        key = segment.object_key
        if key in self._cached:
            self._cached.move_to_end(key)
            return self._cached[key][0]
        opened = await self._parse(segment)
        samples = sum(len(fragment.table.sizes) for fragment in opened.fragments)
        cost = (
            len(opened.header.data)
            + samples * _SAMPLE_COST_BYTES
            + len(opened.fragments) * _FRAGMENT_COST_BYTES
        )
        self._keep(key, opened, cost)
        return opened

    async def verify(self, segment: Segment) -> None:
        """See that the whole content of an object is what was recorded, before it is shown.

        Raises:
            ObjectGoneError: it is not in the store.
            VigieError: FOOTAGE_DAMAGED; STORE_UNAVAILABLE.
        """
        key = (segment.object_key, segment.sha256)
        if not self._verify or key in self._verified:
            return
        digest = hashlib.sha256()
        async for chunk in self.read(segment, 0, segment.size_bytes):
            digest.update(chunk)
        if digest.hexdigest() != segment.sha256:
            raise self.damaged(segment, "CHECKSUM", "its content is not what was recorded")
        self._verified[key] = None
        if len(self._verified) > _VERIFIED_LIMIT:
            self._verified.popitem(last=False)

    def damaged(self, segment: Segment, reason: str, why: str) -> VigieError:
        """FOOTAGE_DAMAGED for an object, counted under a constant reason."""
        self._count(reason)
        return damaged(segment, why)

    def _keep(self, key: str, opened: StoredSegment, cost: int) -> None:
        if key in self._cached or cost > self._cache_bytes:
            return
        self._cached[key] = (opened, cost)
        self._used_bytes += cost
        while self._used_bytes > self._cache_bytes:
            _, (_, freed) = self._cached.popitem(last=False)
            self._used_bytes -= freed

    async def _parse(self, segment: Segment) -> StoredSegment:
        async def read(offset: int, length: int) -> bytes:
            return b"".join([chunk async for chunk in self.read(segment, offset, length)])

        try:
            header = await drive_async(header_steps(segment.size_bytes), read)
            fragments = await drive_async(fragment_steps(segment.size_bytes, header), read)
            opened = PlannedSegment(
                segment, header, fragments, segment.start_us, segment.duration_us
            )
        except MediaError as error:
            raise self.damaged(segment, "UNREADABLE", str(error)) from error
        first, last = fragments[0], fragments[-1]
        media = (first.base_decode_time, last.end_decode_time - first.base_decode_time)
        if media != (segment.media_start_ticks, segment.media_duration_ticks):
            raise self.damaged(segment, "CONTRADICTS_INDEX", "its media time is not the index's")
        return opened

    async def read(self, segment: Segment, offset: int, length: int) -> AsyncIterator[bytes]:
        """A range of an object, exactly, in chunks of at most `CHUNK_BYTES`.

        Raises:
            ObjectGoneError: it is not in the store.
            VigieError: FOOTAGE_DAMAGED when it ends too early; STORE_UNAVAILABLE.
        """
        received = 0
        try:
            async for chunk in self._store.read(
                segment.object_key, offset=offset, length=length, chunk_size=CHUNK_BYTES
            ):
                received += len(chunk)
                yield chunk
        except VigieError as error:
            if error.reason.name == OBJECT_NOT_FOUND.name:
                raise ObjectGoneError(segment.object_key) from error
            if error.reason.name == RANGE_INVALID.name:
                raise self.damaged(segment, "CUT", "it is shorter than the index says") from error
            raise
        if received != length:
            why = f"{length} bytes at {offset} expected, {received} read"
            raise self.damaged(segment, "CUT", why)


def fragment_window(opened: StoredSegment, fragment: Fragment) -> tuple[int, int]:
    """Wall-clock start and end of a fragment."""
    wall_us = opened.mapping.wall_us
    return wall_us(fragment.base_decode_time), wall_us(fragment.end_decode_time)


def key_shown_us(opened: StoredSegment, fragment: Fragment) -> int:
    """When the key frame of a fragment is shown: after its start where leading pictures are."""
    delay = opened.header.presentation_delay
    shown = fragment.base_decode_time + fragment.table.composition_offsets[0] - delay
    return opened.mapping.wall_us(shown)
