"""The index from the bucket alone: the timeline from names first, rows of segments after it."""

import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, insert, select

from long_forms import LONG
from recording_support import DAY, HOUR, RUN_A, RUN_B, SECOND, T0, opened_index, segment
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.clock import ManualWallClock
from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ObjectInfo, ObjectStore, open_directory_store
from vigie.platform.reasons import STORE_UNAVAILABLE
from vigie.recording.attributes import RunEnd, end_attributes, segment_attributes
from vigie.recording.index import reader, tables, writer
from vigie.recording.keys import end_key, segment_key
from vigie.recording.model import Segment
from vigie.recording.rebuild.describing import Describer
from vigie.recording.rebuild.report import ReindexReport
from vigie.recording.reindex import Reindexer
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader

CONTENT = b"not looked at"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
async def database(tmp_path: Path, database_kind: str) -> AsyncIterator[Database]:
    async with opened_index(tmp_path) as opened:
        yield opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened = await open_directory_store(tmp_path / "store", ManualWallClock(T0))
    yield opened
    await opened.close()


def footage(
    camera: str,
    run: str,
    numbers: Sequence[int],
    *,
    start_us: int = T0,
    length_us: int = 30 * SECOND,
    named: bool = True,
) -> list[Segment]:
    """Segments of a run of equal lengths whose number 0 begins at ``start_us``."""
    return [
        replace(
            segment(number, run=run, camera=camera, duration_us=length_us,
                    start_us=start_us + number * length_us, size_bytes=len(CONTENT)),
            object_key=segment_key(
                "footage", camera, run if named else "", start_us + number * length_us, number
            ),
        )
        for number in numbers
    ]  # fmt: skip


async def put(store: ObjectStore, key: str, attributes: dict[str, str]) -> ObjectInfo:
    result = await store.put_bytes(
        key, CONTENT, sha256=SHA256, content_type="video/mp4", metadata=attributes
    )
    return result.info


async def record(
    database: Database, store: ObjectStore, segments: Sequence[Segment], *, ended: bool = False
) -> None:
    """Store segments and take them into the index, as the product does."""
    told = []
    for one in segments:
        info = await put(store, one.object_key, segment_attributes(one, "video/mp4"))
        told.append(replace(one, sha256=info.sha256))
    async with database.transaction() as connection:
        await writer.put_segments(connection, told)
        if ended:
            last = segments[-1]
            run = last.run if f"/{last.run}/" in last.object_key else ""
            key = end_key("footage", last.camera, run, last.end_us, last.number + 1)
            reason = ingest_pb2.RUN_END_REASON_OUTAGE
            end = RunEnd(last.camera, last.run, last.end_us, last.number + 1, reason, key)
            await put(store, key, end_attributes(end))
            event = ingest_pb2.RunEnded(
                run=end.run, end_us=end.end_us, segment_count=end.segment_count,
                reason=reason, object_key=key,
            )  # fmt: skip
            await writer.put_run_end(connection, end.camera, event)


async def rows(database: Database, table: Table) -> list[tuple[Any, ...]]:
    async with database.reading() as connection:
        return sorted(tuple(row) for row in await connection.execute(select(table)))


async def index(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    return {table.name: await rows(database, table) for table in tables.INDEX_TABLES}


async def forget(database: Database) -> None:
    async with database.transaction() as connection:
        for table in tables.INDEX_TABLES:
            await connection.execute(table.delete())


async def timeline(database: Database, camera: str) -> list[Any]:
    read = TimelineReader(database, ManualWallClock(T0 + 9 * DAY), lambda _: None)
    return [one async for one in read.entries(camera, Interval(T0 - DAY, T0 + 9 * DAY))]


async def estate(database: Database, store: ObjectStore, seed: int) -> None:
    """Runs as they are: long and short, ended and not, with holes, and two at the same time."""
    chance = random.Random(seed)
    for camera in ("cam-a", "cam-e"):
        at_us = T0 + chance.randrange(DAY)
        for number in range(4):
            run = f"{number:02x}{ord(camera[-1]):02x}" + "7" * 28
            count = chance.choice((1, 2, 15, 50))
            length_us = chance.choice((2 * SECOND, 30 * SECOND + 1, 300 * SECOND))
            numbers = [n for n in range(count) if n in {0, count - 1} or chance.random() > 0.03]
            named = chance.random() > 0.5  # older programs did not
            made = footage(camera, run, numbers, start_us=at_us, length_us=length_us, named=named)
            await record(database, store, made, ended=chance.random() > 0.4)
            # Sometimes the next run begins while this one lasts: a process that was thought dead.
            at_us = made[-1].end_us + chance.choice((-3 * SECOND, 0, SECOND, HOUR))


@pytest.mark.parametrize("seed", range(3 if LONG else 1))
async def test_names_give_the_timeline_and_objects_the_rest(
    database: Database, store: ObjectStore, seed: int
) -> None:
    await estate(database, store, seed)
    before = await index(database)
    drawn = {camera: await timeline(database, camera) for camera in ("cam-a", "cam-e")}
    await forget(database)
    report = await Reindexer(database, store).rebuild(timeline_only=True)
    assert (report.listed, report.segments) == (len(before["recording_segments"]), 0)
    assert report.refused == {}
    assert report.pending > 0
    now = await index(database)
    assert now["recording_segments"] == []
    assert {n: r for n, r in now.items() if n != "recording_segments"} == {
        n: r for n, r in before.items() if n != "recording_segments"
    }
    for camera, entries in drawn.items():
        assert await timeline(database, camera) == entries
    described = ReindexReport()
    await Describer(database, store).describe_all(described)
    assert described.segments == len(before["recording_segments"])
    assert described.refused == {}
    assert await index(database) == before
    assert await rows(database, tables.UNDESCRIBED) == []
    again = await Reindexer(database, store).rebuild()
    assert (again.segments, again.pending) == (described.segments, 0)
    assert await index(database) == before


class FailingStore:
    """A store that goes away after so many calls."""

    def __init__(self, store: ObjectStore, calls: int) -> None:
        self._store, self.calls = store, calls

    def _count(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise VigieError(STORE_UNAVAILABLE, "gone")

    def __getattr__(self, name: str) -> Any:
        self._count()
        return getattr(self._store, name)


async def test_interrupted_anywhere_it_is_whole_once_it_was_run_to_its_end(
    database: Database, store: ObjectStore
) -> None:
    await estate(database, store, 7)
    before = await index(database)
    interrupted = left_half = 0
    for calls in range(0, 60, 1 if LONG else 4):
        try:
            await Reindexer(database, FailingStore(store, calls)).rebuild()  # type: ignore[arg-type]
        except VigieError:
            interrupted += 1
        pending = await Describer(database, store).pending()
        now = await index(database)
        # The timeline is the old one or the new one, and never anything between.
        assert now["recording_spans"] == before["recording_spans"]
        assert now["recording_run_ends"] == before["recording_run_ends"]
        if now["recording_segments"] != before["recording_segments"]:
            assert pending
            left_half += 1
        await Describer(database, store).describe_all(ReindexReport())
        assert await index(database) == before
    assert interrupted > 2
    assert left_half > 2


async def test_whoever_asks_has_the_hours_described_first(
    database: Database, store: ObjectStore
) -> None:
    run = footage("cam-a", RUN_A, range(250), length_us=120 * SECOND)
    await record(database, store, run)
    await Reindexer(database, store).rebuild(timeline_only=True)
    describer = Describer(database, store)
    assert await describer.pending() == 9
    window = Interval(T0 + 2 * HOUR + SECOND, T0 + 2 * HOUR + 180 * SECOND)
    while await describer.next("cam-a", window):
        pass
    async with database.reading() as connection:
        found = await reader.segments_in(connection, "cam-a", window, limit=9)
        away = Interval(T0 + 6 * HOUR, T0 + 7 * HOUR)
        assert await reader.segments_in(connection, "cam-a", away, limit=9) == []
    assert [one.number for one in found] == [60, 61]
    assert all(len(one.sha256) == 64 for one in found)
    # The hour itself, and those before whose segments may reach into it.
    assert await describer.pending() == 7
    while await describer.next_of_run(RUN_A, Interval(T0, T0 + DAY)):
        pass
    assert await describer.pending() == 0
    assert not await describer.next("cam-a", window)
    assert not await describer.next_of_run(RUN_B, window)


async def test_objects_have_the_last_word(database: Database, store: ObjectStore) -> None:
    """Names that mislead: a hole between two segments, a stranger's place, another run."""
    run = footage("cam-a", RUN_A, range(6), named=False)
    short = replace(run[2], end_us=run[2].end_us - 7 * SECOND)
    other = replace(run[4], run=RUN_B)
    await record(database, store, [*run[:2], short, run[3], run[5]])
    await record(database, store, [other])
    before = await index(database)
    await forget(database)
    await Reindexer(database, store).rebuild(timeline_only=True)
    [span] = await rows(database, tables.SPANS)
    assert span[1:3] == (0, 5), "by their names they are one run"
    report = ReindexReport()
    await Describer(database, store).describe_all(report)
    assert report.refused == {}
    assert await index(database) == before


async def test_what_is_not_ours_is_told_and_what_takes_a_place_is_refused(
    database: Database, store: ObjectStore
) -> None:
    run = footage("cam-a", RUN_A, range(4))
    await record(database, store, run, ended=True)
    before = await index(database)
    copy_us = T0 + 5 * HOUR
    strangers = {
        "footage/readme.txt": {},
        "footage/cam-a/notes/2026.txt": {},
        "footage/cam-a/2026-03-01/00/00-15.000000Z.1.m4v.bak": {},
        segment_key("footage", "cam-a", RUN_A, copy_us, 1): segment_attributes(
            replace(run[1], start_us=copy_us, end_us=copy_us + 30 * SECOND), "video/mp4"
        ),
        segment_key("footage", "cam-z", RUN_A, T0, 0): segment_attributes(run[0], "video/mp4"),
        segment_key("footage", "cam-a", RUN_A, T0 + 9 * HOUR, 0): {},
        end_key("footage", "cam-a", "", T0 + 8 * HOUR, 3): {},
    }
    for key, attributes in strangers.items():
        await put(store, key, attributes)
    await forget(database)
    report = await Reindexer(database, store).rebuild()
    assert set(report.refused) == set(strangers)
    assert report.pending == 0
    assert await index(database) == before


async def test_what_is_being_destroyed_stays_so(database: Database, store: ObjectStore) -> None:
    run = footage("cam-a", RUN_A, range(5))
    await record(database, store, run)
    gone = run[2]
    async with database.transaction() as connection:
        await connection.execute(insert(tables.DESTRUCTIONS).values(**entry_of(gone)))
    await Reindexer(database, store).rebuild()
    told = [(row[1], row[2]) for row in await rows(database, tables.SPANS)]
    assert told == [(0, 1), (3, 4)]
    assert [row[1:3] for row in await rows(database, tables.DESTROYED_SPANS)] == [(2, 2)]
    marked = [r for r in await rows(database, tables.SEGMENTS) if r[-1] is not None]
    assert [(r[0], r[-1]) for r in marked] == [(gone.object_key, T0 + DAY)]


async def test_the_register_is_read_in_parts(
    database: Database, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Destroyed segments of many days and runs, some of them still in the bucket."""
    monkeypatch.setattr("vigie.recording.rebuild.timeline._ROWS", 3)
    told = [
        one
        for camera, run in (("cam-a", RUN_A), ("cam-b", RUN_B))
        for one in footage(
            camera, run, range(20), start_us=T0 + DAY - 5 * HOUR, length_us=HOUR // 2
        )
    ]
    gone = [one for one in told if one.number in {2, 3, 4, 9, 10, 11, 12}]
    await record(database, store, [one for one in told if one not in gone or one.number > 10])
    async with database.transaction() as connection:
        for one in gone:
            await connection.execute(insert(tables.DESTRUCTIONS).values(**entry_of(one)))
    await Reindexer(database, store).rebuild()
    spans = await rows(database, tables.SPANS)
    destroyed = await rows(database, tables.DESTROYED_SPANS)
    for run in (RUN_A, RUN_B):
        assert numbers_of(spans, run) == {0, 1, 5, 6, 7, 8, *range(13, 20)}
        assert numbers_of(destroyed, run) == {2, 3, 4, 9, 10, 11, 12}


def numbers_of(spans: Sequence[Any], run: str) -> set[int]:
    return {number for row in spans if row[0] == run for number in range(row[1], row[2] + 1)}


def entry_of(gone: Segment) -> dict[str, Any]:
    """What the register of destructions says of a segment that is to be destroyed."""
    return {
        "object_key": gone.object_key, "camera": gone.camera, "run": gone.run,
        "number": gone.number, "start_us": gone.start_us, "end_us": gone.end_us,
        "sha256": gone.sha256, "reason": 1, "basis": "test", "decided_us": T0 + DAY,
        "destroyed_us": None,
    }  # fmt: skip
