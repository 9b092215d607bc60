"""The event-log port (durable keyed topics, consumer groups), its embedded form, and consumers."""

from vigie.platform.eventlog.casebook import QUARANTINE_TOPIC
from vigie.platform.eventlog.consumer import Consumer, ConsumerOptions
from vigie.platform.eventlog.embedded import EmbeddedEventLog, open_event_log
from vigie.platform.eventlog.events import EventFactory, Unprocessable, make_event, parse_event
from vigie.platform.eventlog.numbering import Hole, NumberingMark
from vigie.platform.eventlog.observer import ConsumerObserver, PrometheusObserver
from vigie.platform.eventlog.port import (
    Change,
    Event,
    EventLog,
    Gained,
    Lost,
    Position,
    RawRecord,
    Share,
    StoredEvent,
    Subscription,
    Told,
    TopicSpec,
)
from vigie.platform.eventlog.quarantine import Quarantine, QuarantinedEvent
from vigie.platform.eventlog.table import CompactedTable

__all__ = [
    "QUARANTINE_TOPIC",
    "Change",
    "CompactedTable",
    "Consumer",
    "ConsumerObserver",
    "ConsumerOptions",
    "EmbeddedEventLog",
    "Event",
    "EventFactory",
    "EventLog",
    "Gained",
    "Hole",
    "Lost",
    "NumberingMark",
    "Position",
    "PrometheusObserver",
    "Quarantine",
    "QuarantinedEvent",
    "RawRecord",
    "Share",
    "StoredEvent",
    "Subscription",
    "Told",
    "TopicSpec",
    "Unprocessable",
    "make_event",
    "open_event_log",
    "parse_event",
]
