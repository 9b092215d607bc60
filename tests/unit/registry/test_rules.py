from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.platform.clock import from_us, to_us
from vigie.platform.errors import VigieError
from vigie.registry import authority, lifecycle
from vigie.registry.calendar import add_months, add_years
from vigie.registry.lifecycle import IN_SERVICE, PLANNED, RETIRED, SUSPENDED, Step
from vigie.registry.model import AuthorisationRecord, Scope, Term
from vigie.registry.reasons import REASONS

DAY_US = 86_400_000_000
PARIS = ZoneInfo("Europe/Paris")


def us(*parts: int) -> int:
    return to_us(datetime(*parts, tzinfo=UTC))  # type: ignore[misc,arg-type]  # year, month, day…


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ((2025, 1, 31), 1, (2025, 2, 28)),
        ((2024, 1, 31), 1, (2024, 2, 29)),
        ((2025, 3, 31), -1, (2025, 2, 28)),
        ((2026, 1, 15), -4, (2025, 9, 15)),
        ((2026, 12, 1), 1, (2027, 1, 1)),
    ],
)
def test_months_end_on_the_last_day_where_the_day_does_not_exist(
    start: tuple[int, int, int], months: int, end: tuple[int, int, int]
) -> None:
    assert add_months(us(*start), months) == us(*end)


def test_five_years_from_a_leap_day() -> None:
    assert add_years(us(2024, 2, 29), 5) == us(2029, 2, 28)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-60, 60))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_months_keep_the_time_of_day_and_never_skip_a_month(at: datetime, months: int) -> None:
    moved = from_us(add_months(to_us(at.replace(tzinfo=UTC)), months))
    assert moved.time() == at.time()
    assert (moved.year - at.year) * 12 + moved.month - at.month == months


ALLOWED = {
    (PLANNED, Step.COMMISSION): IN_SERVICE,
    (IN_SERVICE, Step.SUSPEND): SUSPENDED,
    (SUSPENDED, Step.RESUME): IN_SERVICE,
    (PLANNED, Step.RETIRE): RETIRED,
    (IN_SERVICE, Step.RETIRE): RETIRED,
    (SUSPENDED, Step.RETIRE): RETIRED,
}


@pytest.mark.parametrize("state", [PLANNED, IN_SERVICE, SUSPENDED, RETIRED])
@pytest.mark.parametrize("step", list(Step))
def test_every_step_from_every_state(state: int, step: Step) -> None:
    if (state, step) in ALLOWED:
        assert lifecycle.take("cam-01", state, step) == ALLOWED[state, step]
        return
    with pytest.raises(VigieError, match="LIFECYCLE_TRANSITION_REFUSED") as caught:
        lifecycle.take("cam-01", state, step)
    assert caught.value.metadata["lifecycle"] == lifecycle.short_name(state)


def record(**values: object) -> AuthorisationRecord:
    facts: dict[str, object] = {
        "authorisation": "a-1",
        "number": "2026/1",
        "prefecture": "Puy-de-Dôme",
        "valid_from_us": us(2026, 1, 1),
        "valid_until_us": us(2029, 1, 1),
        "purposes": (5,),
    }
    return AuthorisationRecord(**{**facts, **values})  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("at", "state"),
    [
        ((2025, 12, 31), "SCHEDULED"),
        ((2026, 1, 1), "IN_FORCE"),
        ((2028, 8, 31), "IN_FORCE"),
        ((2028, 9, 1), "EXPIRING"),
        ((2028, 12, 31), "EXPIRING"),
        ((2029, 1, 1), "EXPIRED"),
    ],
)
def test_the_warning_comes_four_months_before_the_end(at: tuple[int, int, int], state: str) -> None:
    found = authority.state_of(record(), us(*at))
    assert authority.AuthorisationState.Name(found) == f"AUTHORISATION_STATE_{state}"


def check(found: AuthorisationRecord) -> None:
    authority.check(found, us(2026, 1, 1), PARIS)


def test_five_years_and_not_a_day_more() -> None:
    check(record(valid_until_us=us(2031, 1, 1)))
    # An order from winter midnight to summer midnight, local time.
    check(record(valid_from_us=us(2026, 3, 29, 22), valid_until_us=us(2031, 3, 29, 23)))
    with pytest.raises(VigieError, match="AUTHORISATION_TOO_LONG") as caught:
        check(record(valid_until_us=us(2031, 1, 2)))
    assert caught.value.metadata["latest"] == "2031-01-01"


def midnight(*day: int) -> int:
    return to_us(datetime(*day, tzinfo=PARIS))  # type: ignore[misc,arg-type]  # year, month, day


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ((2027, 3, 1), (2032, 3, 1)),  # in UTC: 28 February, and a leap year later the 29th
        ((2028, 2, 29), (2033, 2, 28)),
        ((2028, 3, 1), (2033, 3, 1)),
        ((2026, 3, 29), (2031, 3, 29)),
        ((2030, 10, 27), (2035, 10, 27)),
    ],
)
def test_years_are_counted_where_the_law_counts_them(
    start: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    check(record(valid_from_us=midnight(*start), valid_until_us=midnight(*end)))
    with pytest.raises(VigieError, match="AUTHORISATION_TOO_LONG") as caught:
        check(record(valid_from_us=midnight(*start), valid_until_us=midnight(*end) + DAY_US))
    assert caught.value.metadata["latest"] == datetime(*end).date().isoformat()  # noqa: DTZ001 - a day


def test_an_end_that_has_passed_is_refused() -> None:
    authority.check(record(), us(2029, 1, 1) - 1, PARIS)
    with pytest.raises(VigieError, match="AUTHORISATION_DATES_INVALID"):
        authority.check(record(), us(2029, 1, 1), PARIS)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"valid_until_us": us(2026, 1, 1)}, "AUTHORISATION_DATES_INVALID"),
        ({"signed_us": us(2029, 1, 1)}, "AUTHORISATION_DATES_INVALID"),
        ({"purposes": ()}, "FIELD_REQUIRED"),
        ({"number": " "}, "FIELD_REQUIRED"),
        ({"prefecture": ""}, "FIELD_REQUIRED"),
    ],
)
def test_contradictions_are_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(VigieError, match=reason):
        check(record(**values))


def test_a_start_that_has_begun_is_not_moved_on() -> None:
    later = record(valid_from_us=us(2026, 6, 1), valid_until_us=us(2031, 6, 1))
    with pytest.raises(VigieError, match="AUTHORISATION_DATES_INVALID"):
        authority.check_amendment(record(), later, us(2026, 5, 1), PARIS)
    authority.check_amendment(record(), later, us(2025, 12, 1), PARIS)


def term(start_day: int, end_day: int, name: str = "a") -> Term:
    return Term(name, "1", start_day * DAY_US, end_day * DAY_US, 0)


@pytest.mark.parametrize(
    ("terms", "until"),
    [
        ([], None),
        ([term(0, 10)], None),
        ([term(200, 300)], None),
        ([term(0, 150)], 150),
        ([term(150, 300), term(0, 150)], 300),
        ([term(151, 300), term(0, 150)], 150),
        ([term(0, 300), term(50, 120)], 300),
        ([term(0, 120), term(50, 200), term(190, 400)], 400),
    ],
)
def test_coverage_goes_on_only_without_a_hole(terms: list[Term], until: int | None) -> None:
    found = authority.covered_until_us(terms, 100 * DAY_US)
    assert found == (None if until is None else until * DAY_US)


def test_a_renewal_ends_the_warning() -> None:
    now = us(2028, 12, 1)
    old = Term("a", "1", us(2026, 1, 1), us(2029, 1, 1), 0)
    new = Term("b", "2", us(2029, 1, 1), us(2034, 1, 1), 0)
    name = authority.CameraAuthorisationState.Name
    assert name(authority.camera_state([old], now)).endswith("EXPIRING")
    assert name(authority.camera_state([old, new], now)).endswith("STATE_AUTHORISED")
    assert name(authority.camera_state([new], now)).endswith("NOT_AUTHORISED")


def test_a_named_camera_is_covered_only_where_it_was_named() -> None:
    scope = Scope({"cam-01": "north"}, frozenset({"east"}))
    assert scope.covers("cam-01", "north")
    assert not scope.covers("cam-01", "south")
    assert scope.covers("cam-02", "east")
    assert not scope.covers("cam-02", "north")


def test_the_catalogue_has_each_reason_once_in_both_languages() -> None:
    names = [spec.name for spec in REASONS]
    assert len(names) == len(set(names))
    for spec in REASONS:
        assert spec.description_en.endswith(".")
        assert spec.description_fr.endswith(".")
        assert spec.remedy.endswith(".")
