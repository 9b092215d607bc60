"""The event-log port: durable, keyed topics with consumer groups."""

from vigie.platform.eventlog.port import (
    Event,
    EventLog,
    Position,
    StoredEvent,
    Subscription,
    TopicSpec,
)

__all__ = ["Event", "EventLog", "Position", "StoredEvent", "Subscription", "TopicSpec"]
