"""Events of other versions: every kept generation is read, and so is what a later one may add."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from contract.kept_events import Example, Kept, examples, is_written_as, kept, newest
from contract.later_events import (
    Record,
    add_future_fields,
    event_files,
    from_the_broker,
    future_class,
    is_,
)
from vigie.platform.eventlog import parse_event
from vigie.platform.eventlog.kafka.records import stored_event
from vigie.topics import BROKER_TOPICS

KEPT = kept()
NEWEST = tuple(newest().values())
HOW = "extend tests/contract/kept_events.py and run `make keep-events`"


def named(one: Kept) -> str:
    return f"{one.example}.{one.generation}"


def event_messages() -> set[str]:
    """Messages of every `events.proto` that stand in a topic: no other message holds them."""
    found: set[str] = set()
    for file in event_files():
        every = file.message_types_by_name.values()
        parts = {
            field.message_type.full_name for one in every for field in one.fields if is_(field)
        }
        found |= {one.full_name for one in every} - parts
    return found


def without_kept_bytes(messages: set[str], names: set[str]) -> str:
    """What is missing, for the person who has added it; "" when nothing is."""
    known = {name if name in messages else name.rpartition(".")[0] for name in names}
    missing = sorted(messages - known)
    return f"no bytes are kept of {', '.join(missing)}: {HOW}" if missing else ""


def message_class(one: Kept) -> type[Message]:
    for example in examples():
        if example.name == one.example:
            return type(example.message)
    raise AssertionError(f"{one.example} is no example any more; kept events are read for ever")


# --- what is kept ------------------------------------------------------------------------------


def test_bytes_of_every_event_message_and_topic_are_kept() -> None:
    assert not (told := without_kept_bytes(event_messages(), set(newest()))), told
    topics = {spec.name for spec in BROKER_TOPICS}
    assert {one.topic for one in NEWEST} == topics, f"a topic without kept bytes: {HOW}"
    assert {example.name for example in examples()} == set(newest()), HOW


def test_a_new_event_message_without_kept_bytes_is_told() -> None:
    assert event_messages() >= {"vigie.registry.v1.CameraState", "vigie.ingest.v1.SegmentEvent"}
    assert "vigie.ingest.v1.Outage" not in event_messages(), "it stands within another"
    told = without_kept_bytes({*event_messages(), "vigie.ingest.v1.Weather"}, set(newest()))
    assert told == f"no bytes are kept of vigie.ingest.v1.Weather: {HOW}"


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_newest_generation_is_what_this_version_writes(example: Example) -> None:
    assert example.name in newest(), f"{example.name} is not kept: {HOW}"
    assert is_written_as(example, newest()[example.name]), (
        f"{example.name} is written differently now; the kept bytes stay as they are: `make "
        "keep-events` adds a generation"
    )


def test_generations_are_whole() -> None:
    numbers: dict[str, list[int]] = {}
    for one in KEPT:
        numbers.setdefault(one.example, []).append(one.generation)
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values()), numbers


def test_examples_set_every_field_to_a_value_of_its_own() -> None:
    unset = {path for example in examples() for path in fields_of(example.message.DESCRIPTOR)}
    for example in examples():
        values = list(values_of(example.message, type(example.message).DESCRIPTOR.full_name))
        unset -= {path for path, _ in values}
        leaves = [value for _, value in values if not isinstance(value, bool | Message)]
        texts = [value for value in leaves if isinstance(value, str | bytes)]
        counts = [value for value in leaves if isinstance(value, int) and abs(value) > 10]
        for distinct in (texts, counts):
            assert len(set(distinct)) == len(distinct), f"{example.name} says a value twice"
    assert not unset, f"no example sets {sorted(unset)}: {HOW}"


def fields_of(message: Descriptor, prefix: str = "") -> Iterator[str]:
    prefix = prefix or message.full_name
    for field in message.fields:
        path = f"{prefix}.{field.name}"
        yield path
        if is_(field) and field.message_type.full_name.startswith("vigie."):
            yield from fields_of(field.message_type, path)


def values_of(message: Message, prefix: str) -> Iterator[tuple[str, Any]]:
    for field, value in message.ListFields():
        path = f"{prefix}.{field.name}"
        for one in value if field.is_repeated else (value,):
            yield path, one
            if is_(field):
                yield from values_of(one, path)


# --- what was written is read ------------------------------------------------------------------


@pytest.mark.parametrize("one", KEPT, ids=named)
def test_every_generation_says_what_was_kept_beside_it(one: Kept) -> None:
    stored = from_the_broker(one)
    message = parse_event(stored, message_class(one))
    assert MessageToDict(message, preserving_proto_field_name=True) == one.fields
    headers = dict(one.headers)
    event = stored.event
    assert event.key == one.key
    assert event.id == headers["ce_id"].decode()
    assert event.type == headers["ce_type"].decode() == type(message).DESCRIPTOR.full_name
    assert event.source == headers["ce_source"].decode()
    assert event.headers == {"request-id": headers["request-id"].decode()}
    seconds, us = divmod(event.time_us, 1_000_000)
    assert headers["ce_time"] == f"2026-03-01T12:00:{seconds - 1_772_366_400:02}.{us:06}Z".encode()


# --- what will be written ----------------------------------------------------------------------


@pytest.mark.parametrize("one", NEWEST, ids=named)
def test_fields_of_a_later_version_lose_nothing_that_is_known(one: Kept) -> None:
    known = message_class(one)
    later = future_class(known).FromString(one.value)
    if one.topic != "installation":
        assert add_future_fields(later) > 0
    read = parse_event(from_the_broker(one, later.SerializeToString()), known)
    assert MessageToDict(read, preserving_proto_field_name=True) == one.fields
    # Nor is what is not known lost, where a message is written again.
    assert future_class(known).FromString(read.SerializeToString()) == later


@pytest.mark.parametrize("one", NEWEST, ids=named)
def test_bytes_of_this_version_are_read_by_a_later_one(one: Kept) -> None:
    later = future_class(message_class(one)).FromString(one.value)
    assert MessageToDict(later, preserving_proto_field_name=True) == one.fields


@pytest.mark.parametrize("one", NEWEST, ids=named)
def test_headers_of_a_later_version_change_nothing(one: Kept) -> None:
    """CloudEvents 1.x may add attributes; a second major version is not read as the first."""
    more = tuple(
        (name, b"1.9" if name == "ce_specversion" else value) for name, value in one.headers
    )
    later = Record(one.key.encode(), one.value, (*more, ("ce_dataschema", b"later")), one.topic)
    assert stored_event(one.topic, later).event == from_the_broker(one).event
    other = tuple(
        (name, b"2.0" if name == "ce_specversion" else value) for name, value in one.headers
    )
    unread = stored_event(one.topic, Record(one.key.encode(), one.value, other, one.topic)).event
    assert (unread.type, unread.value) == ("", one.value), "it goes to quarantine, whole"
