"""Decodes a frame and makes a JPEG of it; loads FFmpeg's libraries and Pillow."""

import io
from fractions import Fraction
from typing import Final

import av
from av.video.frame import VideoFrame
from PIL import Image

from vigie.recording.playback.source import Source, UndecodableError

MAX_IMAGE_BYTES: Final = 960 << 10
"""Largest picture in an answer: a message stays below 1 MiB."""
_QUALITIES: Final = (90, 80, 70, 60, 45, 30)


def decode_at(source: Source, instant_us: int) -> tuple[VideoFrame, int]:
    """The last frame shown at or before an instant (else the first one), and when it is shown.

    Raises:
        UndecodableError: no frame came out.
    """
    try:
        return _decode_at(source, instant_us)
    except av.FFmpegError as error:
        raise UndecodableError(str(error)) from error


def _decode_at(source: Source, instant_us: int) -> tuple[VideoFrame, int]:
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
