"""Committed positions of consumer groups, kept in the consumer's own database.

A position names the last event that was processed. It never moves back, and it moves by
compare-and-set: a member moves a position only from where it believes it to stand. So when two
members believe that they have a partition (one was paused, and another took over), the first to
commit wins, and the other's whole unit of work rolls back. The row is the fence; no clock and no
broker is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.port import Database
from vigie.platform.database.statements import insert_if_absent, upsert
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.port import StoredEvent
from vigie.platform.eventlog.tables import POSITION
from vigie.platform.reasons import POSITION_REFUSED

_KEY: Final = ("topic", "group", "partition")
_COMMITTED: Final = sa.select(POSITION.c.partition, POSITION.c.offset).where(
    POSITION.c.topic == sa.bindparam("topic"), POSITION.c.group == sa.bindparam("group")
)
_MOVE: Final = (
    sa.update(POSITION)
    .where(
        POSITION.c.topic == sa.bindparam("of_topic"),
        POSITION.c.group == sa.bindparam("of_group"),
        POSITION.c.partition == sa.bindparam("of_partition"),
        POSITION.c.offset == sa.bindparam("expected"),
    )
    .values(offset=sa.bindparam("newest"))
)


@dataclass(slots=True)
class Held:
    """How far a member is in a partition that it holds.

    Attributes:
        row: the group's position in the database as this member knows it; ``None``: there is none.
        base: offset of the last event that was processed, -1 or less than the first one's: none.
        delivered: offset of the last event that `Subscription.fetch` gave.
    """

    row: int | None
    base: int
    delivered: int

    @classmethod
    def at(cls, row: int | None, base: int = -1) -> "Held":
        """At the beginning of a member's work: at the committed position, or behind ``base``."""
        base = base if row is None else max(row, base)
        return cls(row, base, base)


class HeldPositions:
    """The positions of one member of a group on one topic.

    Read and moved from the event loop; `commit` also from the thread of a database, one at a time.
    """

    def __init__(self, database: Database, topic: str, group: str) -> None:
        self._database = database
        self._topic = topic
        self._group = group
        self.held: dict[int, Held] = {}

    async def stored(self) -> dict[int, int]:
        """Partition -> committed offset, as the database has it now."""
        return await self._database.read(
            lambda connection: committed_offsets(connection, self._topic, self._group)
        )

    async def commit(
        self, events: Sequence[StoredEvent], connection: AsyncConnection | None
    ) -> None:
        """Move the positions to the newest of ``events``, in the transaction given or an own one.

        Raises:
            VigieError: POSITION_REFUSED; the transaction must roll back.
        """
        if not events:
            return
        if connection is None:
            await self._database.write(lambda own: self.commit(events, own))
            return
        moves = [
            (self._own(partition, first), partition, newest)
            for partition, (first, newest) in _spans(events).items()
        ]
        for held, partition, newest in moves:
            if not await self._move(connection, held, partition, newest):
                raise self._refused(partition, "another member has moved the group's position")

        def moved() -> None:
            for held, _, newest in moves:
                held.row = held.base = newest

        self._database.on_commit(connection, moved)

    def _own(self, partition: int, first: int) -> Held:
        held = self.held.get(partition)
        if held is None:
            raise self._refused(partition, "this member does not hold the partition")
        if first <= held.base:
            raise self._refused(partition, f"event {first} was processed before")
        return held

    async def _move(
        self, connection: AsyncConnection, held: Held, partition: int, newest: int
    ) -> bool:
        if held.row is None:
            row = {
                "topic": self._topic,
                "group": self._group,
                "partition": partition,
                "offset": newest,
            }
            return await insert_if_absent(connection, POSITION, row, key=_KEY) == 1
        names = {
            "of_topic": self._topic,
            "of_group": self._group,
            "of_partition": partition,
            "expected": held.row,
            "newest": newest,
        }
        return (await connection.execute(_MOVE, names)).rowcount == 1

    def _refused(self, partition: int, why: str) -> VigieError:
        return VigieError(
            POSITION_REFUSED,
            f"group {self._group} on topic {self._topic}, partition {partition}: {why}",
            topic=self._topic,
            group=self._group,
        )


def _spans(events: Sequence[StoredEvent]) -> dict[int, tuple[int, int]]:
    """Partition -> the lowest and the highest offset among ``events``."""
    spans: dict[int, tuple[int, int]] = {}
    for stored in events:
        partition, offset = stored.position.partition, stored.position.offset
        first, newest = spans.get(partition, (offset, offset))
        spans[partition] = (min(first, offset), max(newest, offset))
    return spans


async def committed_offsets(connection: AsyncConnection, topic: str, group: str) -> dict[int, int]:
    """Partition -> offset of the last event that ``group`` has processed."""
    rows = await connection.execute(_COMMITTED, {"topic": topic, "group": group})
    return {row.partition: row.offset for row in rows}


async def commit_offsets(
    connection: AsyncConnection, topic: str, group: str, events: Sequence[StoredEvent]
) -> None:
    """Move a group's positions to the newest of ``events``, whoever holds the partitions.

    For tools that work with nobody else at work; a member of a group uses `HeldPositions`.
    """
    before = await committed_offsets(connection, topic, group)
    await upsert(
        connection,
        POSITION,
        [
            {"topic": topic, "group": group, "partition": partition, "offset": newest}
            for partition, (_, newest) in _spans(events).items()
            if newest > before.get(partition, -1)
        ],
        key=_KEY,
    )
