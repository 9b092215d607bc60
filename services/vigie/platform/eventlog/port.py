"""What every event log offers, embedded or Apache Kafka.

Guarantees asked of an implementation (held by one contract suite):

- an append that returned is durable;
- events of one key in one topic are read in the order in which they were appended;
- a consumer group reads each event at least once; its position moves only when committed, and a
  position may be committed in the same database transaction as the effect (exactly once in
  effect);
- a compacted topic keeps at least the newest event of every key; an event without a value
  (tombstone) removes its key.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vigie.platform.database.connection import AsyncConnection


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as declared by its owner.

    Attributes:
        name: lower-case words joined by hyphens, e.g. ``segments``.
        compacted: keep only the newest event of each key for ever; else keep by time.
        retention_days: how long events stay in a topic that is not compacted.
        partitions: how many partitions a distributed log gives it.
        why: one sentence for the operator.
    """

    name: str
    compacted: bool
    partitions: int
    why: str
    retention_days: int = 30


@dataclass(frozen=True, slots=True)
class Event:
    """What is appended.

    Attributes:
        key: events of one key are ordered.
        type: CloudEvents ``type``: the full protobuf message name of ``value``.
        value: serialised protobuf; ``None`` removes the key from a compacted topic.
        id: CloudEvents ``id``: unique; appending the same id to a topic twice is stored once.
        time_us: CloudEvents ``time``: when it happened, microseconds since the Unix epoch.
        source: CloudEvents ``source``: the context that says so, e.g. ``vigie/ingest``.
        headers: further headers (request id, trace).
    """

    key: str
    type: str
    value: bytes | None
    id: str
    time_us: int
    source: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where an event stands: partition and offset (the embedded log has one partition)."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as read back."""

    topic: str
    position: Position
    event: Event


class Subscription(Protocol):
    """One member of a consumer group reading one topic."""

    async def fetch(self, *, max_events: int, timeout_seconds: float) -> Sequence[StoredEvent]:
        """The next events after what this member fetched last; empty after the time-out.

        Raises:
            VigieError: STOPPING when the log is closed.
        """
        ...

    async def commit(
        self, events: Sequence[StoredEvent], *, connection: AsyncConnection | None = None
    ) -> None:
        """Mark ``events`` as processed.

        With ``connection`` the position is written in that transaction: position and effect
        commit together.
        """
        ...

    async def rewind(self) -> None:
        """Fetch again from the committed position (after a failed unit of work)."""
        ...

    async def lag(self) -> int:
        """How many events are stored behind the committed position."""
        ...

    async def close(self) -> None:
        """Leave the group."""
        ...


class EventLog(Protocol):
    """The log."""

    async def declare(self, topics: Sequence[TopicSpec]) -> None:
        """Create or check topics; a difference is an error."""
        ...

    async def append(
        self, topic: str, events: Sequence[Event], *, connection: AsyncConnection | None = None
    ) -> Sequence[Position]:
        """Append durably.

        With ``connection`` (an open transaction of the caller's database) the events become
        durable and visible when that transaction commits: state change and event together.
        Without it they are durable when this returns.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE when the log cannot make them durable.
        """
        ...

    async def subscribe(self, topic: str, group: str) -> Subscription:
        """Join ``group`` on ``topic`` at its committed position (at first: the beginning)."""
        ...

    def read(
        self,
        topic: str,
        *,
        after: Position | Sequence[Position] | None = None,
        follow: bool = False,
    ) -> AsyncIterator[StoredEvent]:
        """Read without a group, from the beginning or after ``after``; ``follow`` waits for more.

        ``after`` holds one position for each partition read so far (the embedded log has only
        one); partitions it does not name are read from their beginning.

        For compacted topics: every key's newest event at least once. Used to build a table from a
        compacted topic and by resumable watches.

        Raises:
            VigieError: TOPIC_UNKNOWN; STOPPING when the log is closed meanwhile.
        """
        ...

    async def end(self, topic: str) -> Position | None:
        """The position of the last event, or ``None`` when the topic is empty."""
        ...

    async def close(self) -> None:
        """Release resources; wakes every waiting reader."""
        ...
