"""I7 and I2 (runs), I6 and I10 (spans tell what segments cover), and the register's spans."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Table, select

from vigie.recording.fsck.coverage import (
    DESTROYED,
    FOLDED,
    TIMELINE,
    Piece,
    bounds_of,
    folded_too_early,
    numbers_of,
    piece_of,
    spans_agree,
)
from vigie.recording.fsck.report import (
    JUDGEMENT,
    LOST,
    Finding,
    error,
    remake,
    settle,
    warning,
)
from vigie.recording.fsck.view import View
from vigie.recording.index.convert import segment_from_row
from vigie.recording.index.spans import destroyed_segment
from vigie.recording.index.tables import (
    DESTROYED_SPANS,
    DESTRUCTIONS,
    FOLDED_DESTRUCTIONS,
    OUTAGES,
    RUN_ENDS,
    SEGMENTS,
    SPANS,
)
from vigie.recording.model import PIECE_LIMIT_US, Segment

_REPAIR: Final = "vigie fsck --repair"


@dataclass(slots=True)
class Run:
    """What is known of one run."""

    run: str
    stored: list[Segment] = field(default_factory=list)
    destroyed: list[Segment] = field(default_factory=list)
    folded: Sequence[Piece] = ()
    """What of it was destroyed so long ago that the register has no entry of it any more."""

    @property
    def all(self) -> list[Segment]:
        """Stored and destroyed segments by number."""
        return sorted([*self.stored, *self.destroyed], key=lambda segment: segment.number)

    @property
    def stored_pieces(self) -> list[Piece]:
        """What the timeline must list."""
        return [piece_of(segment) for segment in self.stored]

    @property
    def destroyed_pieces(self) -> list[Piece]:
        """What the timeline must call destroyed."""
        return [*(piece_of(segment) for segment in self.destroyed), *self.folded]

    @property
    def numbers(self) -> set[int]:
        """Of all segments that are accounted for."""
        return numbers_of([*self.stored_pieces, *self.destroyed_pieces])


async def check_runs(view: View) -> AsyncIterator[Finding]:
    """I7, I2, I6, I10 for every run in the index or the register."""
    async for names in _run_names(view):
        for name in names:
            findings = await _check_run(view, name)
            if findings:
                # Asked again: a segment or a destruction may have come between the readings.
                for finding in await _check_run(view, name):
                    yield finding


async def _run_names(view: View) -> AsyncIterator[list[str]]:
    for table, others in (
        (SEGMENTS, ()),
        (DESTRUCTIONS, (SEGMENTS,)),
        (SPANS, (SEGMENTS,)),
        (DESTROYED_SPANS, (DESTRUCTIONS, SEGMENTS)),
        (FOLDED_DESTRUCTIONS, (DESTROYED_SPANS, DESTRUCTIONS, SEGMENTS)),
    ):
        after = ""
        while True:
            query = select(table.c.run).distinct().where(table.c.run > after)
            for other in others:
                # Not NOT IN, of which PostgreSQL makes a search through all of the other table.
                query = query.where(~select(other.c.run).where(other.c.run == table.c.run).exists())
            async with view.database.reading() as connection:
                rows = await connection.execute(query.order_by(table.c.run).limit(200))
                names = [run for (run,) in rows]
            if not names:
                break
            yield names
            after = names[-1]


async def _check_run(view: View, name: str) -> list[Finding]:
    async with view.database.reading() as connection:
        rows = (await connection.execute(select(SEGMENTS).where(SEGMENTS.c.run == name))).all()
        gone = (
            await connection.execute(select(DESTRUCTIONS).where(DESTRUCTIONS.c.run == name))
        ).all()
        end = (await connection.execute(select(RUN_ENDS).where(RUN_ENDS.c.run == name))).first()
        spans = await _rows(connection, SPANS, name)
        destroyed_spans = await _rows(connection, DESTROYED_SPANS, name)
        folded = [bounds_of(row) for row in await _rows(connection, FOLDED_DESTRUCTIONS, name)]
        camera = next((row.camera for row in (*rows, *gone)), "")
        outages = await _outages(connection, camera, [*rows, *gone])
    stored = [segment_from_row(row) for row in rows if row.destroying_us is None]
    run = Run(name, stored, [destroyed_segment(row) for row in gone], folded)
    findings = [*_contiguous(run), *_complete(view, run, end, outages)]
    findings += spans_agree(name, run.stored_pieces, spans, TIMELINE)
    # Folded entries are evidence, and cannot be made anew from what is made of them.
    whose = FOLDED if folded else DESTROYED
    findings += spans_agree(name, run.destroyed_pieces, destroyed_spans, whose)
    findings += folded_too_early(view, name, folded)
    return findings if rows or gone or folded or spans or destroyed_spans else []


async def _rows(connection: Any, table: Table, name: str) -> Sequence[Any]:
    query = select(table).where(table.c.run == name).order_by(table.c.first_number)
    rows: Sequence[Any] = (await connection.execute(query)).all()
    return rows


def _contiguous(run: Run) -> list[Finding]:
    """I7: each segment begins where the one before it ends, on both clocks."""
    findings: list[Finding] = []
    segments = run.all
    for before, after in pairwise(segments):
        where = {"camera": after.camera, "run": run.run, "object_key": after.object_key}
        if before.number == after.number:
            findings.append(
                error(
                    "I7",
                    "two objects are the same segment of a run",
                    "keep both; find out which process wrote the second",
                    JUDGEMENT,
                    **where,
                )
            )
            continue
        if after.start_us < before.end_us:
            findings.append(
                error(
                    "I7",
                    "a segment begins before the one before it ends",
                    f"{_REPAIR}; if it stays, the times of the objects are wrong",
                    settle(after.object_key),
                    **where,
                )
            )
        elif after.number == before.number + 1 and after.start_us != before.end_us:
            findings.append(
                error(
                    "I7",
                    "a segment does not begin where the one before it ends",
                    f"{_REPAIR}; if it stays, the times of the objects are wrong",
                    settle(after.object_key),
                    **where,
                )
            )
    return findings + _one_medium(run)


def _one_medium(run: Run) -> list[Finding]:
    """I7: the media time of a run goes on, with one header, of one camera."""
    findings: list[Finding] = []
    stored = run.stored
    by_number = {segment.number: segment for segment in stored}
    for segment in stored:
        before_it = by_number.get(segment.number - 1)
        where = {"camera": segment.camera, "run": run.run, "object_key": segment.object_key}
        if before_it is None:
            continue
        media_end = before_it.media_start_ticks + before_it.media_duration_ticks
        if media_end != segment.media_start_ticks:
            findings.append(
                error(
                    "I7",
                    "the media time of a run is broken",
                    f"{_REPAIR}; if it stays, the objects are not of one run",
                    settle(segment.object_key),
                    **where,
                )
            )
        if (before_it.header_sha256, before_it.camera) != (segment.header_sha256, segment.camera):
            findings.append(
                error(
                    "I7",
                    "segments of one run have other parameters or cameras",
                    f"{_REPAIR}; if it stays, the objects are not of one run",
                    settle(segment.object_key),
                    **where,
                )
            )
    return findings


async def _outages(connection: Any, camera: str, rows: Sequence[Any]) -> list[tuple[int, int]]:
    """What was told as missing while a run lasted."""
    if not rows:
        return []
    first_us, last_us = min(row.start_us for row in rows), max(row.end_us for row in rows)
    query = select(OUTAGES.c.start_us, OUTAGES.c.end_us).where(
        OUTAGES.c.camera == camera,
        OUTAGES.c.start_us >= first_us - PIECE_LIMIT_US,
        OUTAGES.c.start_us <= last_us,
        OUTAGES.c.end_us > first_us,
    )
    return [(row.start_us, row.end_us) for row in await connection.execute(query)]


def told_as_lost(run: Run, number: int, end: Any, outages: Sequence[tuple[int, int]]) -> bool:
    """Whether the time of a missing segment lies whole within outages that were told."""
    pieces = [*run.stored_pieces, *run.destroyed_pieces]
    before = max((piece.end_us for piece in pieces if piece.last < number), default=None)
    after = min((piece.start_us for piece in pieces if piece.first > number), default=None)
    until = after if after is not None else (end.end_us if end is not None else None)
    if before is None or until is None:
        return False
    at_us = before
    for start_us, end_us in sorted(outages):
        if start_us <= at_us < end_us:
            at_us = end_us
    return at_us >= until


def _complete(view: View, run: Run, end: Any, outages: Sequence[tuple[int, int]]) -> list[Finding]:
    """I2 and I7: a run has every segment, and is what its end says."""
    if not run.all:
        return []
    return [*_vanished(view, run, end, outages), *_against_its_end(run, end)]


def _vanished(view: View, run: Run, end: Any, outages: Sequence[tuple[int, int]]) -> list[Finding]:
    """I2: no segment of a run has vanished between reception and event."""
    segments, numbers = run.all, run.numbers
    expected = set(range(max(numbers) + 1))
    if end is not None and end.end_us <= view.bound_us:
        expected = set(range(end.segment_count))
    findings: list[Finding] = []
    camera = segments[0].camera
    newest_us = max(segment.end_us for segment in segments)
    for number in sorted(expected - numbers):
        if (run.run, number) in view.spooled or newest_us > view.bound_us:
            continue
        if told_as_lost(run, number, end, outages):
            what = "a segment of a run was lost, and its loss was told as a gap"
            remedy = "look for it in the spool's quarantine"
            where = {"camera": camera, "run": run.run, "number": number}
            findings.append(warning("I2", what, remedy, LOST, **where))
            continue
        findings.append(
            error(
                "I2",
                "a segment of a run is neither stored, spooled nor destroyed",
                "look for it in the spool's quarantine and the event quarantine",
                LOST,
                camera=camera,
                run=run.run,
                number=number,
            )
        )
    return findings


def _against_its_end(run: Run, end: Any) -> list[Finding]:
    """I7: a run has as many segments, and ends when, its end says."""
    if end is None:
        return []
    segments = run.all
    camera, last = segments[0].camera, max(segment.number for segment in segments)
    findings: list[Finding] = []
    if end.segment_count <= last:
        findings.append(
            error(
                "I7",
                "a run has more segments than its end says",
                f"{_REPAIR}; if it stays, look at the span end object",
                remake(run.run),
                camera=camera,
                run=run.run,
                number=last,
            )
        )
    if end.segment_count == last + 1 and segments[-1].end_us != end.end_us:
        findings.append(
            error(
                "I7",
                "a run ends at another instant than its end says",
                f"{_REPAIR}; if it stays, look at the span end object",
                remake(run.run),
                camera=camera,
                run=run.run,
            )
        )
    return findings
