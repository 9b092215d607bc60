"""The numbering of the embedded log: nothing is taken from a topic but its oldest events.

Positions are given out one after the other in the transaction that writes their events, so that a
topic that is not compacted has an event at each position from its first to its next. What is
missing in between was taken out by hand, or the database file was exchanged.

A database that was restored from a copy gives out positions again that readers know already for
other events. `NumberingMark` keeps, outside of the database, how far the numbering had come;
a start on a database that knows less skips ahead of it, and notes what it skipped.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
import structlog

from vigie.platform.clock import WallClock
from vigie.platform.database.embedded import EmbeddedDatabase
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.tables import EVENT, SKIPPED, TOPIC

log = structlog.get_logger(__name__)
MARGIN: Final = 1_000_000
"""Positions left free behind a mark: more than are given out between two marks."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Positions of a topic at which there should be events, and are none.

    Attributes:
        first: the first of them.
        last: the last of them.
        skipped_us: when they were skipped on purpose, because the database was restored from a
            copy, microseconds since the Unix epoch; ``None``: nobody knows why they are missing.
    """

    first: int
    last: int
    skipped_us: int | None = None


async def holes(database: EmbeddedDatabase, topic: str) -> list[Hole]:
    """The holes of a topic that is not compacted, ascending; none where there is no such topic."""
    before = sa.func.lag(EVENT.c.offset).over(order_by=EVENT.c.offset).label("before")
    async with database.reading() as connection:
        found = (await connection.execute(sa.select(TOPIC).where(TOPIC.c.name == topic))).first()
        if found is None or found.compacted:
            return []
        numbered = sa.select(EVENT.c.offset, before).where(EVENT.c.topic == found.topic).subquery()
        jumps = await connection.execute(
            sa.select(numbered.c.offset, numbered.c.before)
            .where(
                sa.func.coalesce(numbered.c.before, found.first_offset - 1) != numbered.c.offset - 1
            )
            .order_by(numbered.c.offset)
        )
        pairs = [
            (found.first_offset if row.before is None else row.before + 1, row.offset - 1)
            for row in jumps
        ]
        newest = await connection.scalar(
            sa.select(sa.func.max(EVENT.c.offset)).where(EVENT.c.topic == found.topic)
        )
        end = found.first_offset if newest is None else newest + 1
        if end < found.next_offset:
            pairs.append((end, found.next_offset - 1))
        rows = await connection.execute(sa.select(SKIPPED).where(SKIPPED.c.topic == found.topic))
        skipped = {(row.first, row.last): row.skipped_us for row in rows}
    return _explained(pairs, skipped)


def _explained(
    pairs: Sequence[tuple[int, int]], skipped: Mapping[tuple[int, int], int]
) -> list[Hole]:
    """Holes, those cut out that were skipped on purpose."""
    found: list[Hole] = []
    for first, last in pairs:
        at = first
        for (begin, end), skipped_us in sorted(skipped.items()):
            if not at <= begin <= end <= last:
                continue
            if at < begin:
                found.append(Hole(at, begin - 1))
            found.append(Hole(begin, end, skipped_us))
            at = end + 1
        if at <= last:
            found.append(Hole(at, last))
    return found


class NumberingMark:
    """A small file that says how far the numbering of each topic had come.

    Args:
        path: of the file; beside the database, and not in it.
        database: where the topics are.
        wall_clock: when something was skipped.

    Attributes:
        bucket_ahead: the database was restored from a copy, and what was told since is not yet
            made good; survives a restart.
    """

    def __init__(self, path: Path, database: EmbeddedDatabase, wall_clock: WallClock) -> None:
        self._path = path
        self.bucket_ahead = False
        self._database = database
        self._wall_clock = wall_clock

    async def behind(self) -> dict[str, tuple[int, int]]:
        """Topic -> (next position, position of the mark), where the database is the older one."""
        marked = await asyncio.to_thread(self._read)
        async with self._database.reading() as connection:
            rows = await connection.execute(sa.select(TOPIC.c.name, TOPIC.c.next_offset))
            known: dict[str, int] = {row.name: row.next_offset for row in rows}
        return {
            name: (known.get(name, 0), offset)
            for name, offset in marked.items()
            if known.get(name, 0) < offset
        }

    async def skip_ahead(self) -> list[str]:
        """Move the numbering past the mark where the database is older; the topics concerned.

        Positions that were given out before the database was restored are never given out again
        for other events. What was skipped is noted in the same transaction.
        """
        behind = await self.behind()
        if not behind:
            return []
        async with self._database.transaction() as connection:
            for name, (next_offset, marked) in behind.items():
                row = (
                    await connection.execute(sa.select(TOPIC).where(TOPIC.c.name == name))
                ).first()
                if row is None:
                    continue
                await connection.execute(
                    sa.update(TOPIC)
                    .where(TOPIC.c.topic == row.topic)
                    .values(next_offset=marked + MARGIN)
                )
                if not row.compacted:
                    values = {
                        "topic": row.topic,
                        "first": next_offset,
                        "last": marked + MARGIN - 1,
                        "skipped_us": self._wall_clock.now_us(),
                    }
                    await connection.execute(sa.insert(SKIPPED).values(**values))
        self.bucket_ahead = True
        await self.note()
        log.error("database_older_than_its_mark", topics=sorted(behind), margin=MARGIN)
        return sorted(behind)

    async def caught_up(self) -> None:
        """What the bucket knew and the database did not is in the database again."""
        self.bucket_ahead = False
        await self.note()

    async def note(self) -> None:
        """Write down how far the numbering has come; durable when this returns.

        A disk that refuses is logged: the mark before stays, and helps as well a minute longer.
        """
        try:
            async with self._database.reading() as connection:
                rows = await connection.execute(sa.select(TOPIC.c.name, TOPIC.c.next_offset))
                known = {row.name: row.next_offset for row in rows}
            await asyncio.to_thread(self._write, known)
        except (OSError, VigieError) as error:
            log.warning("numbering_not_marked", error=str(error))

    def _read(self) -> dict[str, int]:
        try:
            told = json.loads(self._path.read_bytes())
            self.bucket_ahead = self.bucket_ahead or bool(told.get("bucket_ahead"))
            return {str(name): int(offset) for name, offset in told["next_offsets"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # It is a help against one mistake of people; a damaged one must stop nothing.
            log.warning("numbering_mark_unreadable", path=str(self._path))
            return {}

    def _write(self, known: Mapping[str, int]) -> None:
        marked = {"bucket_ahead": self.bucket_ahead, "next_offsets": dict(sorted(known.items()))}
        content = json.dumps(marked) + "\n"
        temporary = self._path.with_name(self._path.name + ".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
