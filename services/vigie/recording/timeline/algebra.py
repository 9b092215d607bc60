"""From facts to a timeline: every instant of a window in exactly one entry (invariant I6).

Layers are painted from the strongest to the weakest; each covers only what is still free:

1. footage (spans), of overlapping runs the one that began first;
2. the future;
3. what was destroyed (register of destructions);
4. what the registry had said by then: not in service, suspended, not authorised;
5. outages reported by ingest, open ones as far as ingest has vouched for them, or up to footage
   that begins a moment after: their exact end is told with it, perhaps a little later;
6. the tail that is being recorded and not stored yet (PENDING);
7. nothing reported: INGEST_DOWN; but a moment that leads up to a decision of the registry has its
   cause, for the last frame before a camera is let go ends before that; and so has one between
   footage and an outage, for where a segment that could not be closed ends is known only once it
   is repaired, and was an estimate when the outage was told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import takewhile, zip_longest
from typing import Final, TypeGuard

from vigie.recording.model import (
    Cause,
    Demand,
    Lifecycle,
    LiveState,
    Outage,
    Span,
)
from vigie.recording.timeline.intervals import Interval, Piece, flatten, paint

_DECISIONS: Final = frozenset({Cause.NOT_IN_SERVICE, Cause.SUSPENDED, Cause.NOT_AUTHORISED})


class Kind(IntEnum):
    """What an entry is: the numbers of `vigie.recording.v1.TimelineEntryKind`."""

    SPAN = 1
    GAP = 2
    PENDING = 3
    FUTURE = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a timeline; ``run`` for spans, ``cause`` and ``detail`` for gaps."""

    start_us: int
    end_us: int
    kind: Kind
    run: str = ""
    cause: Cause | None = None
    detail: str = ""
    merged: int = 0

    @property
    def duration_us(self) -> int:
        """Length in microseconds."""
        return self.end_us - self.start_us

    def continues(self, before: "Entry") -> bool:
        """Whether this entry says the same as the one it follows without a hole."""
        return (
            before.end_us == self.start_us
            and (before.kind, before.run, before.cause) == (self.kind, self.run, self.cause)
            and before.detail == self.detail
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known about one camera and a window.

    Attributes:
        spans: stored footage overlapping the window; runs may overlap.
        destroyed: destroyed footage overlapping the window.
        demands: what the registry wanted, by time, from the start of the window on; none: the
            registry had never told of the camera.
        outages: outages overlapping the window.
        last_stored_us: end of the newest stored footage of the camera that begins before now,
            wherever it lies; ``None``: nothing is stored.
        live: last word of the reception; ``None``: nothing was ever heard.
    """

    spans: Sequence[Span] = ()
    destroyed: Sequence[Span] = ()
    demands: Sequence[Demand] = ()
    outages: Sequence[Outage] = ()
    last_stored_us: int | None = None
    live: LiveState | None = None


@dataclass(frozen=True, slots=True)
class TailRule:
    """How far the last word of the reception is believed.

    Attributes:
        stale_after_us: a heartbeat older than this says nothing any more.
        settle_us: how long footage of a camera that has stopped recording may take to be stored,
            before its absence counts as a gap.
        let_go_us: how long may lie between the last whole frame of a camera and the decision that
            ended its recording: the period of a frame, a tick of reception, the way from it; and
            between the estimated and the real beginning or end of footage.
    """

    stale_after_us: int = 30_000_000
    settle_us: int = 900_000_000
    let_go_us: int = 500_000


def compose(
    window: Interval, now_us: int, facts: Facts, rule: TailRule = TailRule()
) -> list[Entry]:
    """The timeline of one camera over a window: ascending, without a hole, without overlap."""
    free = [window]
    entries: list[Entry] = []
    for layer in (
        [_span_entry(span) for span in facts.spans],
        [Entry(now_us, max(window.end_us, now_us), Kind.FUTURE)],
        [_gap(span.start_us, span.end_us, Cause.DESTROYED) for span in facts.destroyed],
        list(registry_gaps(facts.demands, window)),
        list(_outage_gaps(facts, now_us, rule)),
        list(_pending(facts, now_us, rule)),
        [_gap(window.start_us, window.end_us, Cause.INGEST_DOWN)],
    ):
        painted, free = paint(free, flatten(layer, _rank))
        entries.extend(_cut(piece) for piece in painted)
    entries.sort(key=lambda entry: entry.start_us)
    return join(_let_go(entries, rule.let_go_us))


def _let_go(entries: Sequence[Entry], most_us: int) -> Iterable[Entry]:
    """The same, the moment before a decision, or from footage to an outage, explained by it."""
    before: Entry | None = None
    for entry, after in zip_longest(entries, entries[1:]):
        unexplained = entry.cause is Cause.INGEST_DOWN and not entry.detail
        if unexplained and entry.duration_us <= most_us and _explains(after, before):
            yield replace(entry, cause=after.cause, detail=after.detail)
        else:
            yield entry
        before = entry


def _explains(after: Entry | None, before: Entry | None) -> TypeGuard[Entry]:
    """Whether ``after`` is why footage ended a moment before it."""
    if after is None:
        return False
    outage = after.kind is Kind.GAP and after.cause is not Cause.DESTROYED
    recorded = before is not None and before.kind is Kind.SPAN
    return after.cause in _DECISIONS or (outage and recorded)


def join(entries: Iterable[Entry]) -> list[Entry]:
    """Make one of neighbours that say the same."""
    joined: list[Entry] = []
    for entry in entries:
        if joined and entry.continues(joined[-1]):
            joined[-1] = replace(joined[-1], end_us=entry.end_us)
        else:
            joined.append(entry)
    return joined


def _rank(entry: Entry) -> str:
    # Run identifiers are UUIDv7: the smallest belongs to the run that began first. Where outages
    # overlap (two processes for one camera), the one that began first wins as well.
    return entry.run if entry.kind is Kind.SPAN else f"{entry.start_us:020d}{entry.cause or 0:02d}"


def _cut(piece: Piece[Entry]) -> Entry:
    return replace(piece.item, start_us=piece.start_us, end_us=piece.end_us)


def _span_entry(span: Span) -> Entry:
    return Entry(span.start_us, span.end_us, Kind.SPAN, run=span.run)


def _gap(start_us: int, end_us: int, cause: Cause, detail: str = "") -> Entry:
    return Entry(start_us, end_us, Kind.GAP, cause=cause, detail=detail)


def registry_gaps(demands: Sequence[Demand], window: Interval) -> Iterable[Entry]:
    """Intervals in which the registry did not want the camera to record, and why."""
    if not demands:
        yield _gap(window.start_us, window.end_us, Cause.NOT_IN_SERVICE)
        return
    yield _gap(window.start_us, demands[0].since_us, Cause.NOT_IN_SERVICE)
    ends = [demand.since_us for demand in demands[1:]] + [window.end_us]
    for demand, end_us in zip(demands, ends, strict=True):
        stretch = Interval(demand.since_us, max(end_us, demand.since_us))
        if demand.lifecycle is Lifecycle.SUSPENDED:
            yield _gap(stretch.start_us, stretch.end_us, Cause.SUSPENDED)
        elif demand.lifecycle is not Lifecycle.IN_SERVICE:
            yield _gap(stretch.start_us, stretch.end_us, Cause.NOT_IN_SERVICE)
        else:
            for hole in unauthorised(demand, stretch):
                yield _gap(hole.start_us, hole.end_us, Cause.NOT_AUTHORISED)


def unauthorised(demand: Demand, stretch: Interval) -> list[Interval]:
    """The parts of ``stretch`` in which no authorisation of ``demand`` is in force."""
    terms = [Piece(t.from_us, t.until_us, stretch) for t in demand.authorisations]
    _, holes = paint([stretch], flatten(terms, lambda piece: f"{piece.start_us:020d}"))
    return holes


def _fresh(facts: Facts, now_us: int, rule: TailRule) -> LiveState | None:
    live = facts.live
    # A heartbeat from the future is not fresh either: after a jump of the clock it would be
    # believed for as long as the jump was.
    if live is None or abs(now_us - live.updated_us) > rule.stale_after_us:
        return None
    return live


def _outage_gaps(facts: Facts, now_us: int, rule: TailRule) -> Iterable[Entry]:
    live = _fresh(facts, now_us, rule)
    lasting = live is not None and not live.recording and live.cause is not None
    newest_us = max((outage.start_us for outage in facts.outages), default=0)
    stored_us = facts.last_stored_us or 0
    for outage in facts.outages:
        end_us = outage.end_us
        current = outage.open and outage.start_us == newest_us and end_us >= stored_us
        if lasting and current and now_us - end_us <= rule.settle_us:
            end_us = max(end_us, now_us)  # the heartbeat vouches for it up to now
        elif outage.open:
            # What ingest vouches for is an estimate of the first frame's time.
            after = (span.start_us for span in facts.spans if span.start_us > end_us)
            first_us = min(after, default=end_us)
            end_us = first_us if first_us - end_us <= rule.let_go_us else end_us
        yield _gap(outage.start_us, end_us, outage.cause, outage.detail)


def _pending(facts: Facts, now_us: int, rule: TailRule) -> Iterable[Entry]:
    live = _fresh(facts, now_us, rule)
    if live is None:
        return
    start_us = facts.last_stored_us
    if start_us is None:
        # Nothing is stored yet: what is not explained since the camera was wanted is on its way.
        wanted = takewhile(lambda one: one.lifecycle is Lifecycle.IN_SERVICE, facts.demands[::-1])
        start_us = min((demand.since_us for demand in wanted), default=now_us)
    if not live.recording:
        # Alive, but not recording: its last footage may still be in the spool. Without a bound a
        # lost segment would be called pending for ever.
        start_us = max(start_us, now_us - rule.settle_us)
    if start_us < now_us:
        yield Entry(start_us, now_us, Kind.PENDING)
