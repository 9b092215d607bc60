from datetime import UTC, datetime, timedelta

import pytest
import typer

from vigie.cli.arguments import (
    identifier,
    parse_duration,
    parse_instant,
    parse_window,
    resource,
)
from vigie.cli.resources import enum_of, position_of, words_of
from vigie.registry.v1 import events_pb2

NOW = datetime(2026, 3, 29, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172800), ("0.5s", 0.5), ("1d1h1m1s", 90061)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "1m1h", "5x"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("now", NOW),
        ("-5m", NOW - timedelta(minutes=5)),
        ("2026-03-01T14:05:00Z", datetime(2026, 3, 1, 14, 5, tzinfo=UTC)),
        ("2026-03-01T14:05:00+01:00", datetime(2026, 3, 1, 13, 5, tzinfo=UTC)),
        ("2026-03-01T14:05:00.250Z", datetime(2026, 3, 1, 14, 5, 0, 250000, tzinfo=UTC)),
    ],
)
def test_instants(text: str, instant: datetime) -> None:
    assert parse_instant(text, NOW) == instant


@pytest.mark.parametrize("text", ["", "yesterday", "25:00:00", "2026-13-01", "-", "-x"])
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_instant(text, NOW)


def test_an_end_may_be_counted_from_the_start() -> None:
    window = parse_window("2026-03-01T14:00:00Z", "+30s", NOW)
    assert window.end_time.seconds - window.start_time.seconds == 30


def test_names_of_resources() -> None:
    assert resource("cameras", "cam-1") == "cameras/cam-1"
    assert resource("cameras", "cameras/cam-1") == "cameras/cam-1"
    assert identifier("cameras/cam-1") == "cam-1"


def test_words_of_enumerations() -> None:
    kind, prefix = events_pb2.CameraLifecycle, "CAMERA_LIFECYCLE_"
    assert words_of(kind, prefix) == ["planned", "in-service", "suspended", "retired"]
    assert enum_of(kind, prefix, "in-service") == events_pb2.CAMERA_LIFECYCLE_IN_SERVICE
    assert enum_of(kind, prefix, "IN_SERVICE") == events_pb2.CAMERA_LIFECYCLE_IN_SERVICE


@pytest.mark.parametrize("text", ["in-sevice", "unspecified", ""])
def test_an_unknown_word_names_those_that_are_known(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="in-service"):
        enum_of(events_pb2.CameraLifecycle, "CAMERA_LIFECYCLE_", text)


def test_positions() -> None:
    found = position_of("45.79,3.11")
    assert found is not None
    assert (found.latitude_degrees, found.longitude_degrees) == (45.79, 3.11)
    for wrong in ("", "45.79", "45.79;3.11", "a,b"):
        with pytest.raises(typer.BadParameter):
            position_of(wrong)
