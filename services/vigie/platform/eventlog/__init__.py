"""The event-log port, durable keyed topics with consumer groups, and its embedded form."""

from vigie.platform.eventlog.embedded import EmbeddedEventLog, open_event_log
from vigie.platform.eventlog.port import (
    Event,
    EventLog,
    Position,
    StoredEvent,
    Subscription,
    TopicSpec,
)

__all__ = [
    "EmbeddedEventLog",
    "Event",
    "EventLog",
    "Position",
    "StoredEvent",
    "Subscription",
    "TopicSpec",
    "open_event_log",
]
