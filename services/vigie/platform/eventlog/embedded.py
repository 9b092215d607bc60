"""The embedded event log: tables in the same SQLite file as the state it tells about.

- One partition; offsets of a topic increase from 0 in the order of commits.
- The log is its own outbox: an append in the caller's transaction becomes durable and visible
  with it. There is no relay.
- Appends without a connection are committed in groups: while one transaction is being made
  durable, others gather and share the next (`GroupCommit`).
- One process works on the file (`DataDirectoryLock`), so readers are woken in memory.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from vigie.platform.clock import WallClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.embedded import EmbeddedDatabase
from vigie.platform.database.errors import as_unavailable
from vigie.platform.database.migrations import migrate
from vigie.platform.database.statements import in_chunks
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.groupcommit import GroupCommit
from vigie.platform.eventlog.maintenance import MaintenanceReport, maintain
from vigie.platform.eventlog.numbering import Hole, holes
from vigie.platform.eventlog.port import Event, Position, StoredEvent, TopicSpec
from vigie.platform.eventlog.positions import committed_offsets
from vigie.platform.eventlog.rows import event_columns, stored_event
from vigie.platform.eventlog.share import EmbeddedShare
from vigie.platform.eventlog.subscription import EmbeddedSubscription, GroupMembers
from vigie.platform.eventlog.tables import CONSUMER_MIGRATIONS, EVENT, LOG_MIGRATIONS, TOPIC
from vigie.platform.eventlog.wake import WakeUp, wait_for
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.reasons import (
    DATABASE_UNAVAILABLE,
    EVENT_LOG_UNAVAILABLE,
    STOPPING,
    TOPIC_MISMATCH,
    TOPIC_UNKNOWN,
)

FAULT_POINTS: Final = (
    "eventlog.append.begun",
    "eventlog.append.inserted",
    "eventlog.append.committed",
)
"""Steps of an append. A failure at ``committed`` is an append whose result is not learnt."""

_READ_BATCH: Final = 500


_BATCH: Final = (
    sa.select(EVENT)
    .where(EVENT.c.topic == sa.bindparam("number"), EVENT.c.offset > sa.bindparam("after"))
    .order_by(EVENT.c.offset)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_END: Final = sa.select(sa.func.max(EVENT.c.offset)).where(EVENT.c.topic == sa.bindparam("number"))
_COUNT: Final = (
    sa.select(sa.func.count())
    .select_from(EVENT)
    .where(EVENT.c.topic == sa.bindparam("number"), EVENT.c.offset > sa.bindparam("after"))
)
_GROW: Final = (
    sa.update(TOPIC)
    .where(TOPIC.c.topic == sa.bindparam("number"))
    .values(next_offset=TOPIC.c.next_offset + sa.bindparam("count"))
    .returning(TOPIC.c.next_offset)
)
_IDS: Final = sa.select(EVENT.c.id, EVENT.c.offset).where(
    EVENT.c.topic == sa.bindparam("number"), EVENT.c.id.in_(sa.bindparam("ids", expanding=True))
)
_INSERT: Final = sa.insert(EVENT)


@dataclass(frozen=True, slots=True)
class _Topic:
    number: int
    spec: TopicSpec
    grown: WakeUp


class EmbeddedEventLog:
    """See `vigie.platform.eventlog.port.EventLog`. Make one with `open_event_log`."""

    def __init__(
        self,
        database: EmbeddedDatabase,
        wall_clock: WallClock,
        *,
        faults: FaultPoints = NO_FAULTS,
    ) -> None:
        self._database = database
        self._wall_clock = wall_clock
        self._faults = faults
        self._topics: dict[str, _Topic] = {}
        self._members: dict[tuple[str, str], GroupMembers] = {}
        self._group_commit = GroupCommit(self._append_batch)
        self._closed = False

    async def declare(self, topics: Sequence[TopicSpec]) -> None:
        """See `EventLog.declare`; ``why`` may differ and is updated.

        Raises:
            VigieError: TOPIC_MISMATCH, with every difference.
        """
        async with self._database.transaction() as connection:
            for spec in topics:
                found = await self._load(connection, spec.name)
                if found is None:
                    await connection.execute(sa.insert(TOPIC), {**_columns(spec), "next_offset": 0})
                elif differences := _differences(found.spec, spec):
                    raise VigieError(
                        TOPIC_MISMATCH,
                        f"topic {spec.name} exists with other properties: {differences}",
                        topic=spec.name,
                    )
                else:
                    await connection.execute(
                        sa.update(TOPIC).where(TOPIC.c.name == spec.name).values(why=spec.why)
                    )
        for spec in topics:
            await self.topic(spec.name)

    async def append(
        self, topic: str, events: Sequence[Event], *, connection: AsyncConnection | None = None
    ) -> None:
        """See `EventLog.append` and `place`."""
        await self.place(topic, events, connection=connection)

    async def place(
        self, topic: str, events: Sequence[Event], *, connection: AsyncConnection | None = None
    ) -> Sequence[Position]:
        """Append, and tell where the events stand: this log knows, also within a transaction.

        An id that the topic has already keeps its first position.

        Raises:
            VigieError: TOPIC_UNKNOWN, EVENT_LOG_UNAVAILABLE.
            RuntimeError: called without ``connection`` inside a transaction of this task, which
                would wait for itself.
        """
        if self._closed:
            raise VigieError(EVENT_LOG_UNAVAILABLE, "the event log is closed")
        if connection is None and self._database.in_transaction():
            raise RuntimeError("inside a transaction, append with its connection")
        if not events:
            return []
        try:
            if connection is None:
                await self.topic(topic)
                return await self._group_commit.append(topic, events)
            found = self._topics.get(topic) or await self._known(connection, topic)
            self._database.on_commit(connection, found.grown.wake)
            return await connection.run_sync(self._insert, found, events)
        except (VigieError, DBAPIError, OSError) as error:
            raise _as_log_error(error, topic) from error

    async def subscribe(self, topic: str, group: str) -> EmbeddedSubscription:
        """See `EventLog.subscribe`.

        Members of one group are exclusive: the first one receives, the others wait (their
        `fetch` returns nothing) and take over in order when it closes.

        Raises:
            VigieError: TOPIC_UNKNOWN.
        """
        await self.topic(topic)
        members = self._members.setdefault((topic, group), GroupMembers())
        return EmbeddedSubscription(self, self._database, topic, group, members)

    async def read(
        self,
        topic: str,
        *,
        after: Position | Sequence[Position] | None = None,
        follow: bool = False,
    ) -> AsyncIterator[StoredEvent]:
        """See `EventLog.read`.

        Raises:
            VigieError: TOPIC_UNKNOWN; STOPPING when the log is closed while following.
        """
        found = await self.topic(topic)
        positions = [after] if isinstance(after, Position) else after or []
        offset = max((position.offset for position in positions), default=-1)
        while True:
            self.raise_if_closed()
            ticket = found.grown.ticket()
            batch = await self.batch(topic, offset, _READ_BATCH)
            for stored in batch:
                yield stored
                offset = stored.position.offset
            if batch:
                continue
            if not follow:
                return
            await wait_for(ticket)

    async def leads(self, connection: AsyncConnection) -> bool:
        """See `EventLog.leads`: one process has this database."""
        return True

    async def ends(self, topic: str) -> Sequence[Position]:
        """See `EventLog.ends`: none, or one."""
        found = await self.topic(topic)
        async with self._database.reading() as connection:
            newest = await connection.scalar(_END, {"number": found.number})
        return [] if newest is None else [Position(0, newest)]

    async def share(self, topic: str, group: str) -> EmbeddedShare:
        """See `EventLog.share`: one process, which has everything.

        Raises:
            VigieError: TOPIC_UNKNOWN.
        """
        del group
        await self.topic(topic)
        return EmbeddedShare(self, topic)

    async def maintain(self) -> MaintenanceReport:
        """Compact and expire once; call it now and then (every few minutes)."""
        return await maintain(self._database, self._wall_clock.now_us())

    async def holes(self, topic: str) -> Sequence[Hole]:
        """Positions of a topic from which events were taken by hand; see `Hole`."""
        return await holes(self._database, topic)

    async def close(self) -> None:
        """Finish the appends under way, then wake every reader (who gets STOPPING)."""
        self._closed = True
        await self._group_commit.close()
        for topic in self._topics.values():
            topic.grown.wake()
        for members in self._members.values():
            members.changed.wake()

    # --- for the parts of the embedded log -----------------------------------------------------

    def raise_if_closed(self) -> None:
        """Raise STOPPING once `close` was called."""
        if self._closed:
            raise VigieError(STOPPING, "the event log is closed")

    async def topic(self, name: str) -> _Topic:
        """The topic called ``name``; raises TOPIC_UNKNOWN."""
        if (found := self._topics.get(name)) is None:
            async with self._database.reading() as connection:
                found = await self._known(connection, name)
        return found

    async def batch(self, topic: str, after: int, limit: int) -> list[StoredEvent]:
        """Up to ``limit`` events behind offset ``after``."""
        found = await self.topic(topic)
        place = {"number": found.number, "after": after, "most": limit}

        async def work(connection: AsyncConnection) -> list[StoredEvent]:
            rows = await connection.execute(_BATCH, place)
            return [stored_event(topic, row) for row in rows.mappings()]

        return await self._database.read(work)

    async def lag(self, topic: str, group: str) -> int:
        """How many events stand behind what ``group`` has committed."""
        found = await self.topic(topic)

        async def work(connection: AsyncConnection) -> int:
            after = (await committed_offsets(connection, topic, group)).get(0, -1)
            count = await connection.scalar(_COUNT, {"number": found.number, "after": after})
            return count or 0

        return await self._database.read(work)

    # --- private -------------------------------------------------------------------------------

    async def _append_batch(
        self, batch: Sequence[tuple[str, Sequence[Event]]]
    ) -> list[Sequence[Position]]:
        topics = {name: self._topics[name] for name, _ in batch}
        try:
            positions = await self._database.transact(
                lambda connection: self._insert_all(connection, topics, batch)
            )
            self._faults.reach("eventlog.append.committed")
        except OSError as error:
            raise VigieError(EVENT_LOG_UNAVAILABLE, str(error)) from error
        finally:
            # Also after a failure: the commit may have taken effect without our learning it.
            for topic in topics.values():
                topic.grown.wake()
        return positions

    def _insert_all(
        self,
        connection: Connection,
        topics: Mapping[str, _Topic],
        batch: Sequence[tuple[str, Sequence[Event]]],
    ) -> list[Sequence[Position]]:
        """Insert the events of many callers, topic by topic, and give each its positions."""
        by_topic: dict[str, list[Event]] = {}
        for name, events in batch:
            by_topic.setdefault(name, []).extend(events)
        placed = {
            name: iter(self._insert(connection, topics[name], events))
            for name, events in by_topic.items()
        }
        return [[next(placed[name]) for _ in events] for name, events in batch]

    def _insert(
        self, connection: Connection, topic: _Topic, events: Sequence[Event]
    ) -> list[Position]:
        self._faults.reach("eventlog.append.begun")
        offsets = _known_ids(connection, topic.number, [event.id for event in events])
        fresh: dict[str, Event] = {}
        for event in events:
            if event.id not in offsets:
                fresh.setdefault(event.id, event)
        if fresh:
            end = connection.scalar(_GROW, {"number": topic.number, "count": len(fresh)})
            assert end is not None
            now_us = self._wall_clock.now_us()
            rows = []
            for offset, event in enumerate(fresh.values(), start=end - len(fresh)):
                offsets[event.id] = offset
                own = {"topic": topic.number, "offset": offset, "appended_us": now_us}
                rows.append(own | event_columns(event))
            connection.execute(_INSERT, rows)
        self._faults.reach("eventlog.append.inserted")
        return [Position(0, offsets[event.id]) for event in events]

    async def _known(self, connection: AsyncConnection, name: str) -> _Topic:
        found = await self._load(connection, name)
        if found is None:
            raise VigieError(TOPIC_UNKNOWN, f"topic {name} was never declared", topic=name)
        return self._topics.setdefault(name, found)

    async def _load(self, connection: AsyncConnection, name: str) -> _Topic | None:
        row = (await connection.execute(sa.select(TOPIC).where(TOPIC.c.name == name))).one_or_none()
        if row is None:
            return None
        spec = TopicSpec(
            name=row.name,
            compacted=row.compacted,
            partitions=row.partitions,
            why=row.why,
            retention_days=row.retention_days,
        )
        return _Topic(row.topic, spec, WakeUp())


async def open_event_log(
    database: EmbeddedDatabase, wall_clock: WallClock, *, faults: FaultPoints = NO_FAULTS
) -> EmbeddedEventLog:
    """Bring the log's and the consumers' tables up to date and open the log.

    Raises:
        VigieError: DATA_NEWER_THAN_PROGRAM, DATABASE_UNAVAILABLE.
    """
    await migrate(database, LOG_MIGRATIONS)
    await migrate(database, CONSUMER_MIGRATIONS)
    return EmbeddedEventLog(database, wall_clock, faults=faults)


def _known_ids(connection: Connection, topic: int, ids: Sequence[str]) -> dict[str, int]:
    offsets: dict[str, int] = {}
    for chunk in in_chunks(ids):
        rows = connection.execute(_IDS, {"number": topic, "ids": chunk})
        offsets.update((row.id, row.offset) for row in rows)
    return offsets


def _columns(spec: TopicSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "compacted": spec.compacted,
        "partitions": spec.partitions,
        "retention_days": spec.retention_days,
        "why": spec.why,
    }


def _differences(found: TopicSpec, declared: TopicSpec) -> str:
    names = ("compacted", "partitions", "retention_days")
    pairs = [(name, getattr(found, name), getattr(declared, name)) for name in names]
    return ", ".join(
        f"{name} is {is_}, declared {wanted}" for name, is_, wanted in pairs if is_ != wanted
    )


def _as_log_error(error: VigieError | DBAPIError | OSError, topic: str) -> Exception:
    """EVENT_LOG_UNAVAILABLE for failures of the machine; everything else as it is."""
    if isinstance(error, OSError):
        return VigieError(EVENT_LOG_UNAVAILABLE, f"cannot append to {topic}: {error}")
    known = as_unavailable(error) if isinstance(error, DBAPIError) else error
    if known is None or known.reason is not DATABASE_UNAVAILABLE:
        return known or error
    return VigieError(EVENT_LOG_UNAVAILABLE, f"cannot append to {topic}: {known.message}")
