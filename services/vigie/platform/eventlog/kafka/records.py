"""Events as Kafka records and back: CloudEvents 1.0, Kafka protocol binding, binary content mode.

The value is the protobuf message, unwrapped; the attributes are headers named ``ce_…``. Nothing a
broker can hold is skipped or raises here: a record that is no event of ours becomes one without a
type, which every consumer puts into quarantine, with the bytes as they are.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vigie.platform.clock import from_us
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.port import Event, Position, RawRecord, StoredEvent
from vigie.platform.reasons import EVENT_TOO_LARGE

CONTENT_TYPE: Final = "application/protobuf"
UNREADABLE: Final = ""
"""The type of an event made from a record that is none."""

Headers = Sequence[tuple[str, bytes]]
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OWN: Final = "content-type"
_OVERHEAD_BYTES: Final = 64


def headers_of(event: Event) -> list[tuple[str, bytes]]:
    """The headers of an event, attributes first.

    Raises:
        ValueError: a header of the event bears a name of the binding.
    """
    for name in event.headers:
        if name.startswith("ce_") or name == _OWN:
            raise ValueError(f"header {name!r} of an event belongs to the binding")
    return [(name, text.encode()) for name, text in _attributes(event).items()]


def record_of(event: Event) -> RawRecord:
    """The record that an event is at the brokers, also of one that was read elsewhere."""
    headers = tuple((name, text.encode()) for name, text in _attributes(event).items())
    return RawRecord(event.key.encode(), headers, event.value)


def _attributes(event: Event) -> dict[str, str]:
    return {
        "ce_specversion": "1.0",
        "ce_id": event.id,
        "ce_type": event.type,
        "ce_source": event.source,
        "ce_time": _time_text(event.time_us),
        _OWN: CONTENT_TYPE,
    } | dict(event.headers)


def checked_size(event: Event, headers: Headers, most: int) -> int:
    """Bytes of a record, about.

    Raises:
        VigieError: EVENT_TOO_LARGE.
    """
    size = len(event.value or b"") + len(event.key.encode()) + _OVERHEAD_BYTES
    size += sum(len(name) + len(value) + 2 for name, value in headers)
    if size > most:
        raise VigieError(
            EVENT_TOO_LARGE, f"event {event.id} of type {event.type}: {size} bytes, {most} at most"
        )
    return size


def stored_event(topic: str, record: Any) -> StoredEvent:
    """The event in a record that a consumer was given.

    Args:
        topic: the topic's own name, without prefix.
        record: aiokafka's `ConsumerRecord`.
    """
    position = Position(record.partition, record.offset)
    raw = RawRecord(
        key=record.key,
        headers=tuple((name, bytes(value or b"")) for name, value in record.headers),
        value=record.value,
    )
    headers = dict(raw.headers)
    try:
        event = _event(record, headers)
    except (KeyError, ValueError):
        event = _unreadable(record, headers)
    return StoredEvent(topic, position, event, raw)


def _event(record: Any, headers: dict[str, bytes]) -> Event:
    if record.key is None:
        raise ValueError("a record without key has no order")
    texts = {name: value.decode() for name, value in headers.items()}
    event = Event(
        key=bytes(record.key).decode(),
        type=texts.pop("ce_type"),
        value=None if record.value is None else bytes(record.value),
        id=texts.pop("ce_id"),
        time_us=_time_us(texts.pop("ce_time")),
        source=texts.pop("ce_source"),
        headers={
            name: text
            for name, text in texts.items()
            if name != _OWN and not name.startswith("ce_")
        },
    )
    if texts.get("ce_specversion", "").partition(".")[0] != "1" or not (event.type and event.id):
        raise ValueError("not CloudEvents 1")
    if any("\0" in text for text in (event.key, event.type, event.id, event.source)):
        raise ValueError("a null character, which no database takes as text")
    return event


def _unreadable(record: Any, headers: dict[str, bytes]) -> Event:
    """An event that no consumer knows: it goes to quarantine whole.

    It is never a tombstone: what is not known to be one of ours removes nothing.
    """
    return Event(
        key=_shown(record.key or b""),
        type=UNREADABLE,
        value=bytes(record.value or b""),
        id=f"{record.topic}/{record.partition}/{record.offset}",
        time_us=max(0, record.timestamp) * 1000,
        source="unknown",
        headers={_shown(name.encode()): _shown(value) for name, value in headers.items()},
    )


def _shown(raw: bytes) -> str:
    """Bytes as text that every database takes."""
    return bytes(raw).decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _time_text(time_us: int) -> str:
    return from_us(time_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time_us(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no RFC 3339 time")
    day, time, fraction, zone = found.groups()
    offset = "+00:00" if zone in "Zz" else zone
    whole = datetime.fromisoformat(f"{day}T{time}{offset}")
    us = int((fraction or "0").ljust(6, "0")[:6])
    return (whole - _EPOCH) // timedelta(microseconds=1) + us
