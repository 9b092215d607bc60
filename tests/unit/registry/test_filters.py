import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.platform.errors import VigieError
from vigie.registry.filters import Term, parse_filter


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", ()),
        ("   ", ()),
        ("gate", (Term("", "gate"),)),
        ('"Loading Dock"', (Term("", "loading dock"),)),
        ("lifecycle = IN_SERVICE", (Term("lifecycle", "IN_SERVICE"),)),
        ("lifecycle=IN_SERVICE", (Term("lifecycle", "IN_SERVICE"),)),
        ("lifecycle=CAMERA_LIFECYCLE_RETIRED", (Term("lifecycle", "RETIRED"),)),
        ('zone != "zae-brezet"', (Term("zone", "zae-brezet", negated=True),)),
        ("zone=zones/zae-brezet", (Term("zone", "zae-brezet"),)),
        ("commune=communes/63113", (Term("commune", "63113"),)),
        ('site=""', (Term("site", ""),)),
        (
            'authorisation_state=EXPIRING AND zone="z" "a \\"b\\""',
            (Term("authorisation_state", "EXPIRING"), Term("zone", "z"), Term("", 'a "b"')),
        ),
        ("a AND b", (Term("", "a"), Term("", "b"))),
        ("a b", (Term("", "a"), Term("", "b"))),
    ],
)
def test_filters_read(text: str, terms: tuple[Term, ...]) -> None:
    assert parse_filter(text) == terms


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ("lifecycle =", 11, "needs a value"),
        ("= IN_SERVICE", 1, "needs a field"),
        ("lifecycle = BROKEN", 13, "PLANNED, IN_SERVICE"),
        ("colour = red", 1, "fields are lifecycle, zone"),
        ("a OR b", 3, "OR is not supported"),
        ("NOT a", 1, "NOT is not supported"),
        ("AND a", 1, "between two terms"),
        ("a AND", 3, "between two terms"),
        ("a AND AND b", 3, "between two terms"),
        ('zone = "open', 8, "never closed"),
        ("zone > 3", 6, "means nothing"),
        ("(a)", 1, "means nothing"),
        ('""', 1, "no text"),
        ("zone = = a", 6, "needs a value"),
        (" ".join("a" * 21), 41, "more than 20"),
    ],
)
def test_mistakes_are_named_with_their_place(text: str, position: int, hint: str) -> None:
    with pytest.raises(VigieError, match="FILTER_INVALID") as caught:
        parse_filter(text)
    assert caught.value.metadata["position"] == str(position)
    assert hint in caught.value.message
    assert caught.value.field == "filter"


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    position = 1
    try:
        terms = parse_filter(text)
    except VigieError as error:
        terms, position = (), int(error.metadata["position"])
    assert len(terms) <= 20
    assert 1 <= position <= max(len(text), 1)
