"""Checks that a media file of a package holds what its manifest says, sample by sample."""

import hashlib
import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import IO, Final

from vigie.evidence.manifest import File, Media, SourceSegment
from vigie.evidence.rejection import RejectedError
from vigie.media.bmff.movie import MediaHeader
from vigie.media.bmff.reader import Fragment, drive, fragment_steps, header_steps
from vigie.media.errors import MediaError

# The receiver's clock is followed by at most 500 ppm (docs/design/time.md); the rest is rounding
# of ticks to microseconds at both ends of a fragment.
_SLEW_PPM: Final = 500
_ROUNDING_US: Final = 50
_MICROSECOND: Final = timedelta(microseconds=1)
_READ_BYTES: Final = 1 << 20


def check_media(file: File, stream: IO[bytes]) -> None:
    """Compare one media file with its entry of the manifest.

    Args:
        file: the entry; ``file.media`` must be there.
        stream: the file, seekable, known to have the right digest.

    Raises:
        RejectedError: MEDIA_INVALID when it cannot be read, MEDIA_INCONSISTENT when it differs.
    """
    media = file.media
    if media is None:
        raise ValueError(f"{file.path} is no media file")

    def read(offset: int, length: int) -> bytes:
        stream.seek(offset)
        return stream.read(length)

    try:
        header = drive(header_steps(file.size_bytes), read)
        fragments = drive(fragment_steps(file.size_bytes, header), read)
    except MediaError as error:
        raise RejectedError("MEDIA_INVALID", f"{file.path}: {error}") from error
    _check_header(file, media, header)
    if sum(segment.fragments for segment in media.segments) != len(fragments):
        raise RejectedError(
            "MEDIA_INCONSISTENT", f"{file.path} has {len(fragments)} fragments, not those listed"
        )
    at = 0
    for segment in media.segments:
        own = fragments[at : at + segment.fragments]
        at += segment.fragments
        _check_segment(file, segment, own, header.timescale, stream)
    _check_continuity(file, media, fragments)


def _check_header(file: File, media: Media, header: MediaHeader) -> None:
    found = header.configuration
    stated = (media.codec, media.width, media.height)
    if (found.codec_string, found.width, found.height) != stated:
        raise RejectedError("MEDIA_INCONSISTENT", f"{file.path} is coded in another way than said")


def _check_segment(
    file: File,
    segment: SourceSegment,
    fragments: Sequence[Fragment],
    timescale: int,
    stream: IO[bytes],
) -> None:
    digest = hashlib.sha256()
    samples = 0
    for fragment in fragments:
        stream.seek(fragment.data_offset)
        left = fragment.data_size
        while left:
            chunk = stream.read(min(left, _READ_BYTES))
            if not chunk:
                raise RejectedError("MEDIA_INVALID", f"{file.path} ends early")
            digest.update(chunk)
            left -= len(chunk)
        samples += len(fragment.table.sizes)
    if samples != segment.samples or digest.hexdigest() != segment.samples_sha256:
        raise RejectedError(
            "MEDIA_INCONSISTENT", f"{file.path}: the samples of {segment.object_key} differ"
        )
    media_us = sum(fragment.duration for fragment in fragments) * 1_000_000 // timescale
    wall_us = (segment.end - segment.start) // _MICROSECOND
    if abs(media_us - wall_us) > media_us * _SLEW_PPM // 1_000_000 + _ROUNDING_US:
        raise RejectedError(
            "MEDIA_INCONSISTENT", f"{file.path}: the times of {segment.object_key} do not fit"
        )


def _check_continuity(file: File, media: Media, fragments: Sequence[Fragment]) -> None:
    """One run: no break between fragments, nor between the segments they come from."""
    for before, after in itertools.pairwise(fragments):
        if before.end_decode_time != after.base_decode_time:
            raise RejectedError("MEDIA_INCONSISTENT", f"{file.path} is interrupted")
    for earlier, later in zip(media.segments, media.segments[1:], strict=False):
        if (earlier.end, earlier.number + 1) != (later.start, later.number):
            raise RejectedError("MEDIA_INCONSISTENT", f"{file.path}: segments out of order")
    if (media.segments[0].start, media.segments[-1].end) != (media.start, media.end):
        raise RejectedError("MEDIA_INCONSISTENT", f"{file.path}: other times than its segments")
