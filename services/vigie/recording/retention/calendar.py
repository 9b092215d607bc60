"""When footage must be gone: one calendar month, or less where the authorisation says so.

The rule (CSI L252-5, "one month"; counted from date to date as the code of civil procedure does,
articles 640 to 642: a period in months ends on the day with the same number, or on the last day
of a month that has no such day):

- footage of an instant expires one calendar month later at the same time of day, so footage of
  31 January, 09:00 expires on 28 February (29 in leap years), 09:00;
- the month is counted in UTC and in the legal time zone (Europe/Paris), and the earlier of both
  counts: around midnight they name different days, and no reading of the law may find footage
  that should be gone. For the same reason the earlier reading counts of an hour that summer time
  leaves out or winter time repeats;
- an authorisation that allows ``n`` days ends after ``n`` times 24 hours, if that is earlier;
- of several authorisations in force at once the shortest counts.

Because of the shorter months the expiry is not monotonic (29 January 09:00 expires before
28 January 10:00): what is due is a set of windows, not everything before one instant.
"""

import calendar
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final

from vigie.platform.clock import from_us, to_us
from vigie.recording.timeline.intervals import Interval

_DAY_US: Final = 86_400_000_000
# Within a quarter of an hour of UTC no time zone of today changes its offset and no month begins
# in one: the expiry of all instants of it lies equally far ahead.
_STEP_US: Final = 900_000_000
_SHORTEST_MONTH_US: Final = 27 * _DAY_US
_LONGEST_MONTH_US: Final = 32 * _DAY_US


def add_month(instant: datetime) -> datetime:
    """One calendar month later at the same time of day; clamped to the last day of that month.

    >>> add_month(datetime(2026, 1, 31, 9)).isoformat()
    '2026-02-28T09:00:00'
    """
    year, month = divmod(instant.year * 12 + instant.month, 12)
    month += 1
    last_day = calendar.monthrange(year, month)[1]
    return instant.replace(year=year, month=month, day=min(instant.day, last_day), fold=0)


def expiry_us(recorded_us: int, retention_days: int, legal_zone: tzinfo) -> int:
    """When footage of an instant must be gone.

    Args:
        recorded_us: instant of the footage, microseconds since the Unix epoch.
        retention_days: what the authorisation allows; 0: the legal maximum.
        legal_zone: time zone in which the law counts days.
    """
    recorded = from_us(recorded_us)
    there = add_month(recorded.astimezone(legal_zone))
    limit_us = min(
        to_us(add_month(recorded)),
        *(to_us(there.replace(fold=fold).astimezone(UTC)) for fold in (0, 1)),
    )
    if retention_days:
        limit_us = min(limit_us, recorded_us + retention_days * _DAY_US)
    return limit_us


def due_windows(now_us: int, retention_days: int, legal_zone: tzinfo) -> list[Interval]:
    """Windows of recording time whose footage has expired at ``now_us``: ascending, disjoint.

    The first one begins at the epoch. An instant is in a window exactly when its `expiry_us` is
    not after ``now_us``.
    """
    earliest_us = (now_us - _LONGEST_MONTH_US) // _STEP_US * _STEP_US
    windows = [Interval(0, earliest_us)]
    for start_us in range(earliest_us, now_us - _SHORTEST_MONTH_US + _STEP_US, _STEP_US):
        lies_ahead_us = expiry_us(start_us, 0, legal_zone) - start_us
        _append(windows, start_us, min(start_us + _STEP_US, now_us - lies_ahead_us + 1))
    if retention_days:
        cut_us = now_us - retention_days * _DAY_US + 1
        windows = [w for w in windows if w.end_us > cut_us]
        windows = _merge([Interval(0, cut_us), *windows])
    return windows


def _append(windows: list[Interval], start_us: int, end_us: int) -> None:
    if start_us >= end_us:
        return
    if windows[-1].end_us == start_us:
        windows[-1] = Interval(windows[-1].start_us, end_us)
    else:
        windows.append(Interval(start_us, end_us))


def _merge(windows: Sequence[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for window in sorted(windows, key=lambda w: w.start_us):
        if merged and window.start_us <= merged[-1].end_us:
            end_us = max(merged[-1].end_us, window.end_us)
            merged[-1] = Interval(merged[-1].start_us, end_us)
        else:
            merged.append(window)
    return merged
