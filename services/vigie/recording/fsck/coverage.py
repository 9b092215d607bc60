"""What rows of spans must cover, and how they differ from it (I6, I10; I3 for destroyed spans)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from vigie.recording.fsck.report import EVIDENCE, Finding, error, remake
from vigie.recording.fsck.view import View
from vigie.recording.index.spans import SpanRow
from vigie.recording.model import PIECE_US, Segment
from vigie.recording.retention.folding import folded_before_us

_REPAIR: Final = "vigie fsck --repair"
_BY_HAND: Final = "tell the supervisor: the register was altered by hand"


class Piece(NamedTuple):
    """What one row or segment covers."""

    first: int
    last: int
    start_us: int
    end_us: int
    camera: str


def piece_of(segment: Segment) -> Piece:
    """What a segment covers."""
    number, times = segment.number, (segment.start_us, segment.end_us)
    return Piece(number, number, *times, segment.camera)


def bounds_of(row: SpanRow) -> Piece:
    """What a row says that it covers."""
    return Piece(row.first_number, row.last_number, row.start_us, row.end_us, row.camera)


def numbers_of(pieces: Sequence[Piece]) -> set[int]:
    """Numbers of the segments that are covered."""
    return {number for piece in pieces for number in range(piece.first, piece.last + 1)}


def folded_too_early(view: View, run: str, folded: Sequence[Piece]) -> list[Finding]:
    """I3: what was recorded after entries of today are kept for cannot have been folded."""
    what = "footage counts as destroyed long ago that is not so old"
    return [
        error("I3", what, _BY_HAND, EVIDENCE, run=run, camera=piece.camera, number=piece.last)
        for piece in folded
        if piece.end_us > folded_before_us(view.now_us)
    ]


def expected_spans(pieces: Sequence[Piece]) -> list[Piece]:
    """The rows that these pieces of one run must have."""
    rows: list[Piece] = []
    for piece in sorted(pieces):
        before = rows[-1] if rows else None
        if (
            before is not None
            and (before.last, before.end_us) == (piece.first - 1, piece.start_us)
            and before.start_us // PIECE_US == piece.start_us // PIECE_US
        ):
            rows[-1] = before._replace(last=piece.last, end_us=piece.end_us)
        else:
            rows.append(piece)
    return rows


class Whose(NamedTuple):
    """Whose spans are compared: the invariant, the words, and whether they may be made anew."""

    invariant: str
    words: str
    remade: bool = True


TIMELINE: Final = Whose("I10", "the timeline")
DESTROYED: Final = Whose("I3", "the destroyed footage")
FOLDED: Final = Whose("I3", "the destroyed footage", remade=False)


def spans_agree(
    run: str, pieces: Sequence[Piece], rows: Sequence[SpanRow], whose: Whose
) -> list[Finding]:
    """The spans say exactly what is covered."""
    told, expected = sorted(bounds_of(row) for row in rows), expected_spans(pieces)
    cameras = {piece.camera for piece in (*told, *pieces)}
    if told == expected and len(cameras) <= 1:
        return []
    where: dict[str, str | int] = {"run": run, "camera": ",".join(sorted(cameras))}
    listed, there = numbers_of(told), numbers_of(pieces)
    invariant, words = whose.invariant, whose.words
    remedy, mend = (_REPAIR, remake(run)) if whose.remade else (_BY_HAND, EVIDENCE)
    if listed - there:
        what, where["number"] = f"{words} lists what no segment covers", min(listed - there)
    elif there - listed:
        what, where["number"] = f"{words} leaves out what a segment covers", min(there - listed)
        invariant = "I6" if invariant == "I10" else invariant
    else:
        what = f"{words} has other bounds than its segments"
    return [error(invariant, what, remedy, mend, **where)]
