"""Calendar arithmetic for legal periods."""

from calendar import monthrange
from datetime import UTC, tzinfo

from vigie.platform.clock import from_us, to_us

_MONTHS_A_YEAR = 12


def add_months(instant_us: int, months: int, zone: tzinfo = UTC) -> int:
    """The same day and time ``months`` later (negative: earlier), as clocks in ``zone`` show them.

    Where that day does not exist, the last one of the month: one month after 31 January is 28 or
    29 February. Of an hour that clocks leave out or repeat, the later reading.
    """
    instant = from_us(instant_us).astimezone(zone)
    index = instant.year * _MONTHS_A_YEAR + instant.month - 1 + months
    year, month = divmod(index, _MONTHS_A_YEAR)
    day = min(instant.day, monthrange(year, month + 1)[1])
    there = instant.replace(year=year, month=month + 1, day=day)
    return max(to_us(there.replace(fold=fold).astimezone(UTC)) for fold in (0, 1))


def add_years(instant_us: int, years: int, zone: tzinfo = UTC) -> int:
    """The same day and time ``years`` later; 29 February becomes 28 February where needed."""
    return add_months(instant_us, years * _MONTHS_A_YEAR, zone)
