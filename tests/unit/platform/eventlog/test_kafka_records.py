"""Records of Kafka: what goes in comes out; what is no event of ours comes out, too."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.platform.errors import VigieError
from vigie.platform.eventlog import Event, Position, Unprocessable, parse_event
from vigie.platform.eventlog.kafka.records import (
    CONTENT_TYPE,
    UNREADABLE,
    checked_size,
    headers_of,
    stored_event,
)
from vigie.registry.v1.events_pb2 import CameraState

EVENT = Event(
    key="cam-lagarenne-01",
    type="vigie.registry.v1.CameraState",
    value=b"\x0a\x01a",
    id="0198c1de-0000-7000-8000-000000000000",
    time_us=1_767_225_599_000_007,
    source="vigie/registry",
    headers={"request-id": "r-1", "name": "Gênes"},
)


@dataclass
class Record:
    """As aiokafka's `ConsumerRecord`."""

    key: bytes | None
    value: bytes | None
    headers: Any
    topic: str = "vigie.cameras"
    partition: int = 3
    offset: int = 17
    timestamp: int = 1_700_000_000_123


def record(event: Event) -> Record:
    return Record(event.key.encode(), event.value, tuple(headers_of(event)))


def test_the_headers_are_those_of_the_binding() -> None:
    assert headers_of(EVENT) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"0198c1de-0000-7000-8000-000000000000"),
        ("ce_type", b"vigie.registry.v1.CameraState"),
        ("ce_source", b"vigie/registry"),
        ("ce_time", b"2025-12-31T23:59:59.000007Z"),
        ("content-type", CONTENT_TYPE.encode()),
        ("request-id", b"r-1"),
        ("name", "Gênes".encode()),
    ]


@pytest.mark.parametrize("value", [b"", b"x", None])
def test_an_event_comes_back_as_it_was(value: bytes | None) -> None:
    given_event = replace(EVENT, value=value)
    stored = stored_event("cameras", record(given_event))
    assert stored.event == given_event
    assert (stored.topic, stored.position) == ("cameras", Position(3, 17))


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@given(
    key=TEXT,
    kind=TEXT.filter(bool),
    name=TEXT.filter(bool),
    time_us=st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
    headers=st.dictionaries(
        TEXT.filter(lambda text: not text.startswith("ce_") and text != "content-type"), TEXT
    ),
)
def test_any_event_comes_back_as_it_was(
    key: str, kind: str, name: str, time_us: int, headers: dict[str, str]
) -> None:
    event = Event(key, kind, b"v", name, time_us, "test", headers)
    assert stored_event("t", record(event)).event == event


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("2026-01-01T00:00:00Z", 1_767_225_600_000_000),
        ("2026-01-01t01:00:00.5+01:00", 1_767_225_600_500_000),
        ("2026-01-01T00:00:00.123456789z", 1_767_225_600_123_456),
    ],
)
def test_the_times_of_other_writers_are_read(text: str, time_us: int) -> None:
    headers = dict(headers_of(EVENT)) | {"ce_time": text.encode()}
    stored = stored_event("t", Record(b"k", b"v", tuple(headers.items())))
    assert stored.event.time_us == time_us


def test_attributes_of_later_versions_are_passed_over() -> None:
    headers = [*headers_of(EVENT), ("ce_dataschema", b"x"), ("ce_specversion", b"1.1")]
    assert stored_event("t", Record(EVENT.key.encode(), EVENT.value, headers)).event == EVENT


@given(
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=50),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                ["ce_id", "ce_type", "ce_source", "ce_time", "ce_specversion", "other", "\0"]
            ),
            st.none() | st.binary(max_size=10) | st.sampled_from([b"1.0", b"2026-01-01T00:00:00Z"]),
        ),
        max_size=8,
    ),
)
def test_whatever_stands_in_the_log_becomes_an_event(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    event = stored_event("cameras", Record(key, value, tuple(headers))).event
    for text in (event.key, event.type, event.id, event.source):
        assert "\0" not in text
        text.encode()
    if event.type == UNREADABLE:
        assert event.value == (value or b""), "the bytes are kept, and it is no tombstone"
        assert event.id == "vigie.cameras/3/17"


@pytest.mark.parametrize("missing", ["ce_id", "ce_type", "ce_source", "ce_time", "ce_specversion"])
def test_without_an_attribute_it_is_nobodys_and_no_tombstone(missing: str) -> None:
    headers = [header for header in headers_of(EVENT) if header[0] != missing]
    stored = stored_event("cameras", Record(b"cam", None, headers))
    assert (stored.event.type, stored.event.value) == (UNREADABLE, b"")
    with pytest.raises(Unprocessable, match="EVENT_TYPE_UNKNOWN"):
        parse_event(stored, CameraState)


@pytest.mark.parametrize("name", ["ce_id", "ce_anything", "content-type"])
def test_headers_of_the_binding_are_not_taken_from_events(name: str) -> None:
    with pytest.raises(ValueError, match="belongs to the binding"):
        headers_of(replace(EVENT, headers={name: "x"}))


def test_the_size_counts_everything() -> None:
    headers = headers_of(EVENT)
    size = checked_size(EVENT, headers, 10_000)
    larger = replace(EVENT, value=(EVENT.value or b"") + bytes(100))
    assert checked_size(larger, headers, 10_000) == size + 100
    assert checked_size(EVENT, headers, size) == size
    with pytest.raises(VigieError, match="EVENT_TOO_LARGE"):
        checked_size(EVENT, headers, size - 1)
