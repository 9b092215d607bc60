"""One MP4 for each run, for evidence: the recorded fragments verbatim behind a new header.

Every byte from the first ``prft`` on is that of the recorded objects, boxes included, so that a
hash of a fragment in the package equals that of the fragment in the store. Only the header is
new (length of the whole, and an edit list that puts the first frame at time 0, since decode times
go on through the run) and the random access table at the end.
"""

from collections.abc import Sequence
from typing import TypeVar

from vigie.media.bmff.header import CLIP_BRANDS, Presentation, build_movie, build_sample_entry
from vigie.media.bmff.header import content_type as media_type
from vigie.media.bmff.plan import MediaPart, MediaPlan, PlannedSegment
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.media.errors import MediaError, MediaReason

S = TypeVar("S")


def plan_package(segments: Sequence[PlannedSegment[S]]) -> MediaPlan[S]:
    """The file of consecutive segments of one run, whole fragments.

    To leave out fragments outside a window, give only those of interest (`whole_fragments`).

    Raises:
        MediaError: no segments, not of one run (other parameters, decode times that do not
            follow each other).
    """
    if not segments:
        raise MediaError(MediaReason.EMPTY_WINDOW, "no segments")
    first = segments[0]
    _require_one_run(segments)
    configuration = first.header.configuration
    base = first.fragments[0].base_decode_time
    end = segments[-1].fragments[-1].end_decode_time
    header = build_movie(
        [build_sample_entry(configuration)],
        configuration,
        brands=CLIP_BRANDS,
        presentation=Presentation(base + first.header.presentation_delay, end - base),
    )
    parts: list[MediaPart[S]] = []
    index = RandomAccessTable()
    position = len(header)
    for segment in segments:
        for fragment in segment.fragments:
            key = fragment.base_decode_time + fragment.table.composition_offsets[0]
            moof = position + fragment.moof_offset - fragment.offset
            index.append(max(0, key - segment.header.presentation_delay - base), moof)
            head = header if not parts else b""
            parts.append(MediaPart(head, segment.source, fragment.offset, fragment.size_bytes))
            position += fragment.size_bytes
    return MediaPlan(
        media_type(configuration), tuple(parts), index.mfra(), first.start_us,
        segments[-1].end_us, end - base,
    )  # fmt: skip


def whole_fragments(
    segment: PlannedSegment[S], from_us: int, to_us: int
) -> PlannedSegment[S] | None:
    """The segment reduced to the fragments that overlap the window; None when none does."""
    wall_us = segment.mapping.wall_us
    kept = [
        fragment
        for fragment in segment.fragments
        if wall_us(fragment.base_decode_time) < to_us
        and wall_us(fragment.end_decode_time) > from_us
    ]
    if not kept:
        return None
    start = wall_us(kept[0].base_decode_time)
    duration = wall_us(kept[-1].end_decode_time) - start
    return PlannedSegment(segment.source, segment.header, kept, start, duration)


def _require_one_run(segments: Sequence[PlannedSegment[S]]) -> None:
    expected = segments[0].fragments[0].base_decode_time
    reference = segments[0].header
    for segment in segments:
        header = segment.header
        if (
            header.parameters != reference.parameters
            or header.timescale != reference.timescale
            or header.presentation_delay != reference.presentation_delay
        ):
            raise MediaError(MediaReason.MALFORMED, f"{segment.source}: other parameters")
        for fragment in segment.fragments:
            if fragment.base_decode_time != expected:
                raise MediaError(
                    MediaReason.MALFORMED,
                    f"{segment.source}: decode time {fragment.base_decode_time}, {expected} is due",
                )
            expected = fragment.end_decode_time
