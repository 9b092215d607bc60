"""Runs recognised by names alone."""

from recording_support import HOUR, RUN_A, SECOND, T0
from vigie.recording.keys import FootageKey, end_key, parse_key, segment_key
from vigie.recording.rebuild.chains import Chain, ChainMaker, Row, joined

LENGTH = 30 * SECOND


def key(number: int, start_us: int, run: str = "") -> FootageKey:
    parsed = parse_key(segment_key("footage", "cam-a", run, start_us, number))
    assert parsed is not None
    return parsed


def chained(*keys: tuple[int, int]) -> list[Chain]:
    maker = ChainMaker()
    for number, start_us in keys:
        maker.segment(key(number, start_us), f"{number}@{start_us}")
    return maker.done(last=True)


def test_numbers_and_times_that_follow_each_other_are_one_run() -> None:
    [chain] = chained(*((n, T0 + n * LENGTH) for n in range(9)))
    assert chain.rows(T0 + 9 * LENGTH) == [Row(0, 8, T0, T0 + 9 * LENGTH)]


def test_rows_are_cut_where_a_quarter_of_a_day_begins() -> None:
    begin = T0 + 6 * HOUR - 2 * LENGTH - SECOND
    [chain] = chained(*((n, begin + n * LENGTH) for n in range(6)))
    assert chain.rows(begin + 6 * LENGTH) == [
        Row(0, 2, begin, begin + 3 * LENGTH),
        Row(3, 5, begin + 3 * LENGTH, begin + 6 * LENGTH),
    ]


def test_a_missing_number_or_a_long_silence_ends_a_chain() -> None:
    assert len(chained((0, T0), (1, T0 + LENGTH), (3, T0 + 3 * LENGTH))) == 2
    assert len(chained((0, T0), (1, T0 + LENGTH), (2, T0 + 5 * LENGTH))) == 2
    assert len(chained((0, T0), (1, T0 + HOUR))) == 2


def test_two_runs_at_a_time_are_told_apart_by_their_numbers_or_names() -> None:
    first = [(n + 40, T0 + n * LENGTH) for n in range(5)]
    second = [(n, T0 + SECOND + n * LENGTH) for n in range(5)]
    both = sorted([*first, *second], key=lambda each: each[1])
    assert sorted(len(chain.rows(0)) for chain in chained(*both)) == [1, 1]
    maker = ChainMaker()
    for number in range(3):
        for run in (RUN_A, "f" * 32):
            maker.segment(key(number, T0 + number * LENGTH, run), f"{run}.{number}")
    chains = maker.done(last=True)
    assert [[link.object_key[:4] for link in chain.tail] for chain in chains] == [
        ["0195"] * 3,
        ["ffff"] * 3,
    ]


def test_the_end_of_a_run_tells_where_its_last_segment_ends() -> None:
    maker = ChainMaker()
    for number in range(3):
        maker.segment(key(number, T0 + number * LENGTH), str(number))
    until_us = T0 + 2 * LENGTH + SECOND
    ended, other = (
        parse_key(end_key("footage", "cam-a", "", at_us, count))
        for at_us, count in ((until_us, 3), (until_us, 7))
    )
    assert ended is not None
    assert other is not None
    assert not maker.end(other, "other")
    assert maker.end(ended, "end")
    [chain] = maker.done()
    assert (chain.end_object, chain.end_us) == ("end", until_us)
    assert maker.done(last=True) == []


def test_without_its_last_segment_a_chain_is_shorter() -> None:
    begin = T0 + 6 * HOUR - LENGTH
    [chain] = chained((0, begin), (1, begin + LENGTH))
    chain.tail.pop()
    assert chain.rows(begin + LENGTH) == [Row(0, 0, begin, begin + LENGTH)]


def test_chains_that_a_listing_has_broken_are_joined_and_copies_refused() -> None:
    a, b = Row(0, 4, T0, T0 + 5 * LENGTH), Row(5, 9, T0 + 5 * LENGTH, T0 + 10 * LENGTH)
    copy, apart = Row(0, 0, T0 + HOUR, T0 + HOUR + 1), Row(11, 12, T0 + 2 * HOUR, T0 + 3 * HOUR)
    kept, refused = joined([b, copy, apart, a])
    assert kept == [Row(0, 9, T0, T0 + 10 * LENGTH), apart]
    assert refused == [copy]
