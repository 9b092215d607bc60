"""Clips: an exact window of recorded footage as a playable file, nothing transcoded.

1. A clip's timeline is the wall clock. Sample times are mapped from each segment's media time
   (so the slew of at most 500 ppm is in them) and everything between two runs is true time: the
   last frame before a gap simply lasts until the next one comes.
2. It begins in the file with the last key frame shown at or before ``from``; an edit list makes
   the presentation begin at ``from`` exactly. It ends with the last frame shown before ``to``;
   frames that are shown later but decoded before (references of B-frames) stay in the file, and
   the edit list, movie and fragment durations end the presentation at ``to``. libav gives the
   frames before ``from`` negative times; players that ignore edit lists show at most one
   key-frame interval more.
3. Frames keep their bytes; only their times are new.
4. Runs with other parameter sets get a sample entry of their own when codec and picture size
   are the same. Where they differ a new file begins: the result is one plan for each stretch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import Final, Generic, TypeVar

from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import CLIP_BRANDS, Presentation, build_movie, build_sample_entry
from vigie.media.bmff.header import content_type as media_type
from vigie.media.bmff.plan import MediaGap, MediaPart, MediaPlan, PlannedSegment
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.media.bmff.reader import Fragment
from vigie.media.codec import VideoCodec
from vigie.media.errors import MediaError, MediaReason
from vigie.media.parameters import ParameterSets
from vigie.media.timing import SampleTable

S = TypeVar("S")
# Rounding of wall times between segments of one run stays below; real gaps are far longer.
_GAP_TOLERANCE_US: Final = 1_000
# Open GOPs: the interval before the one that holds `from` may be needed, in another segment.
_LOOK_BACK_US: Final = 60_000_000
PRFT_SIZE: Final = 32


@dataclass(slots=True)
class _Piece(Generic[S]):
    """One fragment with its samples on the wall clock (microseconds), in decode order."""

    segment: PlannedSegment[S]
    fragment: Fragment
    decode_us: list[int]
    shown_us: list[int]
    end_us: int

    @property
    def parameters(self) -> ParameterSets:
        return self.segment.header.parameters[self.fragment.description_index - 1]

    @property
    def first_us(self) -> int:
        """When its first frame is shown (a leading picture in open GOPs)."""
        return min(self.shown_us[0], self.decode_us[0])

    @property
    def format(self) -> tuple[VideoCodec, int, int]:
        header = self.segment.header
        return self.parameters.codec, header.width, header.height


def plan_clips(
    segments: Sequence[PlannedSegment[S]], from_us: int, to_us: int
) -> list[MediaPlan[S]]:
    """The file, or files, of the window [``from_us``, ``to_us``).

    Args:
        segments: those of one camera that overlap the window, any order; others do no harm.
        from_us: first instant to be shown.
        to_us: the instant at which the presentation ends.

    Raises:
        MediaError: EMPTY_WINDOW when there is no footage in the window.
    """
    ordered = sorted(segments, key=lambda segment: segment.start_us)
    pieces = _select(list(_pieces(ordered, from_us, to_us)), from_us, to_us)
    if not pieces:
        raise MediaError(MediaReason.EMPTY_WINDOW, "no footage in the window")
    stretches = [list(group) for _, group in groupby(pieces, key=lambda piece: piece.format)]
    return [_plan(stretch, from_us, to_us) for stretch in stretches]


def _pieces(segments: Sequence[PlannedSegment[S]], from_us: int, to_us: int) -> Iterator[_Piece[S]]:
    for segment in segments:
        # A key frame up to here may be shown before the window: the interval before is kept.
        if segment.start_us >= to_us or segment.end_us <= from_us - _LOOK_BACK_US:
            continue
        wall_us = segment.mapping.wall_us
        delay = segment.header.presentation_delay
        for fragment in segment.fragments:
            base, table = fragment.base_decode_time, fragment.table
            if wall_us(base) >= to_us:
                break
            if wall_us(fragment.end_decode_time) <= from_us - _LOOK_BACK_US:
                continue
            times = list(accumulate(table.durations, initial=base))
            decode_us = [wall_us(time) for time in times]
            shown_us = [
                wall_us(time + offset - delay)
                for time, offset in zip(times, table.composition_offsets, strict=False)
            ]
            end_us = decode_us.pop()
            yield _Piece(segment, fragment, decode_us, shown_us, end_us)


def _select(pieces: list[_Piece[S]], from_us: int, to_us: int) -> list[_Piece[S]]:
    """From the last key frame shown at or before ``from_us`` (or the first after) to the end."""
    first = next((at for at, piece in enumerate(pieces) if piece.end_us > from_us), len(pieces))
    # `from` lies among leading pictures: they need the interval before, of the same run.
    while (
        0 < first < len(pieces)
        and pieces[first].shown_us[0] > from_us >= pieces[first].decode_us[0]
        and pieces[first - 1].end_us >= pieces[first].decode_us[0] - _GAP_TOLERANCE_US
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
    count = needed[-1] + 1
    if count < len(piece.shown_us):
        # The last frame shown lasts until the first of those that are dropped.
        piece.end_us = min(*piece.shown_us[count:], piece.end_us)
        del piece.shown_us[count:]
        del piece.decode_us[count:]
    return True


def _plan(pieces: list[_Piece[S]], from_us: int, to_us: int) -> MediaPlan[S]:
    origin = pieces[0].decode_us[0]
    # The first key frame is where decoding can begin: before it nothing can be shown.
    start_us = max(from_us, pieces[0].shown_us[0])
    end_us = max(min(to_us, pieces[-1].end_us), start_us + 1)
    tables = _tables(pieces, origin, end_us)
    delay = max(0, -min(min(table.composition_offsets) for table in tables))
    entries: list[ParameterSets] = []
    for piece in pieces:
        if piece.parameters not in entries:
            entries.append(piece.parameters)
    presentation = Presentation(
        delay + _ticks(start_us - origin), max(1, _ticks(end_us - start_us))
    )
    header = build_movie(
        [build_sample_entry(entry.configuration) for entry in entries],
        entries[0].configuration,
        brands=CLIP_BRANDS,
        presentation=presentation,
    )
    parts, tail = _parts(pieces, tables, delay, header, entries)
    gaps = tuple(
        MediaGap(before.end_us, after.first_us)
        for before, after in pairwise(pieces)
        if after.first_us - before.end_us > _GAP_TOLERANCE_US
    )
    return MediaPlan(
        media_type(entries[0].configuration), tuple(parts), tail, start_us, end_us,
        presentation.duration, gaps,
    )  # fmt: skip


def _tables(pieces: list[_Piece[S]], origin: int, end_us: int) -> list[SampleTable]:
    """Sample tables on the clip's timeline; decode times rise strictly through all of them."""
    times: list[list[int]] = []
    previous = -1
    for piece in pieces:
        row = []
        for decode in piece.decode_us:
            previous = max(_ticks(decode - origin), previous + 1)
            row.append(previous)
        times.append(row)
    last = max(_ticks(end_us - origin), previous + 1)
    tables = []
    for index, (piece, row) in enumerate(zip(pieces, times, strict=True)):
        after = times[index + 1][0] if index + 1 < len(times) else last
        count = len(row)
        tables.append(
            SampleTable(
                [later - time for time, later in zip(row, [*row[1:], after], strict=True)],
                piece.fragment.table.sizes[:count],
                [
                    _ticks(shown - origin) - time
                    for shown, time in zip(piece.shown_us, row, strict=True)
                ],
                piece.fragment.table.sync[:count],
            )
        )
    return tables


def _parts(
    pieces: list[_Piece[S]],
    tables: list[SampleTable],
    delay: int,
    header: bytes,
    entries: list[ParameterSets],
) -> tuple[list[MediaPart[S]], bytes]:
    parts: list[MediaPart[S]] = []
    index = RandomAccessTable()
    position, base = len(header), 0
    for number, (piece, table) in enumerate(zip(pieces, tables, strict=True), start=1):
        index.append(max(0, base + table.composition_offsets[0]), position + PRFT_SIZE)
        shifted = table._replace(
            composition_offsets=[offset + delay for offset in table.composition_offsets]
        )
        description = entries.index(piece.parameters) + 1 if len(entries) > 1 else None
        head = build_fragment(
            shifted, number, base, wall_us=piece.decode_us[0], description_index=description
        )
        fragment = piece.fragment
        size = table.size_bytes
        lead = header if number == 1 else b""
        parts.append(MediaPart(lead + head, piece.segment.source, fragment.data_offset, size))
        position += len(head) + size
        base += table.duration
    return parts, index.mfra()


def _ticks(duration_us: int) -> int:
    """Microseconds to 1/90000 s, to nearest."""
    return (duration_us * 9 + 50) // 100
