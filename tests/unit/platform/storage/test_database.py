import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from vigie.platform.database import (
    EmbeddedDatabase,
    MigrationSet,
    insert_if_absent,
    migrate,
    open_database,
    schema_differences,
    upsert,
)
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.embedded import FAULT_POINTS
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import StrikingFaults, raise_errno

METADATA = sa.MetaData()
THING = sa.Table(
    "sample_thing",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
)
FIRST = """
import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    op.create_table(
        "sample_thing",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
    )
"""
SECOND = """
import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    op.add_column("sample_thing", sa.Column("note", sa.String))
"""
BROKEN_SECOND = SECOND + '    raise ValueError("broken")\n'


def scripts(folder: Path, **versions: str) -> MigrationSet:
    for name, text in versions.items():
        file = folder / "versions" / f"{name.removeprefix('v')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return MigrationSet("sample", folder)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[EmbeddedDatabase]:
    opened = await open_database(tmp_path / "data" / "vigie.sqlite3")
    await migrate(opened, scripts(tmp_path / "migrations", v0001_first=FIRST))
    yield opened
    await opened.close()


async def put(database: EmbeddedDatabase, name: str, size_bytes: int = 1) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.insert(THING), {"name": name, "size_bytes": size_bytes})


async def names(database: EmbeddedDatabase) -> list[str]:
    async with database.reading() as connection:
        return list((await connection.scalars(sa.select(THING.c.name).order_by("name"))).all())


async def test_a_committed_row_is_there_after_reopening(
    database: EmbeddedDatabase, tmp_path: Path
) -> None:
    await put(database, "a")
    await database.close()
    again = await open_database(database.path)
    assert await names(again) == ["a"]
    await again.close()


async def test_commits_are_synchronous_and_in_wal(database: EmbeddedDatabase) -> None:
    async with database.transaction() as connection:
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar() == 2
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
        assert (await connection.exec_driver_sql("PRAGMA foreign_keys")).scalar() == 1


async def test_an_exception_rolls_back(database: EmbeddedDatabase) -> None:
    with pytest.raises(LookupError):  # noqa: PT012 - the exception leaves the block under test
        async with database.transaction() as connection:
            await connection.execute(sa.insert(THING), {"name": "a", "size_bytes": 1})
            raise LookupError
    assert await names(database) == []


async def test_a_reading_neither_waits_for_a_writer_nor_sees_half_of_it(
    database: EmbeddedDatabase,
) -> None:
    await put(database, "a")
    async with database.transaction() as connection:
        await connection.execute(sa.insert(THING), {"name": "b", "size_bytes": 1})
        assert await asyncio.create_task(names(database)) == ["a"]
    assert await names(database) == ["a", "b"]


async def test_a_reading_is_one_snapshot(database: EmbeddedDatabase) -> None:
    await put(database, "a")
    count = sa.select(sa.func.count()).select_from(THING)
    async with database.reading() as connection:
        assert await connection.scalar(count) == 1
        await asyncio.create_task(put(database, "b"))
        assert await connection.scalar(count) == 1


async def test_a_reading_cannot_write(database: EmbeddedDatabase) -> None:
    with pytest.raises(VigieError) as refused:
        async with database.reading() as connection:
            await connection.execute(sa.insert(THING), {"name": "a", "size_bytes": 1})
    assert refused.value.reason.name == "DATABASE_UNAVAILABLE"


async def test_writers_queue_instead_of_failing(database: EmbeddedDatabase) -> None:
    async def increment() -> None:
        async with database.transaction() as connection:
            size = await connection.scalar(sa.select(THING.c.size_bytes))
            assert size is not None
            await asyncio.sleep(0)
            await connection.execute(sa.update(THING).values(size_bytes=size + 1))

    await put(database, "a", 0)
    await asyncio.gather(*(increment() for _ in range(50)))
    async with database.reading() as connection:
        assert await connection.scalar(sa.select(THING.c.size_bytes)) == 50


async def test_a_transaction_within_itself_is_refused_rather_than_waiting_for_ever(
    database: EmbeddedDatabase,
) -> None:
    async with database.transaction():
        with pytest.raises(RuntimeError, match="its own transaction"):
            async with database.transaction():
                pass


async def test_callbacks_run_after_the_commit_and_not_after_a_rollback(
    database: EmbeddedDatabase,
) -> None:
    called: list[str] = []
    async with database.transaction() as connection:
        database.on_commit(connection, lambda: called.append("committed"))
        assert called == []
    with pytest.raises(LookupError):  # noqa: PT012 - the exception leaves the block under test
        async with database.transaction() as connection:
            database.on_commit(connection, lambda: called.append("rolled back"))
            raise LookupError
    assert called == ["committed"]
    with pytest.raises(RuntimeError):
        database.on_commit(connection, lambda: None)


async def test_a_cancelled_transaction_frees_the_writer(database: EmbeddedDatabase) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with database.transaction() as connection:
            await connection.execute(sa.insert(THING), {"name": "a", "size_bytes": 1})
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await put(database, "b")
    assert await names(database) == ["b"]


async def test_cancelling_at_any_await_leaves_all_or_nothing_and_a_usable_writer(
    database: EmbeddedDatabase,
) -> None:
    for turns in range(40):
        called: list[int] = []

        async def write(name: str, called: list[int]) -> None:
            async with database.transaction() as connection:
                await connection.execute(sa.insert(THING), {"name": name, "size_bytes": 1})
                database.on_commit(connection, lambda: called.append(1))

        name = f"row-{turns:03}"
        task = asyncio.create_task(write(name, called))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await put(database, f"probe-{turns:03}")
        assert (name in await names(database)) == bool(called)


@pytest.mark.parametrize("point", FAULT_POINTS)
async def test_a_failure_at_any_step_is_reported_as_unavailable(tmp_path: Path, point: str) -> None:
    faults = StrikingFaults(point, raise_errno(28), first=3, known=FAULT_POINTS)
    database = await open_database(tmp_path / "vigie.sqlite3", faults=faults)
    await migrate(database, scripts(tmp_path / "migrations", v0001_first=FIRST))
    with pytest.raises(VigieError) as failure:
        await put(database, "a")
    assert failure.value.reason.name == "DATABASE_UNAVAILABLE"
    await put(database, "b")
    expected = ["a", "b"] if point.endswith("committed") else ["b"]
    assert await names(database) == expected
    await database.close()


def insert(name: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(sa.insert(THING), {"name": name, "size_bytes": 1})
        return name

    return work


async def test_a_transaction_in_a_thread_commits_or_rolls_back_whole(
    database: EmbeddedDatabase,
) -> None:
    def fail(connection: Connection) -> None:
        insert("b")(connection)
        raise LookupError

    assert await database.transact(insert("a")) == "a"
    with pytest.raises(LookupError):
        await database.transact(fail)
    await put(database, "c")
    assert await names(database) == ["a", "c"]


async def test_both_kinds_of_transaction_share_one_queue(database: EmbeddedDatabase) -> None:
    await asyncio.gather(
        *(database.transact(insert(f"thread-{n:02}")) for n in range(20)),
        *(put(database, f"loop-{n:02}") for n in range(20)),
    )
    assert len(await names(database)) == 40
    async with database.transaction():
        with pytest.raises(RuntimeError, match="its own transaction"):
            await database.transact(insert("x"))


@pytest.mark.parametrize("point", FAULT_POINTS)
async def test_a_failure_at_any_step_in_a_thread_is_reported_as_unavailable(
    tmp_path: Path, point: str
) -> None:
    faults = StrikingFaults(point, raise_errno(28), first=3, known=FAULT_POINTS)
    database = await open_database(tmp_path / "vigie.sqlite3", faults=faults)
    await migrate(database, scripts(tmp_path / "migrations", v0001_first=FIRST))
    with pytest.raises(VigieError, match="DATABASE_UNAVAILABLE"):
        await database.transact(insert("a"))
    await database.transact(insert("b"))
    assert await names(database) == (["a", "b"] if point.endswith("committed") else ["b"])
    await database.close()


async def test_a_cancelled_transaction_in_a_thread_is_waited_for(
    database: EmbeddedDatabase,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        insert("slow")(connection)
        begun.set()
        go_on.wait(10)

    task = asyncio.create_task(database.transact(slow))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    next_one = asyncio.create_task(put(database, "next"))
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await next_one
    assert await names(database) == ["next", "slow"]


async def test_an_error_of_the_callers_own_is_not_blamed_on_the_database(
    database: EmbeddedDatabase,
) -> None:
    with pytest.raises(FileNotFoundError):
        async with database.transaction():
            raise FileNotFoundError
    await put(database, "a")
    with pytest.raises(sa.exc.IntegrityError):
        await put(database, "a")


async def test_a_full_disk_is_unavailable_and_passes(database: EmbeddedDatabase) -> None:
    async with database.transaction() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar()
        await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(VigieError) as full:
        await put(database, "x" * 1_000_000)
    assert full.value.reason.name == "DATABASE_UNAVAILABLE"
    async with database.transaction() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    await put(database, "x" * 1_000_000)


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "vigie.sqlite3").write_bytes(b"not a database, but long enough" * 100)
    with pytest.raises(VigieError) as failure:
        await open_database(tmp_path / "vigie.sqlite3")
    assert failure.value.reason.name == "DATABASE_UNAVAILABLE"


async def test_a_second_process_is_refused_and_told_who_has_it(
    database: EmbeddedDatabase,
) -> None:
    program = textwrap.dedent(
        f"""
        import asyncio, pathlib
        from vigie.platform.database import open_database
        from vigie.platform.errors import VigieError
        try:
            asyncio.run(open_database(pathlib.Path({str(database.path)!r})))
        except VigieError as error:
            print(error.reason.name, error.metadata["process"])
        """
    )
    answer = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["DATA_DIRECTORY_IN_USE", str(os.getpid())]
    with pytest.raises(VigieError, match="DATA_DIRECTORY_IN_USE"):
        await open_database(database.path)


async def test_the_lock_is_free_after_closing(database: EmbeddedDatabase) -> None:
    await database.close()
    again = await open_database(database.path)
    await again.close()


async def test_migrations_go_forward_once(database: EmbeddedDatabase, tmp_path: Path) -> None:
    migrations = scripts(tmp_path / "migrations", v0002_note=SECOND)
    outcome = await migrate(database, migrations)
    assert (outcome.before, outcome.after) == ("0001", "0002")
    outcome = await migrate(database, migrations)
    assert (outcome.before, outcome.after) == ("0002", "0002")


async def test_data_of_a_newer_program_are_refused_naming_both_revisions(
    database: EmbeddedDatabase, tmp_path: Path
) -> None:
    await migrate(database, scripts(tmp_path / "migrations", v0002_note=SECOND))
    older = scripts(tmp_path / "older", v0001_first=FIRST)
    with pytest.raises(VigieError) as refused:
        await migrate(database, older)
    assert refused.value.reason.name == "DATA_NEWER_THAN_PROGRAM"
    assert "0002" in refused.value.message
    assert "0001" in refused.value.message
    async with database.reading() as connection:
        current = await connection.exec_driver_sql("SELECT version_num FROM sample_schema_version")
        assert current.scalar() == "0002"


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(
    database: EmbeddedDatabase, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="broken"):
        await migrate(database, scripts(tmp_path / "migrations", v0002_note=BROKEN_SECOND))
    (tmp_path / "migrations" / "versions" / "0002_note.py").unlink()
    only_first = scripts(tmp_path / "migrations")
    assert (await migrate(database, only_first)).after == "0001"
    assert await schema_differences(database, only_first, METADATA) == []


async def test_a_table_that_differs_from_its_migrations_is_found(
    database: EmbeddedDatabase, tmp_path: Path
) -> None:
    migrations = scripts(tmp_path / "migrations")
    assert await schema_differences(database, migrations, METADATA) == []
    changed = sa.MetaData()
    sa.Table(
        "sample_thing",
        changed,
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("forgotten", sa.String),
    )
    assert len(await schema_differences(database, migrations, changed)) == 1


async def test_upsert_inserts_or_changes_and_insert_if_absent_never_changes(
    database: EmbeddedDatabase,
) -> None:
    async with database.transaction() as connection:
        await upsert(connection, THING, {"name": "a", "size_bytes": 1}, key=["name"])
        await upsert(
            connection,
            THING,
            [{"name": "a", "size_bytes": 2}, {"name": "b", "size_bytes": 3}],
            key=["name"],
        )
        inserted = await insert_if_absent(
            connection,
            THING,
            [{"name": "b", "size_bytes": 9}, {"name": "c", "size_bytes": 4}],
            key=["name"],
        )
        rows = (await connection.execute(sa.select(THING).order_by("name"))).all()
    assert inserted == 1
    assert [tuple(row) for row in rows] == [("a", 2), ("b", 3), ("c", 4)]


async def test_the_file_is_an_ordinary_sqlite_file(database: EmbeddedDatabase) -> None:
    await put(database, "a")
    with sqlite3.connect(f"file:{database.path}?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def inserting(name: str) -> Callable[[AsyncConnection], Awaitable[str]]:
    async def work(connection: AsyncConnection) -> str:
        await connection.execute(sa.insert(THING), {"name": name, "size_bytes": 1})
        return name

    return work


async def test_a_write_is_whole_and_tells_after_its_commit(database: EmbeddedDatabase) -> None:
    called: list[str] = []

    async def tell(connection: AsyncConnection) -> None:
        await inserting("a")(connection)
        database.on_commit(connection, lambda: called.append(threading.current_thread().name))
        await asyncio.sleep(0)  # lets others run, waits for nobody

    async def fail(connection: AsyncConnection) -> None:
        await inserting("b")(connection)
        database.on_commit(connection, lambda: called.append("rolled back"))
        raise LookupError

    await database.write(tell)
    assert called == [threading.current_thread().name]
    with pytest.raises(LookupError):
        await database.write(fail)
    await database.write(inserting("c"))
    assert (called, await names(database)) == ([threading.current_thread().name], ["a", "c"])


async def test_work_that_waits_for_others_is_refused_and_rolled_back(
    database: EmbeddedDatabase,
) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def waits(connection: AsyncConnection) -> None:
        await inserting("a")(connection)
        await answer

    with pytest.raises(RuntimeError, match="may await nothing but"):
        await database.write(waits)
    await database.write(inserting("b"))
    assert await names(database) == ["b"]


async def test_a_read_sees_one_snapshot_and_cannot_write(database: EmbeddedDatabase) -> None:
    async def look(connection: AsyncConnection) -> list[str]:
        return list((await connection.scalars(sa.select(THING.c.name).order_by("name"))).all())

    await asyncio.gather(*(database.write(inserting(f"{n:02}")) for n in range(30)))
    found = await asyncio.gather(*(database.read(look) for _ in range(30)))
    assert found == [[f"{n:02}" for n in range(30)]] * 30
    with pytest.raises(VigieError, match="DATABASE_UNAVAILABLE"):
        await database.read(inserting("x"))


async def test_more_readings_than_connections_wait_for_their_turn(
    database: EmbeddedDatabase,
) -> None:
    await put(database, "a")

    async def twice() -> list[str]:
        async with database.reading() as connection:
            query = sa.select(THING.c.name)
            first = list((await connection.scalars(query)).all())
            await asyncio.sleep(0)
            return first + list((await connection.scalars(query)).all())

    assert await asyncio.gather(*(twice() for _ in range(60))) == [["a", "a"]] * 60


async def test_cancelling_a_reading_at_any_await_leaves_every_connection_usable(
    database: EmbeddedDatabase,
) -> None:
    await put(database, "a")
    for turns in range(30):
        task = asyncio.create_task(names(database))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    found = await asyncio.gather(*(names(database) for _ in range(20)))
    assert found == [["a"]] * 20


async def test_cancelling_a_write_at_any_await_tells_what_was_committed(
    database: EmbeddedDatabase,
) -> None:
    for turns in range(30):
        called: list[int] = []
        name = f"row-{turns:03}"

        async def work(connection: AsyncConnection, name: str, called: list[int]) -> None:
            await inserting(name)(connection)
            database.on_commit(connection, lambda: called.append(1))

        task = asyncio.create_task(database.write(partial(work, name=name, called=called)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await put(database, f"probe-{turns:03}")
        assert (name in await names(database)) == bool(called)


async def test_check_writes(tmp_path: Path) -> None:
    """A disk that takes nothing is noticed although nobody writes and reading goes on."""
    full = raise_errno(errno.ENOSPC)
    faults = StrikingFaults("database.transaction.committing", full, first=2)
    database = await open_database(tmp_path / "vigie.db", faults=faults)
    with pytest.raises(VigieError, match="DATABASE_UNAVAILABLE"):
        await database.check()
    async with database.reading() as connection:
        await connection.exec_driver_sql("PRAGMA user_version")
    await database.check()
    await database.close()
