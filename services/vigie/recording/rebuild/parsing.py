"""A segment from its attributes, or, where these were lost in a copy, from its content."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

from vigie.media.bmff.reader import drive_async, fragment_steps, header_steps
from vigie.media.errors import MediaError
from vigie.platform.objectstore import ObjectInfo, ObjectStore
from vigie.recording.attributes import (
    AttributesMissingError,
    RunEnd,
    run_end_from_object,
    segment_from_object,
)
from vigie.recording.index.convert import EventInvalidError, check_segment
from vigie.recording.keys import FootageKey
from vigie.recording.model import Segment

_SLEW_PPM: Final = 500

RunOf = Callable[[FootageKey, int], Awaitable[str]]
"""The run of a segment without attributes, from its key and its duration in microseconds."""


class NotFootageError(Exception):
    """An object that cannot be indexed; it says why."""


async def segment_of(
    store: ObjectStore, info: ObjectInfo, key: FootageKey, run_of: RunOf
) -> tuple[Segment, bool]:
    """The segment that an object is, and whether its content had to be read.

    Raises:
        NotFootageError: it is none, or damaged.
        VigieError: the store is unavailable.
    """
    try:
        segment = segment_from_object(info)
    except AttributesMissingError:
        pass
    else:
        if segment.camera != key.camera:
            raise NotFootageError(f"it says that it is of camera {segment.camera}")
        return segment, False
    try:
        return await _parse(store, info, key, run_of), True
    except (AttributesMissingError, MediaError, EventInvalidError) as error:
        raise NotFootageError(str(error)) from error


async def _parse(store: ObjectStore, info: ObjectInfo, key: FootageKey, run_of: RunOf) -> Segment:
    async def read(offset: int, length: int) -> bytes:
        parts = store.read(info.key, offset=offset, length=length)
        return b"".join([chunk async for chunk in parts])

    header = await drive_async(header_steps(info.size_bytes), read)
    fragments = await drive_async(fragment_steps(info.size_bytes, header), read)
    if not fragments:
        raise AttributesMissingError("no fragment")
    media_start = fragments[0].base_decode_time
    media_duration = fragments[-1].end_decode_time - media_start
    duration_us = media_duration * 1_000_000 // header.timescale
    segment = Segment(
        object_key=info.key,
        camera=key.camera,
        run=key.run or (await run_of(key, duration_us) if media_start else run_named_after(key)),
        number=key.counter,
        start_us=key.instant_us,
        end_us=key.instant_us + duration_us,
        media_start_ticks=media_start,
        media_duration_ticks=media_duration,
        timescale=header.timescale,
        sample_count=sum(len(fragment.table.sizes) for fragment in fragments),
        size_bytes=info.size_bytes,
        sha256=info.sha256,
        codec=header.configuration.codec_string,
        width=header.width,
        height=header.height,
        camera_clock_offset_us=None,
        header_sha256=hashlib.sha256(header.data).hexdigest(),
    )
    check_segment(segment)
    return segment


def run_end_of(info: ObjectInfo, key: FootageKey) -> RunEnd:
    """The end of a run; of one whose attributes were lost in a copy, what its key says.

    Raises:
        NotFootageError: neither says it, or not of the same camera.
    """
    try:
        end = run_end_from_object(info)
    except AttributesMissingError as error:
        if not key.run:
            raise NotFootageError(str(error)) from error
        return RunEnd(key.camera, key.run, key.instant_us, key.counter, 0, info.key)
    if end.camera != key.camera:
        raise NotFootageError(f"it says that it is of camera {end.camera}")
    return end


def run_named_after(key: FootageKey) -> str:
    """The name of a run that nobody knows, from its first segment."""
    digest = hashlib.sha256(f"{key.camera}/{key.instant_us}".encode()).hexdigest()
    return f"{key.instant_us // 1000:012x}7{digest[:19]}"


class RunGuesser:
    """Tells which run an object without attributes belongs to whose (older) key does not say it.

    Objects come in order of their keys, hence of their time for each camera: the next number at
    the time at which the last one ended is of the same run.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, int, int]] = {}

    def run_of(self, key: FootageKey, duration_us: int) -> str:
        """The run of a segment: known from its predecessor, else named after its key."""
        last = self._last.get(key.camera)
        run = ""
        if last is not None and last[1] == key.counter:
            slack_us = 1000 + duration_us * _SLEW_PPM // 1_000_000
            if abs(last[2] - key.instant_us) <= slack_us:
                run = last[0]
        run = run or run_named_after(key)
        self._last[key.camera] = (run, key.counter + 1, key.instant_us + duration_us)
        return run
