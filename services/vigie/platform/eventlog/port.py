"""What every event log offers, embedded or Apache Kafka.

Guarantees asked of an implementation (held by one contract suite):

- an append that returned is durable; one that raised may be stored nevertheless, and is repeated
  with the same ids by whoever needs it stored;
- events of one key in one topic are read in the order in which they were appended, one append
  begun after the other has returned;
- an event is read at least once. A log drops an id that is appended again while it remembers the
  first (the embedded log always does; Kafka for its last appends), so a repetition is rare, but
  it may come at any distance: every reader and handler gives the same result when an event comes
  twice. Handlers know an event by what it says (a record's identifier, an object key, a camera's
  revision), never by its position;
- a consumer group's position moves only when committed, in the same database transaction as the
  effect: each stored event takes effect once. A member that lost a partition can commit nothing
  of it any more: its whole unit of work is refused (POSITION_REFUSED) and rolls back;
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
        wraps: its events carry whole records of other topics, so they may be twice as large.
    """

    name: str
    compacted: bool
    partitions: int
    why: str
    retention_days: int = 30
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """What is appended.

    Attributes:
        key: events of one key are ordered.
        type: CloudEvents ``type``: the full protobuf message name of ``value``.
        value: serialised protobuf; ``None`` removes the key from a compacted topic.
        id: CloudEvents ``id``: names the event; a repeated append repeats its id.
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
class RawRecord:
    """What a log of records holds of an event, to the byte.

    Attributes:
        key: ``None``: it has none.
        headers: in their order, attributes included; a name may occur twice.
        value: ``None``: it has none.
    """

    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    value: bytes | None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as read back.

    Attributes:
        topic: where it stands.
        position: the same.
        event: what was read.
        raw: of what it was read; ``None``: the log holds events and no records.
    """

    topic: str
    position: Position
    event: Event
    raw: RawRecord | None = field(default=None, compare=False, repr=False)


class Subscription(Protocol):
    """One member of a consumer group reading one topic."""

    async def fetch(self, *, max_events: int, timeout_seconds: float) -> Sequence[StoredEvent]:
        """The next events after what this member fetched last; empty after the time-out.

        Nothing comes from a partition that this member does not hold, also not what it was
        given before another member took it over.

        Raises:
            VigieError: STOPPING when the log is closed; DATABASE_UNAVAILABLE;
                EVENT_LOG_UNAVAILABLE; POSITION_BEYOND_END.
        """
        ...

    async def commit(
        self, events: Sequence[StoredEvent], *, connection: AsyncConnection | None = None
    ) -> None:
        """Mark ``events`` as processed.

        With ``connection`` the position is written in that transaction: position and effect
        commit together.

        Raises:
            VigieError: POSITION_REFUSED: the group's position is not where this member left it,
                because another one has taken the partition over. The transaction must roll back;
                `rewind`, and go on with what `fetch` gives then.
        """
        ...

    async def rewind(self) -> None:
        """Fetch again from the committed position (after a failed unit of work)."""
        ...

    async def lag(self) -> int | None:
        """How many events are stored behind the committed position; ``None``: unknown.

        Of a distributed log: in the partitions that this member holds, so that the members of a
        group add up; a few marks of the log's own may count until `fetch` has passed them. It is
        unknown while the group is rearranged: what this member will hold, it cannot count. The
        embedded log tells every member those of the group.
        """
        ...

    def not_ready(self) -> str | None:
        """Why this member is given nothing, in one line; ``None`` when all is well.

        A member that the group has nothing for is well; so is one that waits for a moment.
        """
        ...

    async def close(self) -> None:
        """Leave the group."""
        ...


@dataclass(frozen=True, slots=True)
class Gained:
    """A member of a group now has these partitions, and nobody else has.

    Attributes:
        partitions: those that are new to this member.
        generation: increases with every assignment of the group.
        events: the newest event of every key in them, as a table read from its beginning to its
            end; keys that were removed are absent. One that cannot be read is among them.
    """

    partitions: frozenset[int]
    generation: int
    events: Sequence[StoredEvent]


@dataclass(frozen=True, slots=True)
class Lost:
    """These partitions are another member's now, or nobody's that this one knows of.

    Attributes:
        partitions: what this member had and has no more.
        generation: of the assignment that took them away.
    """

    partitions: frozenset[int]
    generation: int


@dataclass(frozen=True, slots=True)
class Told:
    """An event came in a partition that this member has; without a value: its key is removed."""

    stored: StoredEvent


Change = Gained | Lost | Told


class Share(Protocol):
    """One member's share of the keys of a compacted topic.

    A group divides the partitions of a topic among its members, and as few as possible move when
    one comes or goes. Losing is told by the difference of two assignments: what a member keeps is
    never taken from it, not even for a moment. While the log is away every member keeps what it
    has. For a moment two members may believe that they have a partition (one that was paused and
    has not learnt it yet): whoever acts on it must do no harm then.
    """

    @property
    def partitions(self) -> frozenset[int]:
        """What this member has, as far as `changes` has told."""
        ...

    def changes(self) -> AsyncIterator[Change]:
        """Every change from now on, in order; one reader. `Lost` is told before `Gained`.

        Raises:
            VigieError: STOPPING when the share or the log is closed. Failures of the log are
                waited for.
        """
        ...

    def not_ready(self) -> str | None:
        """Why the share may not be current now, in one line."""
        ...

    async def close(self) -> None:
        """Leave the group, so that the others take over at once (idempotent)."""
        ...


class EventLog(Protocol):
    """The log."""

    async def declare(self, topics: Sequence[TopicSpec]) -> None:
        """Say which topics this process uses; called once, before anything else.

        The embedded log creates those that are missing. A distributed one only checks: topics are
        made by ``vigie topics apply``.

        Raises:
            VigieError: TOPIC_MISMATCH with every difference; EVENT_LOG_UNAVAILABLE.
        """
        ...

    async def append(
        self, topic: str, events: Sequence[Event], *, connection: AsyncConnection | None = None
    ) -> None:
        """Append durably.

        With ``connection`` (an open transaction of the caller's database) the events become
        durable when that transaction commits: state change and event together. Readers see them
        then or soon after (an outbox is published in order). Without it they are durable in the
        log when this returns. Where an event will stand is not told: within a transaction nobody
        knows it yet.

        Events of one key that are written by several transactions keep the order of the commits
        where these transactions change a common row before they append, or append to one key.

        Raises:
            VigieError: EVENT_LOG_UNAVAILABLE when the log cannot make them durable, or did not
                confirm it in time (they may be stored nevertheless: repeat with the same ids);
                TOPIC_UNKNOWN; EVENT_TOO_LARGE.
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

    async def ends(self, topic: str) -> Sequence[Position]:
        """How far each partition that is not empty reaches now, in the order of partitions.

        No event that stands in the topic now has a position behind these. In a topic that an
        outbox writes, or a compacted one, no event may stand at that very position: to learn
        that everything was read, read to the end (`read` without ``follow``).
        """
        ...

    async def leads(self, connection: AsyncConnection) -> bool:
        """Whether of all processes of this context this is the one that has the turn.

        Asked in a transaction, the answer holds for what that commits: who was paused and has lost
        the turn without knowing it changes nothing more. Another takes it within seconds.
        """
        ...

    async def share(self, topic: str, group: str) -> Share:
        """Join ``group`` to divide the keys of a compacted topic; see `Share`."""
        ...

    async def close(self) -> None:
        """Release resources; wakes every waiting reader."""
        ...
