"""Events as rows and back."""

import json
from typing import Any

from sqlalchemy import RowMapping

from vigie.platform.eventlog.port import Event, Position, StoredEvent


def event_columns(event: Event) -> dict[str, Any]:
    """The columns an event has in the log and in quarantine."""
    headers = json.dumps(dict(event.headers), ensure_ascii=False, sort_keys=True)
    return {
        "key": event.key,
        "type": event.type,
        "value": event.value,
        "id": event.id,
        "time_us": event.time_us,
        "source": event.source,
        "headers": headers if event.headers else None,
    }


def event_from_columns(row: RowMapping) -> Event:
    """The event of a row made by `event_columns`."""
    return Event(
        key=row["key"],
        type=row["type"],
        value=None if row["value"] is None else bytes(row["value"]),
        id=row["id"],
        time_us=row["time_us"],
        source=row["source"],
        headers=json.loads(row["headers"]) if row["headers"] else {},
    )


def stored_event(topic: str, row: RowMapping, partition: int = 0) -> StoredEvent:
    """The stored event of a row that also has an ``offset``."""
    return StoredEvent(topic, Position(partition, row["offset"]), event_from_columns(row))
