"""Stills: the frame that was on display at an instant, decoded from its key frame on."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from vigie.media.errors import MediaError
from vigie.recording.playback.clip import no_footage
from vigie.recording.playback.footage import Footage, Shot
from vigie.recording.playback.media import ObjectGoneError, damaged
from vigie.recording.playback.source import Source, UndecodableError
from vigie.recording.timeline.algebra import Kind
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader


@dataclass(frozen=True, slots=True)
class Still:
    """A picture: JPEG bytes, its size, when it was shown, where it stands."""

    image: bytes
    width: int
    height: int
    frame_us: int
    run: str
    object_key: str


class SnapshotMaker:
    """Makes stills; decoding happens in threads, a bounded number at a time.

    Args:
        timelines: tells where footage is.
        footage: reads it.
        concurrency: decoders at a time (one core each).
    """

    def __init__(
        self, timelines: TimelineReader, footage: Footage, *, concurrency: int = 2
    ) -> None:
        self._timelines = timelines
        self._footage = footage
        self._turns = asyncio.Semaphore(concurrency)

    async def snapshot(self, camera: str, instant_us: int, *, max_width: int = 0) -> Still:
        """The frame of an instant.

        Raises:
            VigieError: NO_FOOTAGE (naming the cause of the gap), FOOTAGE_DAMAGED.
        """
        window = Interval(instant_us, instant_us + 1)
        entries = [entry async for entry in self._timelines.entries(camera, window)]
        if entries[0].kind is not Kind.SPAN:
            raise no_footage(camera, entries)
        try:
            shots = [shot async for shot in self._footage.shots(entries[0].run, window)]
            if not shots:
                raise no_footage(camera, entries)
            source = await self._source(shots)
        except ObjectGoneError as error:
            raise no_footage(camera, entries) from error
        segment = shots[-1].opened.source
        async with self._turns:
            try:
                still = await asyncio.to_thread(_still, source, instant_us, max_width)
            except UndecodableError as error:
                raise damaged(segment, f"cannot be decoded: {error}") from error
        image, width, height, frame_us = still
        return Still(image, width, height, frame_us, segment.run, segment.object_key)

    async def _source(self, shots: Sequence[Shot]) -> Source:
        first = shots[0]
        parts = [first.opened.header.data]
        for shot in shots:
            source, fragment = shot.opened.source, shot.fragment
            content = self._footage.media.read(source, fragment.offset, fragment.size_bytes)
            parts.extend([chunk async for chunk in content])
        header = first.opened.header
        table = first.fragment.table
        shown = first.fragment.base_decode_time + table.composition_offsets[0]
        return Source(
            b"".join(parts),
            shots[-1].opened.mapping,
            header.timescale,
            shown - header.presentation_delay,
        )


def _still(source: Source, instant_us: int, max_width: int) -> tuple[bytes, int, int, int]:
    """The picture of an instant as JPEG, its width and height, and when it is shown.

    Raises:
        UndecodableError: there is none, or it is damaged.
    """
    # Decoders take ten megabytes, and most processes never make a still.
    from vigie.recording.playback.decoding import decode_at, encode

    try:
        frame, frame_us = decode_at(source, instant_us)
    except MediaError as error:
        raise UndecodableError(str(error)) from error
    return *encode(frame, max_width), frame_us
