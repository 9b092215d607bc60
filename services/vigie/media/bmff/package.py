"""One MP4 for each run, for evidence: samples bit for bit as recorded, behind new boxes.

1. Samples, their order, durations and sample entry are those of the recording. New are the header
   (it knows the length) and decode times, which begin at 0: libav takes an edit list that skips a
   long beginning for part of the duration. Reference times (``prft``) keep the wall clock.
2. A package may begin at an open GOP in the middle of a run. Leading pictures that refer to what
   is not in the file are left out: they are shown before its key frame, so before ``start_us``.
"""

from collections.abc import Sequence
from typing import TypeVar

from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import CLIP_BRANDS, Presentation, build_movie, build_sample_entry
from vigie.media.bmff.header import content_type as media_type
from vigie.media.bmff.plan import PRFT_SIZE, MediaPart, MediaPlan, PlannedSegment
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.media.bmff.reader import Fragment
from vigie.media.bmff.samples import (
    decodable,
    presentation_times,
    rising,
    sample_ranges,
    sample_table,
)
from vigie.media.errors import MediaError, MediaReason
from vigie.media.timing import SampleTable

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
    _require_one_run(segments)
    first = segments[0]
    configuration = first.header.configuration
    delay = first.header.presentation_delay
    kept, start, opening = _opening(first.fragments[0], delay)
    end = segments[-1].fragments[-1].end_decode_time
    header = build_movie(
        [build_sample_entry(configuration)],
        configuration,
        brands=CLIP_BRANDS,
        fragments_duration=end - start,
        presentation=Presentation(delay, end - start) if delay else None,
    )
    parts: list[MediaPart[S]] = []
    index = RandomAccessTable()
    position, number = len(header), 0
    counts: list[int] = []
    for segment in segments:
        for fragment in segment.fragments:
            number += 1
            table = fragment.table if number > 1 else opening
            base = fragment.base_decode_time - start if number > 1 else 0
            wall_us = segment.mapping.wall_us(base + start)
            head = build_fragment(table, number, base, wall_us=wall_us)
            samples = kept if number == 1 else range(len(table.sizes))
            counts.append(len(samples))
            index.append(max(0, base + table.composition_offsets[0] - delay), position + PRFT_SIZE)
            position += len(head) + table.size_bytes
            lead = header + head if number == 1 else head
            for offset, length in sample_ranges(fragment, samples):
                parts.append(MediaPart(lead, segment.source, offset, length))
                lead = b""
    start_us = first.mapping.wall_us(start)
    return MediaPlan(
        media_type(configuration), tuple(parts), index.mfra(), start_us, segments[-1].end_us,
        end - start, sample_counts=tuple(counts),
    )  # fmt: skip


def _opening(fragment: Fragment, delay: int) -> tuple[Sequence[int], int, SampleTable]:
    """Which samples of the first fragment are kept, when they begin, and their table."""
    times = presentation_times(fragment, delay)
    kept = decodable(times)
    if len(kept) == len(times) or not fragment.base_decode_time:
        # At the start of a run undecodable pictures have not even been recorded.
        return range(len(times)), fragment.base_decode_time, fragment.table
    start = times[0]
    shown = [times[index] - start for index in kept]
    end = fragment.end_decode_time - start
    table = sample_table(fragment, kept, shown, rising(shown, 0), end)
    offsets = [offset + delay for offset in table.composition_offsets]
    return kept, start, table._replace(composition_offsets=offsets)


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
