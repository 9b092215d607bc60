"""The segment index in days: only the days of a window are read, and emptied days are dropped."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.expression import Executable

from databases import database_kind
from postgres_installation import Installation
from recording_footage import record_run
from recording_rig import recording_rig
from recording_support import DAY, RUN_A, RUN_B, SECOND, T0, opened_index, segment
from vigie.platform.clock import ManualWallClock
from vigie.platform.database import EmbeddedDatabase, migrate
from vigie.platform.database.postgresql.database import PostgresqlDatabase, open_postgresql
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import open_directory_store
from vigie.recording.index import days, reader, tables, writer
from vigie.recording.index.tables import MIGRATIONS
from vigie.recording.reindex import Reindexer
from vigie.recording.timeline.intervals import Interval

__all__ = ["database_kind"]

RUN_DAYS = 40


class Explain(Executable, ClauseElement):
    """EXPLAIN of a statement with its parameters."""

    inherit_cache = False

    def __init__(self, statement: Any) -> None:
        self.statement = statement


@compiles(Explain)
def _explained(element: Explain, compiler: Any, **named: Any) -> str:
    return f"EXPLAIN (FORMAT TEXT) {compiler.process(element.statement, **named)}"


class Explaining:
    """A connection that notes which days each statement would read."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.days: list[set[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def execute(
        self, statement: Any, parameters: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> Any:
        if statement.is_select and "recording_segments" in str(statement):
            plan = await self._inner.execute(Explain(statement), parameters)
            text = "\n".join(line for (line,) in plan)
            self.days.append(set(re.findall(r"segments_\d{8}", text)))
        return await self._inner.execute(statement, parameters)


def name_of(day: int) -> str:
    from vigie.platform.clock import from_us

    return f"segments_{from_us(T0 + day * DAY):%Y%m%d}"


async def partitions(database: Any) -> list[str]:
    async with database.reading() as connection:
        rows = await connection.execute(
            sa.text(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                " WHERE i.inhparent = to_regclass('recording_segments') ORDER BY 1"
            )
        )
        return [name for (name,) in rows]


@pytest.fixture
async def index(database_kind: str, tmp_path: Path) -> AsyncIterator[EmbeddedDatabase]:
    """An index with a segment in each of many days, and rows enough that plans are real."""
    async with opened_index(tmp_path) as database:
        for day in range(RUN_DAYS):
            ones = [
                segment(n, run=f"{day:032x}", camera=f"cam-{n % 9}",
                        start_us=T0 + day * DAY + n * 60 * SECOND)
                for n in range(200)
            ]  # fmt: skip
            async with database.transaction() as connection:
                await writer.put_segments(connection, ones)
        async with database.transaction() as connection:
            await connection.exec_driver_sql("ANALYZE")
        yield database


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_window_reads_its_days_and_no_other(index: EmbeddedDatabase) -> None:
    start = T0 + 20 * DAY + DAY // 2
    window = Interval(start, start + 3600 * SECOND)
    async with index.reading() as connection:
        seen = Explaining(connection)
        await reader.segments_in(seen, "cam-1", window, limit=100)
        await reader.run_segments(seen, f"{20:032x}", window, limit=100)
        around_midnight = Interval(T0 + 21 * DAY - SECOND, T0 + 21 * DAY + SECOND)
        await reader.segments_in(seen, "cam-1", around_midnight, limit=100)
        # The day before too: a segment may last an hour.
        at_midnight = Interval(T0 + 22 * DAY, T0 + 22 * DAY + SECOND)
        await reader.segments_in(seen, "cam-1", at_midnight, limit=100)
    assert seen.days == [
        {name_of(20)}, {name_of(20)}, {name_of(20), name_of(21)}, {name_of(21), name_of(22)},
    ]  # fmt: skip


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_indexing_touches_the_days_of_its_segments_and_no_other(
    index: EmbeddedDatabase,
) -> None:
    new = [segment(n, run="e" * 32, start_us=T0 + 5 * DAY + n * 30 * SECOND) for n in range(50)]
    async with index.transaction() as connection:
        seen = Explaining(connection)
        assert len(await writer.put_segments(seen, new)) == 50
        assert await writer.put_segments(seen, new) == []
    asked = [found for found in seen.days if found]
    assert asked
    assert set().union(*asked) == {name_of(5)}


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_days_are_made_once_for_any_time(index: EmbeddedDatabase) -> None:
    async with index.transaction() as connection:
        assert await days.make_days(connection, [1, 2, DAY, T0]) == 2
        assert await days.make_days(connection, [1, 2, DAY, T0]) == 0
        assert await days.make_days_ahead(connection, T0 + 100 * DAY) == 8
    for wrong in (-1, days.LAST_INSTANT_US):
        with pytest.raises(sa.exc.DataError):
            async with index.transaction() as connection:
                await days.make_days(connection, [wrong])


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_only_days_that_are_past_and_empty_are_dropped(index: EmbeddedDatabase) -> None:
    now_us = T0 + RUN_DAYS * DAY
    emptied = (3, 4, RUN_DAYS - 1)
    async with index.transaction() as connection:
        await days.make_days_ahead(connection, now_us)
        for day in emptied:
            begin = tables.SEGMENTS.c.start_us >= T0 + day * DAY
            end = tables.SEGMENTS.c.start_us < T0 + (day + 1) * DAY
            await connection.execute(sa.delete(tables.SEGMENTS).where(begin, end))
    async with index.transaction() as connection:
        assert await days.drop_empty_days(connection, now_us) == 2
    left = await partitions(index)
    assert name_of(3) not in left
    assert name_of(4) not in left
    assert name_of(RUN_DAYS - 1) in left, "yesterday stays: a late segment may come"
    assert name_of(RUN_DAYS + 7) in left
    async with index.transaction() as connection:
        assert await days.drop_empty_days(connection, now_us) == 0
        late = segment(0, run="f" * 32, start_us=T0 + 3 * DAY)
        assert await writer.put_segment(connection, late) is not None


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_long_reading_postpones_a_drop_and_is_not_disturbed(
    index: EmbeddedDatabase,
) -> None:
    now_us = T0 + RUN_DAYS * DAY
    async with index.transaction() as connection:
        await connection.execute(
            sa.delete(tables.SEGMENTS).where(tables.SEGMENTS.c.start_us < T0 + DAY)
        )
    async with index.reading() as connection:
        count = sa.select(sa.func.count()).select_from(tables.SEGMENTS)
        before = await connection.scalar(count)

        async def drop() -> int:
            async with index.transaction() as own:
                return await days.drop_empty_days(own, now_us)

        assert await asyncio.create_task(drop()) == 0
        assert await connection.scalar(count) == before
    assert await drop() == 1


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_retention_drops_a_day_once_all_of_it_is_destroyed_on_record(
    database_kind: str, tmp_path: Path
) -> None:
    """I3: the register has every destruction before a row, and at last the day, goes; I4."""
    async with recording_rig(tmp_path, T0) as rig:
        await rig.camera("cam-a", T0 - DAY)
        first = record_run("cam-a", RUN_A, T0)
        held = record_run("cam-a", RUN_B, T0 + DAY)
        for run in (first, held):
            await rig.run(run)
        await rig.settle()
        await rig.hold("hold-1", "cam-a", held.segments[0].start_us, held.end_us)
        rig.wall.set(T0 + 40 * DAY)
        report = await rig.module.sweeper.sweep()
        assert report.objects == len(first.segments)
        left = await partitions(rig.database)
        assert name_of(0) not in left
        assert name_of(1) in left
        async with rig.database.reading() as connection:
            register = sa.select(tables.DESTRUCTIONS)
            found = (await connection.execute(register)).all()
        rows = {row.object_key: row.destroyed_us for row in found}
        assert set(rows) == {one.key for one in first.segments}
        assert None not in rows.values()
        await rig.hold("hold-1", "cam-a", held.segments[0].start_us, held.end_us, released=True)
        await rig.module.sweeper.sweep()
        assert name_of(1) not in await partitions(rig.database)
        window = Interval(T0, T0 + 2 * DAY)
        entries = [entry async for entry in rig.module.timelines.entries("cam-a", window)]
        assert entries, "the timeline still tells what was destroyed"


# --- with the rights of a service ----------------------------------------------------------------


@pytest.fixture
async def service(migrated: Installation) -> AsyncIterator[PostgresqlDatabase]:
    """Recording's database by the role of recording, which may make no table."""
    database = await open_postgresql(migrated.config, "recording")
    await migrate(database, MIGRATIONS)
    yield database
    await database.close()


async def test_the_service_makes_and_drops_days_without_the_right_to_make_tables(
    service: PostgresqlDatabase,
) -> None:
    one = segment(0)

    async def index_one(connection: Any) -> int:
        return len(await writer.put_segments(connection, [one]))

    assert await service.write(index_one) == 1
    assert await partitions(service) == [name_of(0)]
    await service.write(lambda connection: connection.execute(sa.delete(tables.SEGMENTS)))
    dropped = await service.write(lambda connection: days.drop_empty_days(connection, T0 + 9 * DAY))
    assert (dropped, await partitions(service)) == (1, [])


async def test_other_services_have_no_business_with_the_days(migrated: Installation) -> None:
    audit = await open_postgresql(migrated.config, "audit")
    try:
        for call in ("recording_make_days(ARRAY[1])", "recording_drop_empty_days(20000)"):
            with pytest.raises(VigieError, match="lacks a right"):
                async with audit.transaction() as connection:
                    await connection.exec_driver_sql(f"SELECT recording.{call}")
    finally:
        await audit.close()


async def test_a_caller_cannot_make_the_owners_functions_work_on_tables_of_its_own(
    migrated: Installation,
) -> None:
    """A function with the owner's rights looks names up in its own schema, whatever the path."""
    config = migrated.config
    file = config.password_file_of("recording")
    assert file is not None
    connection = await asyncpg.connect(
        host=config.address.host, port=config.address.port, database=config.address.name,
        user=config.role_of("recording"), password=file.read_text().strip(),
        server_settings={"search_path": "pg_temp, public"},
    )  # fmt: skip
    try:
        made = await connection.fetchval("SELECT recording.recording_make_days(ARRAY[20000])")
        assert made == 1
    finally:
        await connection.close()
    rows = await migrated.execute(
        "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relname = 'segments_20241004'"
    )
    assert [row["nspname"] for row in rows] == ["recording"]


async def test_the_index_is_made_anew_with_the_rights_of_the_service(
    service: PostgresqlDatabase, tmp_path: Path
) -> None:
    store = await open_directory_store(tmp_path / "store", ManualWallClock(T0))
    run = record_run("cam-a", RUN_A, T0)
    try:
        for one in run.segments:
            await one.store(store)
        await run.store_end(store)
        for _ in range(2):
            report = await Reindexer(service, store).rebuild()
            assert (report.segments, report.run_ends, report.refused) == (3, 1, {})
        async with service.reading() as connection:
            window = Interval(T0, T0 + DAY)
            found = await reader.segments_in(connection, "cam-a", window, limit=9)
            staged = await connection.exec_driver_sql("SELECT count(*) FROM staging_segments")
            assert (len(found), staged.scalar()) == (3, 0)
    finally:
        await store.close()


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_no_statement_that_clears_the_index_takes_more_than_a_day(
    index: EmbeddedDatabase,
) -> None:
    async with index.transaction() as connection:
        removed: list[int] = []

        class Counting(Explaining):
            async def execute(self, statement: Any, parameters: Any = None) -> Any:
                done = await self._inner.execute(statement, parameters)
                if statement.is_delete:
                    removed.append(done.rowcount)
                return done

        await days.clear(Counting(connection))
        left = await connection.scalar(sa.select(sa.func.count()).select_from(tables.SEGMENTS))
    assert (removed, left) == ([200] * RUN_DAYS, 0)
