"""Object keys: one for each segment of each run, readable, and older ones still read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recording_support import RUN_A, RUN_B, T0
from vigie.ingest.recorder import names
from vigie.recording.keys import FootageKey, end_key, parse_key, segment_key
from vigie.recording.tokens import make_token

CAMERAS = st.from_regex(r"[a-z][a-z0-9-]{2,62}", fullmatch=True)
RUNS = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
INSTANTS = st.integers(0, 4_000_000_000_000_000)
NUMBERS = st.integers(0, 1_000_000)
PAGE_TOKEN_LENGTH = 256
"""What the contract accepts (``recording.proto``, ``retention.proto``)."""


@given(camera=CAMERAS, run=st.just("") | RUNS, instant_us=INSTANTS, number=NUMBERS)
def test_a_key_says_whose_footage_it_is(
    camera: str, run: str, instant_us: int, number: int
) -> None:
    for key, is_end in (
        (segment_key("footage", camera, run, instant_us, number), False),
        (end_key("footage", camera, run, instant_us, number), True),
    ):
        assert parse_key(key) == FootageKey("footage", camera, run, instant_us, number, is_end)


@given(camera=CAMERAS, run=RUNS, instant_us=INSTANTS, number=NUMBERS)
def test_ingest_and_recording_write_the_same_keys(
    camera: str, run: str, instant_us: int, number: int
) -> None:
    lead = names.key_lead("footage", camera)
    assert names.segment_key(lead, run, instant_us, number) == segment_key(
        "footage", camera, run, instant_us, number
    )
    assert names.end_key(lead, run, instant_us, number) == end_key(
        "footage", camera, run, instant_us, number
    )


def test_two_runs_that_begin_at_one_instant_have_different_keys() -> None:
    for make in (segment_key, end_key):
        keys = {make("footage", "cam-a", run, T0, 0) for run in (RUN_A, RUN_B, "")}
        assert len(keys) == 3


@pytest.mark.parametrize("key", [
    "footage/cam-a/2026-03-01/10/00-00.000000Z.0.m4v",
    "footage/cam-a/2026-03-01/10/00-00Z.0.m4v",
])  # fmt: skip
def test_older_keys_are_read(key: str) -> None:
    found = parse_key(key)
    assert found is not None
    assert (found.camera, found.run, found.counter) == ("cam-a", "", 0)


@pytest.mark.parametrize("key", [
    "footage/cam-a/2026-03-01/0195/10/00-00.000000Z.0.m4v",
    "footage/cam-a/2026-03-01/" + "0" * 32 + "/00-00.000000Z.0.m4v",
    "footage/cam-a/" + "0" * 32 + "/10/00-00.000000Z.0.m4v",
    "footage/cam-a/2026-03-01/" + "A" * 32 + "/10/00-00.000000Z.0.m4v",
    "footage/cam-a/2026-02-30/" + "a" * 32 + "/10/00-00.000000Z.0.m4v",
])  # fmt: skip
def test_what_is_no_key_of_footage_is_not_read(key: str) -> None:
    assert parse_key(key) is None


def test_a_page_token_of_the_longest_key_is_accepted_again() -> None:
    key = segment_key("footage", "c" * 63, RUN_A, T0, 999_999)
    assert len(make_token([T0, key], "the request")) <= PAGE_TOKEN_LENGTH
