"""Every instant of a window is in exactly one entry, with the cause the rules give it (I6)."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from long_forms import examples
from vigie.recording.model import (
    AuthorisationTerm,
    Cause,
    Demand,
    Lifecycle,
    LiveState,
    Outage,
    Span,
)
from vigie.recording.timeline.algebra import Entry, Facts, Kind, TailRule, compose
from vigie.recording.timeline.completeness import complete
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.resolution import coarsen

RULE = TailRule(stale_after_us=5, settle_us=12, let_go_us=0)
ALWAYS = AuthorisationTerm("authorisations/a", 0, 1000, 0)


def wanted(at: int, lifecycle: Lifecycle = Lifecycle.IN_SERVICE) -> Demand:
    return Demand(at, lifecycle, (ALWAYS,))


IN_SERVICE = [wanted(0)]


def says(entries: list[Entry]) -> list[tuple[int, int, object]]:
    return [(e.start_us, e.end_us, e.cause or e.run or e.kind) for e in entries]


instants = st.integers(0, 60)
intervals = st.tuples(instants, st.integers(1, 25)).map(lambda p: (p[0], p[0] + p[1]))
runs = st.sampled_from(["a", "b", "c"])
spans = st.lists(st.builds(lambda i, r: Span(r, *i), intervals, runs), max_size=5)
outages = st.lists(
    st.builds(
        lambda i, c, o: Outage(*i, c, open=o),
        intervals,
        st.sampled_from([Cause.CAMERA_SILENT, Cause.PACKETS_LOST]),
        st.booleans(),
    ),
    max_size=4,
)
demands = st.lists(
    st.tuples(instants, st.sampled_from(list(Lifecycle)), st.lists(intervals, max_size=2)),
    max_size=4,
    unique_by=lambda item: item[0],
).map(
    lambda items: [
        Demand(
            at,
            lifecycle,
            tuple(AuthorisationTerm("authorisations/a", a, b, 0) for a, b in terms),
        )
        for at, lifecycle, terms in sorted(items, key=lambda i: i[0])
    ]
)
lives = st.none() | st.builds(
    LiveState, instants, st.booleans(), st.sampled_from([None, Cause.CAMERA_SILENT])
)
facts = st.builds(Facts, spans, spans, demands, outages, st.none() | instants, lives)


def in_any(items: list[Span] | list[Outage], at: int) -> bool:
    return any(item.start_us <= at < item.end_us for item in items)


def wanted_since(facts: Facts, now: int) -> int:
    since = now
    for demand in reversed(facts.demands):
        if demand.lifecycle is not Lifecycle.IN_SERVICE:
            break
        since = demand.since_us
    return since


def expected_kind(  # noqa: C901, PLR0911 - the rules one after the other, as the design lists them
    at: int, now: int, facts: Facts
) -> tuple[Kind, set[Cause | None]]:
    """What the rules say of one instant, written as plainly as they read."""
    if in_any(list(facts.spans), at):
        return Kind.SPAN, {None}
    if at >= now:
        return Kind.FUTURE, {None}
    if in_any(list(facts.destroyed), at):
        return Kind.GAP, {Cause.DESTROYED}
    current = [s for s in facts.demands if s.since_us <= at]
    if not current or current[-1].lifecycle not in {Lifecycle.IN_SERVICE, Lifecycle.SUSPENDED}:
        return Kind.GAP, {Cause.NOT_IN_SERVICE}
    if current[-1].lifecycle is Lifecycle.SUSPENDED:
        return Kind.GAP, {Cause.SUSPENDED}
    if not any(t.from_us <= at < t.until_us for t in current[-1].authorisations):
        return Kind.GAP, {Cause.NOT_AUTHORISED}
    said = {o.cause for o in facts.outages if o.start_us <= at < o.end_us}
    if said:
        return Kind.GAP, set(said)
    live = facts.live if facts.live and abs(now - facts.live.updated_us) <= 5 else None
    if live and not live.recording and live.cause is not None and facts.outages:
        newest = max(o.start_us for o in facts.outages)
        for outage in facts.outages:
            current_one = outage.open and outage.start_us == newest
            recent = outage.end_us >= (facts.last_stored_us or 0) and now - outage.end_us <= 12
            if current_one and recent and outage.start_us <= at < now:
                return Kind.GAP, {o.cause for o in facts.outages if o.start_us == newest}
    if live:
        begin = facts.last_stored_us
        begin = wanted_since(facts, now) if begin is None else begin
        begin = begin if live.recording else max(begin, now - 12)
        if begin <= at:
            return Kind.PENDING, {None}
    return Kind.GAP, {Cause.INGEST_DOWN}


def test_nothing_stored_yet_is_on_its_way_since_the_camera_was_wanted() -> None:
    """Another description, or another order, is no new beginning."""
    demands = [wanted(0, Lifecycle.SUSPENDED), wanted(10), wanted(40)]
    live = LiveState(updated_us=60, recording=True)
    entries = compose(Interval(0, 60), 60, Facts(demands=demands, live=live), RULE)
    assert says(entries) == [(0, 10, Cause.SUSPENDED), (10, 60, Kind.PENDING)]


@given(facts, instants, intervals)
@settings(max_examples=examples(80), deadline=None)
def test_a_timeline_partitions_its_window_and_says_what_the_rules_say(
    facts: Facts, now: int, window: tuple[int, int]
) -> None:
    entries = compose(Interval(*window), now, facts, RULE)
    assert entries[0].start_us == window[0]
    assert entries[-1].end_us == window[1]
    for before, after in pairwise(entries):
        assert before.end_us == after.start_us
        assert not after.continues(before), "neighbours that say the same are one entry"
    for entry in entries:
        assert entry.start_us < entry.end_us
        for at in range(entry.start_us, entry.end_us):
            kind, causes = expected_kind(at, now, facts)
            assert entry.kind is kind
            assert entry.cause in causes
            if kind is Kind.SPAN:
                there = [s.run for s in facts.spans if s.start_us <= at < s.end_us]
                assert entry.run == min(there), "of overlapping runs the first one is shown"


@given(facts, instants, intervals, st.integers(1, 30))
@settings(max_examples=examples(40), deadline=None)
def test_a_coarser_timeline_still_partitions_the_window(
    facts: Facts, now: int, window: tuple[int, int], resolution: int
) -> None:
    exact = compose(Interval(*window), now, facts, RULE)
    drawn = coarsen(exact, resolution)
    assert (drawn[0].start_us, drawn[-1].end_us) == window
    assert all(a.end_us == b.start_us for a, b in pairwise(drawn))
    assert sum(1 + entry.merged for entry in drawn) == len(exact)
    if len(drawn) > 1:
        assert all(entry.duration_us >= resolution for entry in drawn)


@given(facts, instants, intervals)
@settings(max_examples=examples(40), deadline=None)
def test_completeness_accounts_for_every_past_microsecond(
    facts: Facts, now: int, window: tuple[int, int]
) -> None:
    entries = compose(Interval(*window), now, facts, RULE)
    totals = complete(entries)
    excluded = sum(total.duration_us for total in totals.excluded.values())
    future = sum(e.duration_us for e in entries if e.kind is Kind.FUTURE)
    whole = totals.expected_us + totals.pending_us + excluded + future
    assert whole == window[1] - window[0]


def test_an_open_outage_counts_only_as_far_as_ingest_has_vouched_for_it() -> None:
    outage = Outage(10, 30, Cause.CAMERA_UNREACHABLE, "no route", open=True)
    entries = compose(
        Interval(0, 60), 60, Facts([Span("a", 0, 10)], (), IN_SERVICE, [outage]), RULE
    )
    assert says(entries) == [
        (0, 10, "a"),
        (10, 30, Cause.CAMERA_UNREACHABLE),
        (30, 60, Cause.INGEST_DOWN),
    ]


def test_a_fresh_heartbeat_vouches_for_the_current_outage_up_to_now() -> None:
    outage = Outage(10, 50, Cause.CAMERA_UNREACHABLE, "no route", open=True)
    live = LiveState(58, recording=False, cause=Cause.CAMERA_UNREACHABLE)
    facts = Facts([Span("a", 0, 10)], (), IN_SERVICE, [outage], 10, live)
    assert says(compose(Interval(0, 60), 60, facts, RULE))[-1] == (10, 60, outage.cause)


def test_a_heartbeat_does_not_revive_an_outage_that_a_dead_process_left_open() -> None:
    left_open = Outage(10, 12, Cause.PACKETS_LOST, open=True)
    live = LiveState(60, recording=False, cause=Cause.CAMERA_SILENT)
    facts = Facts([Span("a", 0, 10), Span("b", 30, 55)], (), IN_SERVICE, [left_open], 55, live)
    assert (12, 30, Cause.INGEST_DOWN) in says(compose(Interval(0, 60), 60, facts, RULE))


@pytest.mark.parametrize(("vouched", "until"), [(28, 30), (27, 30), (26, 26)])
def test_an_open_outage_goes_on_to_footage_that_begins_a_moment_after(
    vouched: int, until: int
) -> None:
    """Its exact end is told with that footage; until it is heard, its estimate must do."""
    outage = Outage(10, vouched, Cause.SPOOL_FULL, open=True)
    facts = Facts([Span("a", 0, 10), Span("b", 30, 60)], (), IN_SERVICE, [outage])
    told = says(compose(Interval(0, 60), 60, facts, replace(RULE, let_go_us=3)))
    assert (10, until, Cause.SPOOL_FULL) in told
    assert ((until, 30, Cause.INGEST_DOWN) in told) == (until < 30)
    closed = replace(outage, open=False)
    facts = replace(facts, outages=[closed])
    told = says(compose(Interval(0, 60), 60, facts, replace(RULE, let_go_us=3)))
    assert (vouched, 30, Cause.INGEST_DOWN) in told


def test_the_tail_is_pending_only_while_the_heartbeat_is_fresh() -> None:
    live = LiveState(56, recording=True)
    facts = Facts([Span("a", 0, 30)], (), IN_SERVICE, (), 30, live)
    assert says(compose(Interval(0, 70), 60, facts, RULE)) == [
        (0, 30, "a"),
        (30, 60, Kind.PENDING),
        (60, 70, Kind.FUTURE),
    ]
    assert says(compose(Interval(0, 70), 62, facts, RULE))[1] == (30, 62, Cause.INGEST_DOWN)


def test_before_a_camera_existed_it_was_not_in_service() -> None:
    assert says(compose(Interval(0, 20), 60, Facts(demands=[wanted(15)]), RULE)) == [
        (0, 15, Cause.NOT_IN_SERVICE),
        (15, 20, Cause.INGEST_DOWN),
    ]


def test_footage_recorded_a_moment_after_a_suspension_is_shown() -> None:
    facts = Facts([Span("a", 0, 22)], (), [wanted(0), wanted(20, Lifecycle.SUSPENDED)])
    assert says(compose(Interval(0, 30), 60, facts, RULE)) == [
        (0, 22, "a"),
        (22, 30, Cause.SUSPENDED),
    ]


@pytest.mark.parametrize(("end", "cause"), [(17, Cause.SUSPENDED), (16, Cause.INGEST_DOWN)])
def test_the_moment_before_a_decision_has_its_cause(end: int, cause: Cause) -> None:
    """The last whole frame ends a little before the camera is let go; longer, nobody knows why."""
    facts = Facts([Span("a", 0, end)], (), [wanted(0), wanted(20, Lifecycle.SUSPENDED)])
    rule = replace(RULE, let_go_us=3)
    first, gap, *_ = says(compose(Interval(0, 30), 60, facts, rule))
    assert (first, gap[0], gap[2]) == ((0, end, "a"), end, cause)


@pytest.mark.parametrize(("end", "cause"), [(17, Cause.STORE_REFUSED), (16, Cause.INGEST_DOWN)])
def test_the_moment_between_footage_and_an_outage_has_its_cause(end: int, cause: Cause) -> None:
    """The end of a segment that had to be repaired was an estimate when the outage was told."""
    outage = Outage(20, 25, Cause.STORE_REFUSED, "the disk of the spool refuses")
    facts = Facts([Span("a", 0, end), Span("b", 25, 60)], (), IN_SERVICE, [outage])
    told = compose(Interval(0, 60), 60, facts, replace(RULE, let_go_us=3))
    assert (told[1].start_us, told[1].cause) == (end, cause)
    assert says(told)[-2:] == [(end if end == 17 else 20, 25, Cause.STORE_REFUSED), (25, 60, "b")]


def test_what_nobody_reported_is_not_explained_by_an_outage_without_footage_before() -> None:
    outages = [Outage(0, 10, Cause.CAMERA_SILENT), Outage(12, 20, Cause.STORE_REFUSED)]
    facts = Facts((), [Span("a", 40, 50)], IN_SERVICE, outages)
    told = says(compose(Interval(0, 60), 60, facts, replace(RULE, let_go_us=3)))
    assert (10, 12, Cause.INGEST_DOWN) in told
    facts = Facts([Span("b", 0, 38)], [Span("a", 40, 50)], IN_SERVICE)
    told = says(compose(Interval(0, 60), 60, facts, replace(RULE, let_go_us=3)))
    assert (38, 40, Cause.INGEST_DOWN) in told, "a destruction ended no recording"


def test_destruction_outweighs_every_other_cause() -> None:
    facts = Facts(
        (), [Span("a", 0, 10)], [wanted(5)], [Outage(0, 20, Cause.CAMERA_SILENT)], None, None
    )
    assert says(compose(Interval(0, 20), 60, facts, RULE)) == [
        (0, 10, Cause.DESTROYED),
        (10, 20, Cause.CAMERA_SILENT),
    ]
