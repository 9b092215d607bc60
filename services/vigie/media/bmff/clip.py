"""Clips: an exact window of recorded footage as a playable file, nothing transcoded.

1. A clip's timeline is the wall clock. Sample times are mapped from each segment's media time
   (so the slew of at most 500 ppm is in them) and everything between two runs is true time: the
   last frame before a gap simply lasts until the next one comes.
2. The file begins with the last key frame shown at or before ``from``. The frame that is on
   screen at ``from`` is shown from there on; frames before it, needed to decode it, last a
   thousandth of a frame each and are skipped by the edit list. So a player that ignores edit
   lists (libav gives those frames negative times and counts them) is off by milliseconds.
3. It ends with the last frame shown before ``to``. Frames decoded before that one and shown later
   (references of B-frames, two or three at most) stay in the file at their true times; edit
   list, movie and fragment durations end the presentation at ``to``, libav counts them.
4. Frames keep their bytes; only their times are new. Leading pictures of the first key frame
   refer to what is not in the file; they are not in the window and are left out.
5. Runs with other parameter sets get a sample entry of their own when codec and picture size
   are the same, and their key frames the sets in front: libav knows one entry in fragmented
   files. Where codec or size differ a new file begins: the result is one plan for each stretch.
6. So it does behind a gap of more than six hours: what a sample lasts has 32 bits, 13 hours.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import pairwise
from typing import Final, Generic, TypeVar

from vigie.media.annexb import length_prefixed
from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import CLIP_BRANDS, Presentation, build_movie, build_sample_entry
from vigie.media.bmff.header import content_type as media_type
from vigie.media.bmff.plan import PRFT_SIZE, MediaGap, MediaPart, MediaPlan, PlannedSegment
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.media.bmff.reader import Fragment
from vigie.media.bmff.samples import (
    decodable,
    presentation_times,
    rising,
    sample_ranges,
    sample_table,
)
from vigie.media.codec import VideoCodec
from vigie.media.errors import MediaError, MediaReason
from vigie.media.parameters import ParameterSets
from vigie.media.timing import SampleTable

S = TypeVar("S")
# Rounding of wall times between segments of one run stays below; real gaps are far longer.
_GAP_TOLERANCE_US: Final = 1_000
# Open GOPs: the interval before the one that holds `from` may be needed, in another segment.
_LOOK_BACK_US: Final = 60_000_000
_MAX_HIDDEN_TICKS: Final = 40
_LONGEST_GAP_US: Final = 6 * 3_600_000_000


@dataclass(slots=True)
class _Piece(Generic[S]):
    """One fragment: which of its samples are used and when they are shown, in decode order."""

    segment: PlannedSegment[S]
    fragment: Fragment
    kept: list[int]
    shown_us: list[int]
    begin_us: int
    end_us: int

    @property
    def parameters(self) -> ParameterSets:
        return self.segment.header.parameters[self.fragment.description_index - 1]

    @property
    def format(self) -> tuple[VideoCodec, int, int]:
        configuration = self.parameters.configuration
        return configuration.codec, configuration.width, configuration.height

    def keep(self, positions: Sequence[int]) -> None:
        """Use only the samples at these positions of ``kept``."""
        self.kept = [self.kept[position] for position in positions]
        self.shown_us = [self.shown_us[position] for position in positions]


def plan_clips(
    segments: Sequence[PlannedSegment[S]], from_us: int, to_us: int
) -> list[MediaPlan[S]]:
    """The file, or files, of the window [``from_us``, ``to_us``).

    Args:
        segments: those of one camera that overlap the window, any order; others do no harm.
        from_us: first instant to be shown.
        to_us: the instant at which the presentation ends.

    Raises:
        MediaError: EMPTY_WINDOW when there is no footage in the window, MALFORMED when the times of
            its frames cannot be told in a file.
    """
    ordered = sorted(segments, key=lambda segment: segment.start_us)
    pieces = _select(list(_pieces(ordered, from_us, to_us)), from_us, to_us)
    if not pieces:
        raise MediaError(MediaReason.EMPTY_WINDOW, "no footage in the window")
    return [_plan(stretch, from_us, to_us) for stretch in _stretches(pieces)]


def _stretches(pieces: Sequence[_Piece[S]]) -> Iterator[list[_Piece[S]]]:
    """What goes into a file each."""
    stretch = [pieces[0]]
    for before, piece in pairwise(pieces):
        is_far = piece.begin_us - before.end_us > _LONGEST_GAP_US
        if is_far or piece.format != before.format:
            yield stretch
            stretch = []
        stretch.append(piece)
    yield stretch


def _pieces(segments: Sequence[PlannedSegment[S]], from_us: int, to_us: int) -> Iterator[_Piece[S]]:
    for segment in segments:
        wall_us = segment.mapping.wall_us
        delay = segment.header.presentation_delay
        for fragment in segment.fragments:
            begin_us, end_us = wall_us(fragment.base_decode_time), wall_us(fragment.end_decode_time)
            if begin_us >= to_us:
                break
            if end_us <= from_us - _LOOK_BACK_US:
                continue
            shown_us = [wall_us(time) for time in presentation_times(fragment, delay)]
            yield _Piece(segment, fragment, list(range(len(shown_us))), shown_us, begin_us, end_us)


def _select(pieces: list[_Piece[S]], from_us: int, to_us: int) -> list[_Piece[S]]:
    """From the last key frame shown at or before ``from_us`` (or the first after) to the end."""
    first = next((at for at, piece in enumerate(pieces) if piece.end_us > from_us), len(pieces))
    # `from` lies among leading pictures: they need the interval before, of the same run.
    while (
        0 < first < len(pieces)
        and pieces[first].shown_us[0] > from_us >= pieces[first].begin_us
        and pieces[first - 1].end_us >= pieces[first].begin_us - _GAP_TOLERANCE_US
    ):
        first -= 1
    kept = pieces[first:]
    while kept and not _trim(kept[-1], to_us):
        kept.pop()
    return kept


def _trim(piece: _Piece[S], to_us: int) -> bool:
    """Drop the samples decoded after the last one shown before ``to_us``; False: none is left."""
    needed = [index for index, shown in enumerate(piece.shown_us) if shown < to_us]
    if not needed:
        return False
    piece.keep(range(needed[-1] + 1))
    return True


class _Clock:
    """Wall clock to ticks of the clip; see rule 2 for frames before the window.

    ``start`` is where the window begins, after the frames that are only decoded. How long those
    last follows the first two frames shown: libav reports a step of more than a thousand times
    the average before it as a discontinuity, and the first step may be next to nothing.
    """

    def __init__(self, shown_us: Sequence[int], start_us: int, end_us: int) -> None:
        self._start_us = start_us
        self._before = sorted(time for time in shown_us if time <= start_us)
        following = nsmallest(2, (time for time in shown_us if time > start_us)) or [end_us]
        longest = max(after - before for before, after in pairwise([start_us, *following]))
        self._step = min(_MAX_HIDDEN_TICKS, _ticks(longest) // 900 + 1)
        # The last of `_before` is on screen at the start.
        self.start = max(0, len(self._before) - 1) * self._step
        self.end = self.start + max(1, _ticks(end_us - start_us))

    def ticks(self, shown_us: int) -> int:
        if shown_us <= self._start_us:
            return bisect_left(self._before, shown_us) * self._step
        return self.start + max(1, _ticks(shown_us - self._start_us))

    def wall_us(self, ticks: int) -> int:
        return self._start_us + (ticks - self.start) * 100 // 9


def _plan(pieces: list[_Piece[S]], from_us: int, to_us: int) -> MediaPlan[S]:
    # Nothing can be shown before the first key frame.
    start_us = max(from_us, pieces[0].shown_us[0])
    end_us = max(min(to_us, pieces[-1].end_us), start_us + 1)
    pieces[0].keep(decodable(pieces[0].shown_us))
    clock = _Clock([time for piece in pieces for time in piece.shown_us], start_us, end_us)
    tables = _tables(pieces, clock)
    delay = max(0, -min(min(table.composition_offsets) for table in tables))
    tables = [_delayed(table, delay) for table in tables]
    # In the order of first use; equal sets share an entry.
    entries = list(dict.fromkeys(piece.parameters for piece in pieces))
    presentation = Presentation(delay + clock.start, clock.end - clock.start)
    header = build_movie(
        [build_sample_entry(entry.configuration) for entry in entries],
        entries[0].configuration,
        brands=CLIP_BRANDS,
        presentation=presentation,
    )
    additions = [
        length_prefixed(piece.parameters) if piece.parameters != entries[0] else b""
        for piece in pieces
    ]
    tables = [_added(table, len(sets)) for table, sets in zip(tables, additions, strict=True)]
    parts, tail = _parts(pieces, tables, additions, clock, header)
    gaps = tuple(
        MediaGap(before.end_us, after.begin_us)
        for before, after in pairwise(pieces)
        if after.begin_us - before.end_us > _GAP_TOLERANCE_US
    )
    return MediaPlan(
        media_type(entries[0].configuration), tuple(parts), tail, start_us, end_us,
        presentation.duration, gaps,
    )  # fmt: skip


def _tables(pieces: list[_Piece[S]], clock: _Clock) -> list[SampleTable]:
    """Sample tables on the clip's timeline; decode times rise strictly through all of them."""
    shown = [[clock.ticks(time) for time in piece.shown_us] for piece in pieces]
    decoded: list[list[int]] = []
    following = 0
    for times in shown:
        decoded.append(rising(times, following))
        following = decoded[-1][-1] + 1
    ends = [*(times[0] for times in decoded[1:]), max(clock.end, following)]
    return [
        sample_table(piece.fragment, piece.kept, at, when, end)
        for piece, at, when, end in zip(pieces, shown, decoded, ends, strict=True)
    ]


def _added(table: SampleTable, size: int) -> SampleTable:
    """The table with ``size`` bytes put before its first sample."""
    return table._replace(sizes=[table.sizes[0] + size, *table.sizes[1:]])


def _delayed(table: SampleTable, delay: int) -> SampleTable:
    offsets = [offset + delay for offset in table.composition_offsets]
    return table._replace(composition_offsets=offsets)


def _parts(
    pieces: list[_Piece[S]],
    tables: list[SampleTable],
    additions: list[bytes],
    clock: _Clock,
    header: bytes,
) -> tuple[list[MediaPart[S]], bytes]:
    parts: list[MediaPart[S]] = []
    index = RandomAccessTable()
    position, base = len(header), 0
    lead = header
    entries = list(dict.fromkeys(piece.parameters for piece in pieces))
    for number, (piece, table) in enumerate(zip(pieces, tables, strict=True), start=1):
        index.append(base + table.composition_offsets[0], position + PRFT_SIZE)
        head = build_fragment(
            table,
            number,
            base,
            wall_us=clock.wall_us(base),
            description_index=entries.index(piece.parameters) + 1 if len(entries) > 1 else None,
        )
        lead += head + additions[number - 1]
        for offset, length in sample_ranges(piece.fragment, piece.kept):
            parts.append(MediaPart(lead, piece.segment.source, offset, length))
            lead = b""
        position += len(head) + table.size_bytes
        base += table.duration
    return parts, index.mfra()


def _ticks(duration_us: int) -> int:
    """Microseconds to 1/90000 s, to nearest."""
    return (duration_us * 9 + 50) // 100
