"""What the checks look at, and how they read it without being fooled by what goes on meanwhile.

Everything is compared only when it is older than the bound. Where two stores disagree, the first
is asked once more before anything is said: what changed between two readings is no finding.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table, select

from vigie.platform.database import Database, in_chunks
from vigie.platform.eventlog import EventLog, StoredEvent
from vigie.platform.objectstore import ObjectStore
from vigie.recording.index.convert import segment_from_row
from vigie.recording.index.tables import DESTRUCTIONS, SEGMENTS
from vigie.recording.model import Segment

BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A segment that lies in the spool."""

    camera: str
    run: str
    number: int
    path: Path
    modified_us: int


@dataclass(slots=True)
class View:
    """The installation as the checks see it.

    Attributes:
        database: index, registers, holds.
        store: the bucket.
        event_log: topics.
        spool: directory of the spool of this machine; ``None``: not looked at.
        prefix: what the keys of footage begin with.
        legal_zone: time zone of the retention rule.
        now_us: the instant of the check.
        bound_us: what is younger is left alone.
        deep: read and hash every object.
    """

    database: Database
    store: ObjectStore
    event_log: EventLog
    spool: Path | None
    prefix: str
    legal_zone: tzinfo
    now_us: int
    bound_us: int
    deep: bool
    spooled: dict[tuple[str, int], SpoolFile] = field(default_factory=dict)

    async def pages(self, table: Table, *keys: str) -> AsyncIterator[Sequence[Any]]:
        """All rows of a table in pages by a key; each page is its own reading."""
        columns = [table.c[name] for name in keys]
        after: list[Any] | None = None
        while True:
            query = select(table).order_by(*columns).limit(BATCH)
            if after is not None:
                query = query.where(_greater(columns, after))
            async with self.database.reading() as connection:
                rows = (await connection.execute(query)).all()
            if not rows:
                return
            yield rows
            after = [getattr(rows[-1], name) for name in keys]

    async def segment_row(self, object_key: str) -> Any:
        """The index row of an object now, or ``None``."""
        async with self.database.reading() as connection:
            query = select(SEGMENTS).where(SEGMENTS.c.object_key == object_key)
            return (await connection.execute(query)).first()

    async def register_row(self, object_key: str) -> Any:
        """The entry of the register of destructions now, or ``None``."""
        async with self.database.reading() as connection:
            query = select(DESTRUCTIONS).where(DESTRUCTIONS.c.object_key == object_key)
            return (await connection.execute(query)).first()

    async def segment_rows(self, keys: Sequence[str]) -> dict[str, Any]:
        """Object key -> its index row now, of those that have one."""
        found: dict[str, Any] = {}
        async with self.database.reading() as connection:
            for chunk in in_chunks(keys):
                query = select(SEGMENTS).where(SEGMENTS.c.object_key.in_(chunk))
                found |= {row.object_key: row for row in await connection.execute(query)}
        return found

    async def registered_keys(self, keys: Sequence[str]) -> set[str]:
        """Which of these keys stand in the register of destructions now."""
        found: set[str] = set()
        async with self.database.reading() as connection:
            for chunk in in_chunks(keys):
                query = select(DESTRUCTIONS.c.object_key).where(
                    DESTRUCTIONS.c.object_key.in_(chunk)
                )
                found |= {key for (key,) in await connection.execute(query)}
        return found

    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Which of these keys stand in the index."""
        found: set[str] = set()
        async with self.database.reading() as connection:
            for chunk in in_chunks(keys):
                query = select(SEGMENTS.c.object_key).where(SEGMENTS.c.object_key.in_(chunk))
                found |= {key for (key,) in await connection.execute(query)}
        return found

    async def segments(self) -> AsyncIterator[tuple[Segment, int | None]]:
        """All segments by run and number, with the time their destruction was recorded."""
        async for rows in self.pages(SEGMENTS, "run", "number"):
            for row in rows:
                yield segment_from_row(row), row.destroying_us

    async def events(self, topic: str) -> AsyncIterator[StoredEvent]:
        """Events of a topic up to the bound; none where the topic does not exist."""
        async for stored in self.event_log.read(topic):
            if stored.event.time_us <= self.bound_us:
                yield stored

    def read_spool(self) -> None:
        """Note what lies in the spool (blocking: run it in a thread)."""
        if self.spool is None:
            return
        for path in sorted((self.spool / "runs").glob("*/*/*.m4v")):
            if not path.stem.isdecimal():
                continue
            try:
                modified_us = path.stat().st_mtime_ns // 1000
            except FileNotFoundError:
                continue  # uploaded between listing and looking
            run, camera = path.parent.name, path.parent.parent.name
            entry = SpoolFile(camera, run, int(path.stem), path, modified_us)
            self.spooled[run, entry.number] = entry


def _greater(columns: Sequence[Any], after: Sequence[Any]) -> Any:
    """Lexicographic "after", spelled out: row values compare differently on some databases."""
    condition = columns[-1] > after[-1]
    for column, value in zip(reversed(columns[:-1]), reversed(after[:-1]), strict=True):
        condition = (column > value) | ((column == value) & condition)
    return condition
