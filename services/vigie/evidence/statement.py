"""Turns a timeline into the completeness statement of a package."""

from collections.abc import Sequence

from vigie.evidence.manifest import Camera, Interval
from vigie.evidence.model import Missing
from vigie.evidence.ports import TimelinePiece
from vigie.platform.clock import from_us


def state_completeness(
    camera: str,
    display_name: str,
    zones: Sequence[str],
    window_us: tuple[int, int],
    pieces: Sequence[TimelinePiece],
) -> Camera:
    """The statement of one camera; neighbouring pieces of one kind and cause become one.

    Args:
        camera: camera identifier.
        display_name: its name for people.
        zones: those it stood in during the window, in order of time; at least one.
        window_us: what was asked for, microseconds since the Unix epoch.
        pieces: the timeline of exactly that window, without PENDING.

    Raises:
        ValueError: the pieces are not the window, or one of them is neither SPAN nor GAP.
    """
    intervals: list[Interval] = []
    at = window_us[0]
    stored = 0
    for piece in pieces:
        if piece.start_us != at or piece.end_us <= piece.start_us:
            raise ValueError(f"{camera}: the timeline leaves {at} out")
        if piece.kind not in {"SPAN", "GAP"} or (piece.kind == "GAP" and not piece.cause):
            raise ValueError(f"{camera}: a piece of kind {piece.kind!r}, cause {piece.cause!r}")
        at = piece.end_us
        interval = _interval(piece)
        if interval.state == "STORED":
            stored += piece.end_us - piece.start_us
        if intervals and _alike(intervals[-1], interval):
            interval = interval.model_copy(update={"start": intervals.pop().start})
        intervals.append(interval)
    if at != window_us[1]:
        raise ValueError(f"{camera}: the timeline ends at {at}")
    requested = window_us[1] - window_us[0]
    return Camera(
        camera=camera,
        display_name=display_name or camera,
        zone=zones[-1],
        zones=tuple(zones) if len(zones) > 1 else (),
        requested_us=requested,
        stored_us=stored,
        missing_us=requested - stored,
        intervals=tuple(intervals),
    )


def missing_of(statement: Camera) -> list[Missing]:
    """Sums of what is missing, by cause."""
    sums: dict[str, int] = {}
    for interval in statement.intervals:
        if interval.state == "MISSING":
            length = interval.end - interval.start
            length_us = (length.days * 86_400 + length.seconds) * 1_000_000 + length.microseconds
            sums[interval.cause] = sums.get(interval.cause, 0) + length_us
    return [Missing(statement.camera, cause, sums[cause]) for cause in sorted(sums)]


def _interval(piece: TimelinePiece) -> Interval:
    start, end = from_us(piece.start_us), from_us(piece.end_us)
    if piece.kind == "SPAN":
        return Interval(start=start, end=end, state="STORED")
    return Interval(start=start, end=end, state="MISSING", cause=piece.cause, detail=piece.detail)


def _alike(earlier: Interval, later: Interval) -> bool:
    same = (earlier.state, earlier.cause) == (later.state, later.cause)
    return same and earlier.detail == later.detail
