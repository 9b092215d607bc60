"""I3 and I8: index and bucket, read side by side in the order of their keys, once.

Both sides are sorted by object key, so one listing and one walk along the index meet everything
that is on either side: what both have is compared, what only one has is asked for once more and
then told. Nothing is looked up object by object. Holds that the store shows on the way are noted
for the check of holds, and objects that are not sound for the check of events.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ObjectInfo
from vigie.platform.reasons import OBJECT_NOT_FOUND
from vigie.recording.attributes import AttributesMissingError, segment_from_object
from vigie.recording.fsck import unknown
from vigie.recording.fsck.report import (
    EVIDENCE,
    ITSELF,
    JUDGEMENT,
    LOST,
    Finding,
    error,
    settle,
    warning,
)
from vigie.recording.fsck.view import BATCH, View
from vigie.recording.index.convert import segment_from_row
from vigie.recording.keys import parse_key
from vigie.recording.model import Segment
from vigie.recording.playback.media import ObjectGoneError, SegmentMedia

_RESTORE: Final = "restore the object from a copy; its footage is lost otherwise"
_REPAIR: Final = "vigie fsck --repair"


async def check_objects(view: View) -> AsyncIterator[Finding]:
    """I3, I8: every row has its object, as it was recorded, and every object has its row."""
    media = SegmentMedia(view.store, cache_bytes=1)
    after = ""
    async for batch in _batches(view):
        async for finding in _stretch(view, media, batch, after, batch[-1].key):
            yield finding
        after = batch[-1].key
    async for finding in _stretch(view, media, [], after, None):
        yield finding


async def _batches(view: View) -> AsyncIterator[list[ObjectInfo]]:
    batch: list[ObjectInfo] = []
    async for info in view.store.list(f"{view.prefix}/"):
        batch.append(info)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _stretch(
    view: View, media: SegmentMedia, batch: Sequence[ObjectInfo], after: str, until: str | None
) -> AsyncIterator[Finding]:
    """What lies between two keys on both sides."""
    objects: dict[str, ObjectInfo | None] = {info.key: info for info in batch}
    for info in batch:
        for hold in info.holds:
            view.held.setdefault(hold, []).append(info.key)
    async for rows in view.rows_between(after, until):
        for row in rows:
            found = objects.pop(row.object_key, None)
            async for finding in _row(view, media, row, found):
                yield finding
    alone = [info for info in objects.values() if info is not None]
    async for finding in unknown.check(view, alone):
        yield finding


async def _row(
    view: View, media: SegmentMedia, row: Any, info: ObjectInfo | None
) -> AsyncIterator[Finding]:
    segment = segment_from_row(row)
    if row.destroying_us is not None:
        async for finding in _being_destroyed(view, segment, row.destroying_us):
            yield finding
        return
    if info is None:
        missing = await _without_object(view, segment)
        if missing is not None:
            view.suspects.add(segment.object_key)
            yield missing
        return
    found = compare(segment, info)
    if found:
        view.suspects.add(segment.object_key)
    for finding in found:
        yield finding
    if view.deep:
        async for finding in _deep(view, media, segment, info):
            yield finding


async def _being_destroyed(
    view: View, segment: Segment, destroying_us: int
) -> AsyncIterator[Finding]:
    where = {"camera": segment.camera, "object_key": segment.object_key}
    if await view.register_row(segment.object_key) is None:
        if await view.segment_row(segment.object_key) is not None:
            yield error(
                "I3",
                "a segment is being destroyed without a record of it",
                "do not run retention; tell the supervisor",
                EVIDENCE,
                **where,
            )
    elif destroying_us <= view.bound_us:
        yield warning(
            "I3",
            "a destruction that was recorded is not finished",
            "the next round of retention finishes it",
            ITSELF,
            **where,
        )


async def _without_object(view: View, segment: Segment) -> Finding | None:
    now = await view.segment_row(segment.object_key)
    if now is None or now.destroying_us is not None:
        return None
    if await view.store.stat(segment.object_key) is not None:
        return None
    return error(
        "I3",
        "the index names an object that the store does not have",
        _RESTORE,
        LOST,
        camera=segment.camera,
        run=segment.run,
        object_key=segment.object_key,
    )


def compare(segment: Segment, info: ObjectInfo) -> list[Finding]:
    """What a row and its object say differently of each other."""
    where = {"camera": segment.camera, "object_key": segment.object_key}
    if info.foreign:
        return [
            error(
                "I3",
                "the record of an object is missing or damaged: neither digest nor holds are known",
                f"{_REPAIR}: the record is written anew when the content is what was recorded",
                settle(info.key),
                **where,
            )
        ]
    if (info.sha256, info.size_bytes) != (segment.sha256, segment.size_bytes):
        return [
            error(
                "I8",
                "the store has other bytes than were recorded",
                "keep both digests as evidence; restore the object from a copy",
                # The record or the row may be what was altered, and the content be whole.
                settle(info.key),
                sha256=info.sha256,
                size_bytes=info.size_bytes,
                **where,
            )
        ]
    return _identity(segment, info, where)


def _identity(segment: Segment, info: ObjectInfo, where: dict[str, str]) -> list[Finding]:
    key = parse_key(segment.object_key)
    if key is not None and not key.names(segment):
        what = "an index row says other things than its object's key"
        return [error("I3", what, _REPAIR, settle(info.key), **where)]
    try:
        told = segment_from_object(info)
    except AttributesMissingError:
        what = "an object has lost its attributes"
        return [warning("I3", what, _REPAIR, settle(info.key), **where)]
    if told != segment:
        what = "an index row says other things than its object's attributes"
        return [error("I3", what, _REPAIR, settle(info.key), **where)]
    return []


async def _deep(
    view: View, media: SegmentMedia, segment: Segment, info: ObjectInfo
) -> AsyncIterator[Finding]:
    """Read the object: its digest (I8), and whether it can be played (I10)."""
    where = {"camera": segment.camera, "object_key": segment.object_key}
    digest = hashlib.sha256()
    try:
        async for chunk in view.store.read(segment.object_key):
            digest.update(chunk)
        found = digest.hexdigest()
        if found != segment.sha256:
            if found == info.sha256:
                return  # told already: row and record differ
            yield error(
                "I8",
                "the bytes of an object are not those that were recorded",
                "keep the object as evidence; restore it from a copy",
                LOST,
                found_sha256=found,
                **where,
            )
            return
        await media.open(segment)
    except (VigieError, ObjectGoneError) as failure:
        gone = isinstance(failure, ObjectGoneError) or failure.reason.name == OBJECT_NOT_FOUND.name
        row = await view.segment_row(segment.object_key)
        if gone and (row is None or row.destroying_us is not None):
            return
        yield error(
            "I10",
            f"a listed segment cannot be played: {failure}",
            _RESTORE,
            JUDGEMENT,
            **where,
        )
