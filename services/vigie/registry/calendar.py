"""Calendar arithmetic for legal periods."""

from calendar import monthrange

from vigie.platform.clock import from_us, to_us

_MONTHS_A_YEAR = 12


def add_months(instant_us: int, months: int) -> int:
    """The same day and time ``months`` later (negative: earlier), UTC.

    Where that day does not exist, the last one of the month: one month after 31 January is 28 or
    29 February.
    """
    instant = from_us(instant_us)
    index = instant.year * _MONTHS_A_YEAR + instant.month - 1 + months
    year, month = divmod(index, _MONTHS_A_YEAR)
    day = min(instant.day, monthrange(year, month + 1)[1])
    return to_us(instant.replace(year=year, month=month + 1, day=day))


def add_years(instant_us: int, years: int) -> int:
    """The same day and time ``years`` later; 29 February becomes 28 February where needed."""
    return add_months(instant_us, years * _MONTHS_A_YEAR)
