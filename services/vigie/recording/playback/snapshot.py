"""Stills: the frame that was on display at an instant, decoded from its key frame on."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
from av.video.frame import VideoFrame
from PIL import Image

from vigie.media.bmff.plan import WallMapping
from vigie.media.errors import MediaError
from vigie.recording.playback.clip import no_footage
from vigie.recording.playback.footage import Footage, Shot
from vigie.recording.playback.media import ObjectGoneError, damaged
from vigie.recording.timeline.algebra import Kind
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader

MAX_IMAGE_BYTES: Final = 960 << 10
"""Largest picture in an answer: a message stays below 1 MiB."""
_QUALITIES: Final = (90, 80, 70, 60, 45, 30)


class UndecodableError(Exception):
    """The decoder gave no frame for stored bytes."""


@dataclass(frozen=True, slots=True)
class Still:
    """A picture: JPEG bytes, its size, when it was shown, where it stands."""

    image: bytes
    width: int
    height: int
    frame_us: int
    run: str
    object_key: str


@dataclass(frozen=True, slots=True)
class _Source:
    """Bytes to decode: an initialisation segment with one or two fragments."""

    content: bytes
    mapping: WallMapping
    timescale: int
    first_shown_ticks: int


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
                frame, frame_us = await asyncio.to_thread(decode_at, source, instant_us)
            except (UndecodableError, av.FFmpegError, MediaError) as error:
                raise damaged(segment, f"cannot be decoded: {error}") from error
            image, width, height = await asyncio.to_thread(encode, frame, max_width)
        return Still(image, width, height, frame_us, segment.run, segment.object_key)

    async def _source(self, shots: Sequence[Shot]) -> _Source:
        first = shots[0]
        parts = [first.opened.header.data]
        for shot in shots:
            source, fragment = shot.opened.source, shot.fragment
            content = self._footage.media.read(source, fragment.offset, fragment.size_bytes)
            parts.extend([chunk async for chunk in content])
        header = first.opened.header
        table = first.fragment.table
        shown = first.fragment.base_decode_time + table.composition_offsets[0]
        return _Source(
            b"".join(parts),
            shots[-1].opened.mapping,
            header.timescale,
            shown - header.presentation_delay,
        )


def decode_at(source: _Source, instant_us: int) -> tuple[VideoFrame, int]:
    """The last frame shown at or before an instant (else the first one), and when it is shown.

    Raises:
        UndecodableError: no frame came out.
    """
    best: VideoFrame | None = None
    best_us = 0
    with av.open(io.BytesIO(source.content), "r", format="mp4") as container:
        stream = container.streams.video[0]
        shift: int | None = None
        for packet in container.demux(stream):
            if shift is None and packet.pts is not None and packet.time_base is not None:
                # Whatever the demuxer makes of edit lists: the first packet is the key frame, and
                # when that is shown is known from the file itself.
                shift = source.first_shown_ticks - _ticks(
                    packet.pts, packet.time_base, source.timescale
                )
            for frame in packet.decode():
                if frame.pts is None or frame.time_base is None or shift is None:
                    continue
                media = _ticks(frame.pts, frame.time_base, source.timescale) + shift
                shown_us = source.mapping.wall_us(media)
                if best is not None and shown_us > instant_us:
                    return best, best_us
                best, best_us = frame, shown_us
    if best is None:
        raise UndecodableError("no frame came out of the decoder")
    return best, best_us


def _ticks(value: int, time_base: Fraction, timescale: int) -> int:
    return round(value * time_base * timescale)


def encode(frame: VideoFrame, max_width: int) -> tuple[bytes, int, int]:
    """A frame as JPEG of at most `MAX_IMAGE_BYTES`, never enlarged; with width and height."""
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]  # PyAV has no type here
    if max_width and image.width > max_width:
        height = max(1, round(image.height * max_width / image.width))
        image = image.resize((max_width, height), Image.Resampling.LANCZOS)
    while True:
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            if buffer.tell() <= MAX_IMAGE_BYTES:
                return buffer.getvalue(), image.width, image.height
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
