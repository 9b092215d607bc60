"""When footage must be gone, day by day."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from long_forms import examples
from vigie.platform.clock import from_us, to_us
from vigie.recording.retention.calendar import due_windows, expiry_us

PARIS = ZoneInfo("Europe/Paris")


def instant(text: str) -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("recorded", "gone"),
    [
        ("2026-01-15T12:00:00", "2026-02-15T12:00:00"),
        ("2026-01-28T12:00:00", "2026-02-28T12:00:00"),
        ("2026-01-29T12:00:00", "2026-02-28T12:00:00"),
        ("2026-01-31T09:00:00", "2026-02-28T09:00:00"),
        ("2028-01-31T09:00:00", "2028-02-29T09:00:00"),
        ("2028-01-30T09:00:00", "2028-02-29T09:00:00"),
        ("2026-02-28T12:00:00", "2026-03-28T12:00:00"),
        ("2026-03-31T12:00:00", "2026-04-30T12:00:00"),
        ("2026-12-31T12:00:00", "2027-01-31T12:00:00"),
        # the clocks go forward in Paris on 29 March 2026: the same time of day is earlier in UTC
        ("2026-03-10T12:00:00", "2026-04-10T11:00:00"),
        # and back on 25 October 2026: UTC is the earlier one
        ("2026-10-10T12:00:00", "2026-11-10T12:00:00"),
        # 31 January in Paris already: Paris is the earlier one, by a day
        ("2026-01-30T23:30:00", "2026-02-27T23:30:00"),
        # 1 March in Paris already: UTC is the earlier one, by days
        ("2026-02-28T23:30:00", "2026-03-28T23:30:00"),
        # 02:30 does not exist in Paris on 28 March 2027; its earlier reading counts
        ("2027-02-28T01:30:00", "2027-03-28T00:30:00"),
        # 02:30 happens twice on 25 October 2026; the first time counts
        ("2026-09-25T00:30:00", "2026-10-25T00:30:00"),
        # the leap day itself
        ("2028-02-29T12:00:00", "2028-03-29T11:00:00"),
    ],
)
def test_a_calendar_month(recorded: str, gone: str) -> None:
    assert from_us(expiry_us(instant(recorded), 0, PARIS)) == from_us(instant(gone))


@pytest.mark.parametrize(
    ("days", "gone"),
    [
        (0, "2026-02-28T09:00:00"),
        (10, "2026-02-10T09:00:00"),
        (28, "2026-02-28T09:00:00"),
        (30, "2026-02-28T09:00:00"),
        (365, "2026-02-28T09:00:00"),
    ],
)
def test_the_authorisation_may_only_shorten_the_month(days: int, gone: str) -> None:
    assert expiry_us(instant("2026-01-31T09:00:00"), days, PARIS) == instant(gone)


times = st.integers(instant("2026-01-01T00:00:00"), instant("2032-12-31T00:00:00"))


@given(times)
@settings(max_examples=examples(70), deadline=None)
def test_nothing_outlives_31_days_or_is_destroyed_before_27(recorded: int) -> None:
    kept_days = (expiry_us(recorded, 0, PARIS) - recorded) / 86_400e6
    assert 27.95 <= kept_days <= 31


@given(times, st.sampled_from([0, 0, 7, 28, 30]), st.integers(26 * 86400, 33 * 86400))
@settings(max_examples=examples(40), deadline=None)
def test_the_windows_that_are_due_are_those_that_have_expired(
    now: int, days: int, age_seconds: int
) -> None:
    windows = due_windows(now, days, PARIS)
    assert all(a.end_us < b.start_us for a, b in pairwise(windows))
    probes = [now - age_seconds * 1_000_000, now - days * 86_400_000_000]
    probes += [edge + d for w in windows for edge in (w.start_us, w.end_us) for d in (-1, 0, 1)]
    for recorded in probes:
        if recorded < 0:
            continue
        listed = any(w.start_us <= recorded < w.end_us for w in windows)
        assert listed == (expiry_us(recorded, days, PARIS) <= now)
