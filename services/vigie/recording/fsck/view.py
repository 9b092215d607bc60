"""What the checks look at, and how they read it without being fooled by what goes on meanwhile.

Everything is compared only when it is older than the bound. Where two stores disagree, the first
is asked once more before anything is said: what changed between two readings is no finding.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final, Protocol

from sqlalchemy import Table, select

from vigie.platform.database import Database, in_chunks
from vigie.platform.eventlog import EventLog, Hole, StoredEvent
from vigie.platform.objectstore import ObjectStore
from vigie.recording.index.convert import segment_from_row
from vigie.recording.index.spans import near_spans
from vigie.recording.index.tables import DESTRUCTIONS, FOLDED_DESTRUCTIONS, RUN_ENDS, SEGMENTS
from vigie.recording.model import CameraState, Segment
from vigie.recording.retention.planner import all_states

BATCH: Final = 500


class Numbering(Protocol):
    """Who knows the numbering of a log; see `vigie.platform.eventlog.numbering`."""

    async def holes(self, topic: str) -> Sequence[Hole]:
        """Positions at which there should be events, and are none."""
        ...


@dataclass(slots=True)
class View:
    """The installation as the checks see it.

    Attributes:
        database: index, registers, holds.
        store: the bucket.
        event_log: topics.
        prefix: what the keys of footage begin with.
        legal_zone: time zone of the retention rule.
        now_us: the instant of the check.
        bound_us: what is younger is left alone.
        deep: read and hash every object.
        numbering: tells where events were taken out of a log; ``None``: cannot be told.
        spooled: (run, number) of what lies in the spool.
        ending: runs whose end lies in the spool, not told yet.
        held: hold -> keys of the objects that carry it, as the listing of the bucket found them.
        suspects: keys of objects that are missing or not what their rows say.
    """

    database: Database
    store: ObjectStore
    event_log: EventLog
    prefix: str
    legal_zone: tzinfo
    now_us: int
    bound_us: int
    deep: bool
    spooled: set[tuple[str, int]] = field(default_factory=set)
    ending: set[str] = field(default_factory=set)
    held: dict[str, list[str]] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)
    numbering: Numbering | None = None
    _histories: dict[str, list[CameraState]] = field(default_factory=dict)

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

    async def rows_between(self, after: str, until: str | None) -> AsyncIterator[Sequence[Any]]:
        """Rows of segments by object key, from behind one key up to another, in pages."""
        while True:
            query = select(SEGMENTS).where(SEGMENTS.c.object_key > after)
            if until is not None:
                query = query.where(SEGMENTS.c.object_key <= until)
            async with self.database.reading() as connection:
                page = query.order_by(SEGMENTS.c.object_key).limit(BATCH)
                rows = (await connection.execute(page)).all()
            if rows:
                yield rows
            if len(rows) < BATCH:
                return
            after = rows[-1].object_key

    async def history(self, camera: str) -> list[CameraState]:
        """The states of a camera, by time; read once; none when one of them is unreadable."""
        if camera not in self._histories:
            async with self.database.reading() as connection:
                try:
                    self._histories[camera] = await all_states(connection, camera)
                except (ValueError, TypeError):
                    # Told by the check of camera states; here nothing can be said of the camera.
                    self._histories[camera] = []
        return self._histories[camera]

    async def run_known(self, run: str) -> bool:
        """Whether the index or the register has a segment of a run."""
        async with self.database.reading() as connection:
            for table in (SEGMENTS, DESTRUCTIONS):
                query = select(table.c.run).where(table.c.run == run).limit(1)
                if (await connection.execute(query)).first() is not None:
                    return True
        return False

    async def run_listed(self, run: str) -> bool:
        """Whether the index has footage of a run."""
        async with self.database.reading() as connection:
            query = select(SEGMENTS.c.run).where(SEGMENTS.c.run == run).limit(1)
            return (await connection.execute(query)).first() is not None

    async def end_listed(self, run: str) -> bool:
        """Whether the index knows the end of a run now."""
        async with self.database.reading() as connection:
            query = select(RUN_ENDS.c.run).where(RUN_ENDS.c.run == run)
            return (await connection.execute(query)).first() is not None

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

    async def register_rows(self, keys: Sequence[str]) -> dict[str, Any]:
        """Object key -> its entry of the register of destructions now, of those that have one."""
        found: dict[str, Any] = {}
        async with self.database.reading() as connection:
            for chunk in in_chunks(keys):
                query = select(DESTRUCTIONS).where(DESTRUCTIONS.c.object_key.in_(chunk))
                found |= {row.object_key: row for row in await connection.execute(query)}
        return found

    async def folded(self, segments: Sequence[Segment]) -> set[str]:
        """Keys of those that the register has as folded, exactly so."""
        async with self.database.reading() as connection:
            near = await near_spans(connection, FOLDED_DESTRUCTIONS, segments)
        return {
            segment.object_key
            for segment in segments
            for row in near.get(segment.run, ())
            if row.camera == segment.camera
            and row.first_number <= segment.number <= row.last_number
            and row.start_us <= segment.start_us
            and segment.end_us <= row.end_us
        }

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


def _greater(columns: Sequence[Any], after: Sequence[Any]) -> Any:
    """Lexicographic "after", spelled out: row values compare differently on some databases."""
    condition = columns[-1] > after[-1]
    for column, value in zip(reversed(columns[:-1]), reversed(after[:-1]), strict=True):
        condition = (column > value) | ((column == value) & condition)
    # Said once more for the first column alone: an index is then read from there, not through.
    return (columns[0] >= after[0]) & condition if len(columns) > 1 else condition
