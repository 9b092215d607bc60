"""The rules of authorisations: dates, states, and what they mean for a camera.

Sources: Code de la sécurité intérieure L252-1 and following (product.md, rules 1 and 2).
"""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Final

from vigie.platform.clock import from_us
from vigie.platform.errors import VigieError
from vigie.registry.calendar import add_months, add_years
from vigie.registry.model import AuthorisationRecord, Term
from vigie.registry.reasons import (
    AUTHORISATION_DATES_INVALID,
    AUTHORISATION_EXPIRED,
    AUTHORISATION_TOO_LONG,
    FIELD_REQUIRED,
)
from vigie.registry.v1.authorisations_pb2 import AuthorisationState
from vigie.registry.v1.cameras_pb2 import CameraAuthorisationState

MAX_YEARS: Final = 5
WARNING_MONTHS: Final = 4
# Whoever entered both ends as days of UTC is not refused for the hour by which these differ from
# days of the legal zone when a change of clocks lies between.
_SUMMER_TIME_US: Final = 3_600_000_000


def renewal_due_us(record: AuthorisationRecord) -> int:
    """From when on renewal is due: four months before the end."""
    return add_months(record.valid_until_us, -WARNING_MONTHS)


def state_of(record: AuthorisationRecord, now_us: int) -> AuthorisationState.ValueType:
    """Where an authorisation stands at an instant."""
    if record.revoked_us is not None and record.revoked_us <= now_us:
        return AuthorisationState.AUTHORISATION_STATE_REVOKED
    if now_us >= record.valid_until_us:
        return AuthorisationState.AUTHORISATION_STATE_EXPIRED
    if now_us < record.valid_from_us:
        return AuthorisationState.AUTHORISATION_STATE_SCHEDULED
    if now_us >= renewal_due_us(record):
        return AuthorisationState.AUTHORISATION_STATE_EXPIRING
    return AuthorisationState.AUTHORISATION_STATE_IN_FORCE


def check(record: AuthorisationRecord, now_us: int, legal_zone: tzinfo) -> None:
    """Hold a new or changed authorisation against the rules.

    Args:
        record: as it would be written.
        now_us: the present. An end that has passed is refused: it would end the authorisation for
            good, without the reason that a revocation asks for, and its number with it.
        legal_zone: time zone in which the law counts years.

    Raises:
        VigieError: FIELD_REQUIRED, AUTHORISATION_DATES_INVALID, AUTHORISATION_TOO_LONG.
    """
    for name in ("number", "prefecture"):
        if not getattr(record, name).strip():
            raise VigieError(
                FIELD_REQUIRED, f"an authorisation has a {name}", field=f"authorisation.{name}"
            )
    if not record.purposes:
        raise VigieError(
            FIELD_REQUIRED, "an authorisation has a purpose", field="authorisation.purposes"
        )
    if record.valid_from_us >= record.valid_until_us:
        raise VigieError(
            AUTHORISATION_DATES_INVALID,
            "valid_until must be after valid_from",
            field="authorisation.valid_until",
        )
    if record.signed_us is not None and record.signed_us >= record.valid_until_us:
        raise VigieError(
            AUTHORISATION_DATES_INVALID,
            "it cannot be signed after its end",
            field="authorisation.sign_time",
        )
    latest_us = add_years(record.valid_from_us, MAX_YEARS, legal_zone)
    if record.valid_until_us > latest_us + _SUMMER_TIME_US:
        last = from_us(latest_us).astimezone(legal_zone).date().isoformat()
        raise VigieError(
            AUTHORISATION_TOO_LONG,
            f"an authorisation holds for at most {MAX_YEARS} years: here until {last}",
            field="authorisation.valid_until",
            latest=last,
        )
    if record.valid_until_us <= now_us:
        raise VigieError(
            AUTHORISATION_DATES_INVALID,
            "its end has passed; what is to end now is revoked",
            field="authorisation.valid_until",
        )


def check_amendment(
    before: AuthorisationRecord, after: AuthorisationRecord, now_us: int, legal_zone: tzinfo
) -> None:
    """Hold a change against the rules.

    The start of an authorisation that has begun never moves later: with it the five years would
    move on, which is a renewal.

    Raises:
        VigieError: as `check`.
    """
    check(after, now_us, legal_zone)
    if before.valid_from_us <= now_us and after.valid_from_us > before.valid_from_us:
        raise VigieError(
            AUTHORISATION_DATES_INVALID,
            "it has begun: its start can be corrected to an earlier time only",
            field="authorisation.valid_from",
        )


def check_alive(record: AuthorisationRecord, now_us: int) -> None:
    """Refuse to touch what has ended: an authorisation is never brought back.

    Raises:
        VigieError: AUTHORISATION_EXPIRED.
    """
    if now_us < record.end_us:
        return
    how = "was revoked" if record.revoked_us is not None else "ended"
    when = from_us(record.end_us).date().isoformat()
    raise VigieError(
        AUTHORISATION_EXPIRED,
        f"authorisation {record.authorisation} {how} on {when}; enter the new order as a new one",
        field="name",
        ended=when,
    )


def covered_until_us(terms: Sequence[Term], now_us: int) -> int | None:
    """Until when a camera is covered without interruption; ``None``: not even now.

    A new authorisation that begins when the old one ends continues it.
    """
    end: int | None = None
    for term in sorted(terms, key=lambda term: term.from_us):
        if term.from_us <= (now_us if end is None else end) and term.until_us > (end or now_us):
            end = term.until_us
    return end


def covered_since_us(terms: Sequence[Term], from_us: int, now_us: int) -> int:
    """Since when a camera has been covered without interruption up to now, at the earliest.

    Args:
        terms: all that covered it.
        from_us: nothing before this instant is asked for.
        now_us: the present; the answer when nothing covered it a moment ago.
    """
    since = now_us
    for term in sorted(terms, key=lambda term: term.until_us, reverse=True):
        if term.from_us < since <= term.until_us:
            since = term.from_us
    return max(since, from_us)


def camera_state(terms: Sequence[Term], now_us: int) -> CameraAuthorisationState.ValueType:
    """Whether a camera with these terms may record, and whether that ends soon."""
    until_us = covered_until_us(terms, now_us)
    if until_us is None:
        return CameraAuthorisationState.CAMERA_AUTHORISATION_STATE_NOT_AUTHORISED
    if add_months(until_us, -WARNING_MONTHS) <= now_us:
        return CameraAuthorisationState.CAMERA_AUTHORISATION_STATE_EXPIRING
    return CameraAuthorisationState.CAMERA_AUTHORISATION_STATE_AUTHORISED
