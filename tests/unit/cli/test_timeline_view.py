"""A bar never hides a gap: that is what people look at it for."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from long_forms import examples
from vigie.cli import timeline_view
from vigie.cli.timeline_view import CAUSE_TEXTS, cause_text, draw
from vigie.common.v1 import types_pb2
from vigie.recording.v1 import recording_pb2 as pb

SPAN, GAP = pb.TIMELINE_ENTRY_KIND_SPAN, pb.TIMELINE_ENTRY_KIND_GAP
PENDING = pb.TIMELINE_ENTRY_KIND_PENDING
BASE_US = 1_790_000_000_000_000


def timeline(*pieces: tuple[int, int]) -> tuple[types_pb2.TimeWindow, pb.CameraTimeline]:
    """Consecutive pieces of (kind, length in milliseconds)."""
    found = pb.CameraTimeline(camera="cameras/cam-01")
    at = BASE_US
    for kind, length in pieces:
        entry = found.entries.add(kind=kind)
        entry.start_time.FromMicroseconds(at)
        at += length * 1000
        entry.end_time.FromMicroseconds(at)
        if kind == GAP:
            entry.cause = types_pb2.GAP_CAUSE_CAMERA_SILENT
    window = types_pb2.TimeWindow()
    window.start_time.FromMicroseconds(BASE_US)
    window.end_time.FromMicroseconds(at)
    return window, found


def drawn(width: int, *pieces: tuple[int, int]) -> str:
    window, found = timeline(*pieces)
    console = Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False)
    draw(console, window, [found])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_gap_of_a_blink_in_a_day_is_drawn(width: int) -> None:
    text = drawn(width, (SPAN, 43_200_000), (GAP, 40), (SPAN, 43_200_000))
    assert "░" in text.splitlines()[1]
    assert "CAMERA_SILENT" in text
    assert "0.040 s" in text


def test_lines_fit_the_terminal() -> None:
    for width in (80, 120):
        text = drawn(width, (SPAN, 1000), (GAP, 1000), (PENDING, 500))
        assert max(map(len, text.splitlines())) <= width


@given(
    st.lists(
        st.tuples(st.sampled_from([SPAN, GAP, PENDING]), st.integers(1, 5_000_000)),
        min_size=1,
        max_size=40,
    ),
    st.integers(20, 150),
)
@settings(max_examples=examples(60), deadline=None)
def test_every_gap_shows_wherever_it_lies(pieces: list[tuple[int, int]], width: int) -> None:
    window, found = timeline(*pieces)
    begin, end = window.start_time.ToMicroseconds(), window.end_time.ToMicroseconds()
    bar = timeline_view._bar(found, begin, end, width).plain
    assert len(bar) == width
    for entry in found.entries:
        if entry.kind == GAP:
            first = (entry.start_time.ToMicroseconds() - begin) * width // (end - begin)
            assert bar[first] == "░"


def test_the_share_is_never_rounded_up_to_whole() -> None:
    text = drawn(120, (SPAN, 86_400_000), (GAP, 40))
    assert "100.00 %" not in text


def test_every_cause_of_the_contract_has_words() -> None:
    names = {name.removeprefix("GAP_CAUSE_") for name in types_pb2.GapCause.keys()}  # noqa: SIM118
    assert set(CAUSE_TEXTS) == names - {"UNSPECIFIED"}
    assert "SPOOL_FULL" in cause_text(types_pb2.GAP_CAUSE_SPOOL_FULL)
