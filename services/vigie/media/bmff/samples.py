"""Sample tables made anew for files that leave samples out or move them in time."""

from collections.abc import Sequence
from itertools import accumulate

from vigie.media.bmff.reader import Fragment
from vigie.media.timing import SampleTable


def presentation_times(fragment: Fragment, delay: int) -> list[int]:
    """When each sample is shown in its run, in ticks; ``delay`` is that of the header."""
    table = fragment.table
    starts = accumulate(table.durations, initial=fragment.base_decode_time)
    return [
        start + offset - delay
        for start, offset in zip(starts, table.composition_offsets, strict=False)
    ]


def decodable(times: Sequence[int]) -> list[int]:
    """Indices of the samples that can be decoded when this fragment is the first.

    Pictures shown before the key frame (leading pictures of open GOPs) refer to the fragment
    before it and to each other; no other picture refers to them.
    """
    return [index for index, time in enumerate(times) if time >= times[0]]


def rising(times: Sequence[int], not_before: int) -> list[int]:
    """Decode times for samples shown at ``times``: the same in ascending order, rising strictly."""
    result = []
    previous = not_before - 1
    for time in sorted(times):
        previous = max(time, previous + 1)
        result.append(previous)
    return result


def sample_table(
    fragment: Fragment, kept: Sequence[int], shown: Sequence[int], decoded: Sequence[int], end: int
) -> SampleTable:
    """The table of the ``kept`` samples, shown and decoded at these times, the last until ``end``.

    Composition offsets are plain differences: negative where a sample is shown before its
    decode time, until the caller adds a delay.
    """
    table = fragment.table
    return SampleTable(
        [after - at for at, after in zip(decoded, [*decoded[1:], end], strict=True)],
        [table.sizes[index] for index in kept],
        [at - when for at, when in zip(shown, decoded, strict=True)],
        [table.sync[index] for index in kept],
    )


def sample_ranges(fragment: Fragment, kept: Sequence[int]) -> list[tuple[int, int]]:
    """Offset and length of the ``kept`` samples in the object, neighbours joined."""
    offsets = list(accumulate(fragment.table.sizes, initial=fragment.data_offset))
    ranges: list[tuple[int, int]] = []
    for index in kept:
        start, size = offsets[index], fragment.table.sizes[index]
        if ranges and sum(ranges[-1]) == start:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + size)
        else:
            ranges.append((start, size))
    return ranges
