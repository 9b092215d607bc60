"""What every database must do. Subclass `DatabaseContract` and give a ``harness``.

The harness has made the table ``contract_thing`` (`THING`), empty.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
import sqlalchemy as sa

from vigie.platform.database import (
    Database,
    MigrationSet,
    insert_if_absent,
    migrate,
    schema_differences,
    upsert,
)
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError

THING = sa.Table(
    "contract_thing",
    sa.MetaData(),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
)
MIGRATED = sa.MetaData()
sa.Table(
    "contract_migrated",
    MIGRATED,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("content", sa.LargeBinary),
)
FIRST = """
import sqlalchemy as sa

revision = "0001"
down_revision = None


def upgrade(op):
    op.create_table("contract_migrated", sa.Column("name", sa.String, primary_key=True))
"""
SECOND = """
import sqlalchemy as sa

revision = "0002"
down_revision = "0001"


def upgrade(op):
    op.add_column("contract_migrated", sa.Column("content", sa.LargeBinary))
"""


class DatabaseHarness(Protocol):
    """One database under test."""

    database: Database

    async def reopen(self) -> None:
        """Close the database and open it again."""
        ...


def migrations(folder: Path, *texts: str) -> MigrationSet:
    for number, text in enumerate(texts, start=1):
        file = folder / "versions" / f"{number:04}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return MigrationSet("contract", folder)


async def put(harness: DatabaseHarness, name: str, size_bytes: int = 1) -> None:
    async with harness.database.transaction() as connection:
        await connection.execute(sa.insert(THING), {"name": name, "size_bytes": size_bytes})


async def names(harness: DatabaseHarness) -> list[str]:
    async with harness.database.reading() as connection:
        return list((await connection.scalars(sa.select(THING.c.name).order_by("name"))).all())


def inserting(name: str) -> Callable[[AsyncConnection], Awaitable[str]]:
    async def work(connection: AsyncConnection) -> str:
        await connection.execute(sa.insert(THING), {"name": name, "size_bytes": 1})
        return name

    return work


async def look(connection: AsyncConnection) -> list[str]:
    return list((await connection.scalars(sa.select(THING.c.name).order_by("name"))).all())


class DatabaseContract:
    """The promises of `vigie.platform.database.port`."""

    async def test_a_commit_survives_reopening(self, harness: DatabaseHarness) -> None:
        await put(harness, "a")
        await harness.reopen()
        assert await names(harness) == ["a"]

    async def test_an_exception_rolls_back(self, harness: DatabaseHarness) -> None:
        with pytest.raises(LookupError):  # noqa: PT012 - the exception leaves the block under test
            async with harness.database.transaction() as connection:
                await connection.execute(sa.insert(THING), {"name": "a", "size_bytes": 1})
                raise LookupError
        assert await names(harness) == []

    async def test_a_reading_neither_waits_for_a_writer_nor_sees_half_of_it(
        self, harness: DatabaseHarness
    ) -> None:
        async with harness.database.transaction() as connection:
            await connection.execute(sa.insert(THING), {"name": "a", "size_bytes": 1})
            assert await asyncio.create_task(names(harness)) == []
        assert await names(harness) == ["a"]

    async def test_a_reading_is_one_snapshot(self, harness: DatabaseHarness) -> None:
        count = sa.select(sa.func.count()).select_from(THING)
        async with harness.database.reading() as connection:
            assert await connection.scalar(count) == 0
            await asyncio.create_task(put(harness, "a"))
            assert await connection.scalar(count) == 0

    async def test_concurrent_read_modify_writes_lose_nothing(
        self, harness: DatabaseHarness
    ) -> None:
        async def increment() -> None:
            async with harness.database.transaction() as connection:
                row = sa.select(THING.c.size_bytes).with_for_update()
                size = await connection.scalar(row)
                assert size is not None
                await asyncio.sleep(0)
                await connection.execute(sa.update(THING).values(size_bytes=size + 1))

        await put(harness, "a", 0)
        await asyncio.gather(*(increment() for _ in range(20)))
        async with harness.database.reading() as connection:
            assert await connection.scalar(sa.select(THING.c.size_bytes)) == 20

    async def test_callbacks_run_after_the_commit_and_only_then(
        self, harness: DatabaseHarness
    ) -> None:
        seen: list[list[str]] = []
        called: list[str] = []
        async with harness.database.transaction() as connection:
            harness.database.on_commit(connection, lambda: called.append("committed"))
            seen.append(list(called))
        with pytest.raises(LookupError):  # noqa: PT012 - the exception leaves the block under test
            async with harness.database.transaction() as connection:
                harness.database.on_commit(connection, lambda: called.append("rolled back"))
                raise LookupError
        assert (seen, called) == ([[]], ["committed"])
        with pytest.raises(RuntimeError):
            harness.database.on_commit(connection, lambda: None)

    async def test_cancelling_at_any_await_leaves_all_or_nothing(
        self, harness: DatabaseHarness
    ) -> None:
        for turns in range(30):
            called: list[int] = []

            async def write(name: str, called: list[int]) -> None:
                async with harness.database.transaction() as connection:
                    await connection.execute(sa.insert(THING), {"name": name, "size_bytes": 1})
                    harness.database.on_commit(connection, lambda: called.append(1))

            task = asyncio.create_task(write(f"row-{turns:03}", called))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await put(harness, f"probe-{turns:03}")
            assert (f"row-{turns:03}" in await names(harness)) == bool(called)

    async def test_a_write_is_whole_and_tells_after_its_commit(
        self, harness: DatabaseHarness
    ) -> None:
        called: list[str] = []

        async def tell(connection: AsyncConnection) -> str:
            harness.database.on_commit(connection, lambda: called.append("a"))
            await asyncio.sleep(0)  # lets others run, waits for nobody
            assert called == []
            return await inserting("a")(connection)

        async def fail(connection: AsyncConnection) -> None:
            await inserting("b")(connection)
            harness.database.on_commit(connection, lambda: called.append("b"))
            raise LookupError

        assert await harness.database.write(tell) == "a"
        with pytest.raises(LookupError):
            await harness.database.write(fail)
        assert (called, await harness.database.read(look)) == (["a"], ["a"])

    async def test_work_that_waits_for_others_is_refused_and_rolled_back(
        self, harness: DatabaseHarness
    ) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def waits(connection: AsyncConnection) -> None:
            await inserting("a")(connection)
            await answer

        async def waits_reading(connection: AsyncConnection) -> None:
            await look(connection)
            await answer

        with pytest.raises(RuntimeError, match="may await nothing but"):
            await harness.database.write(waits)
        with pytest.raises(RuntimeError, match="may await nothing but"):
            await harness.database.read(waits_reading)
        await harness.database.write(inserting("b"))
        assert await names(harness) == ["b"]

    async def test_a_reading_cannot_write(self, harness: DatabaseHarness) -> None:
        with pytest.raises(VigieError, match="DATABASE_UNAVAILABLE"):
            async with harness.database.reading() as connection:
                await inserting("a")(connection)
        with pytest.raises(VigieError, match="DATABASE_UNAVAILABLE"):
            await harness.database.read(inserting("a"))
        assert await names(harness) == []

    async def test_writers_queue_instead_of_failing(self, harness: DatabaseHarness) -> None:
        """What was read in a transaction still holds when it writes, whoever else writes."""

        async def increment(connection: AsyncConnection) -> None:
            size = await connection.scalar(sa.select(THING.c.size_bytes))
            assert size is not None
            await connection.execute(sa.update(THING).values(size_bytes=size + 1))

        async def in_steps() -> None:
            async with harness.database.transaction() as connection:
                await increment(connection)

        await put(harness, "a", 0)
        await asyncio.gather(
            *(harness.database.write(increment) for _ in range(15)),
            *(in_steps() for _ in range(15)),
        )
        async with harness.database.reading() as connection:
            assert await connection.scalar(sa.select(THING.c.size_bytes)) == 30

    async def test_a_transaction_within_itself_is_refused_rather_than_waiting_for_ever(
        self, harness: DatabaseHarness
    ) -> None:
        async with harness.database.transaction():
            with pytest.raises(RuntimeError, match="its own transaction"):
                async with harness.database.transaction():
                    pass
            with pytest.raises(RuntimeError, match="its own transaction"):
                await harness.database.write(inserting("a"))

    async def test_more_readings_than_connections_wait_for_their_turn(
        self, harness: DatabaseHarness
    ) -> None:
        await put(harness, "a")

        async def twice() -> list[str]:
            async with harness.database.reading() as connection:
                first = await look(connection)
                await asyncio.sleep(0)
                return first + await look(connection)

        assert await asyncio.gather(*(twice() for _ in range(60))) == [["a", "a"]] * 60

    async def test_cancelling_a_reading_at_any_await_leaves_every_connection_usable(
        self, harness: DatabaseHarness
    ) -> None:
        await put(harness, "a")
        for turns in range(30):
            task = asyncio.create_task(names(harness))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        found = await asyncio.gather(*(names(harness) for _ in range(20)))
        assert found == [["a"]] * 20

    async def test_cancelling_a_write_at_any_await_tells_what_was_committed(
        self, harness: DatabaseHarness
    ) -> None:
        for turns in range(30):
            called: list[int] = []
            name = f"row-{turns:03}"

            async def work(connection: AsyncConnection, name: str, called: list[int]) -> None:
                await inserting(name)(connection)
                harness.database.on_commit(connection, lambda: called.append(1))

            one = partial(work, name=name, called=called)
            task = asyncio.create_task(harness.database.write(one))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await put(harness, f"probe-{turns:03}")
            assert (name in await names(harness)) == bool(called)

    async def test_an_error_of_the_callers_own_is_not_blamed_on_the_database(
        self, harness: DatabaseHarness
    ) -> None:
        with pytest.raises(FileNotFoundError):
            async with harness.database.transaction():
                raise FileNotFoundError

        async def fail(connection: AsyncConnection) -> None:
            await look(connection)
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await harness.database.write(fail)
        with pytest.raises(TimeoutError):  # noqa: PT012 - the exception leaves the block under test
            async with harness.database.reading() as connection:
                await look(connection)
                raise TimeoutError
        await put(harness, "a")

    async def test_a_value_that_no_column_takes_is_the_callers(
        self, harness: DatabaseHarness
    ) -> None:
        """It must not look like a machine that waiting may help."""
        with pytest.raises((sa.exc.DataError, OverflowError)):
            await put(harness, "a", 1 << 70)
        await put(harness, "b")
        assert await names(harness) == ["b"]

    async def test_every_text_can_be_written(self, harness: DatabaseHarness) -> None:
        """U+0000, which not every database can hold, may come back as U+FFFD."""
        texts = ["", "'; --", "%_\\", "\t\n\r\x01\x7f", "Été 🎥 \u202e", "x" * 100_000]
        for text in texts:
            await put(harness, text)
        assert set(await names(harness)) == set(texts)
        await put(harness, "a\0b")
        (odd,) = set(await names(harness)) - set(texts)
        assert odd.replace("\ufffd", "\0") == "a\0b"

        async def find(connection: AsyncConnection) -> list[str]:
            query = sa.select(THING.c.size_bytes).where(THING.c.name.in_(["a\0b", "%_\\"]))
            return list((await connection.scalars(query)).all())

        assert len(await harness.database.read(find)) == 2

    async def test_text_is_ordered_by_its_bytes(self, harness: DatabaseHarness) -> None:
        for name in ("b", "B", "a_1", "a-1", "a1", "é", "z", "cam-a/2", "cam-a.1"):
            await put(harness, name)
        assert await names(harness) == sorted(await names(harness), key=str.encode)

    async def test_broken_constraints_are_the_callers(self, harness: DatabaseHarness) -> None:
        await put(harness, "a")
        with pytest.raises(sa.exc.IntegrityError):
            await put(harness, "a")

    async def test_upsert_and_insert_if_absent(self, harness: DatabaseHarness) -> None:
        async with harness.database.transaction() as connection:
            await upsert(connection, THING, {"name": "a", "size_bytes": 1}, key=["name"])
            rows = [{"name": "a", "size_bytes": 2}, {"name": "b", "size_bytes": 3}]
            await upsert(connection, THING, rows, key=["name"])
            rows = [{"name": "b", "size_bytes": 9}, {"name": "c", "size_bytes": 4}]
            assert await insert_if_absent(connection, THING, rows, key=["name"]) == 1
            await upsert(connection, THING, [], key=["name"])
            await upsert(connection, THING, {"name": "c", "size_bytes": 8}, key=["name"], update=[])
            found = (await connection.execute(sa.select(THING).order_by("name"))).all()
        assert [tuple(row) for row in found] == [("a", 2), ("b", 3), ("c", 4)]

    async def test_migrations_go_forward_and_the_schema_is_what_was_meant(
        self, harness: DatabaseHarness, tmp_path: Path
    ) -> None:
        first = await migrate(harness.database, migrations(tmp_path / "m", FIRST))
        assert (first.before, first.after) == (None, "0001")
        chain = migrations(tmp_path / "m", FIRST, SECOND)
        second = await migrate(harness.database, chain)
        assert (second.before, second.after) == ("0001", "0002")
        assert (await migrate(harness.database, chain)).before == "0002"

    async def test_data_of_a_newer_program_are_refused(
        self, harness: DatabaseHarness, tmp_path: Path
    ) -> None:
        await migrate(harness.database, migrations(tmp_path / "new", FIRST, SECOND))
        with pytest.raises(VigieError, match=r"DATA_NEWER_THAN_PROGRAM.*0002.*0001"):
            await migrate(harness.database, migrations(tmp_path / "old", FIRST))

    async def test_a_failed_migration_changes_nothing(
        self, harness: DatabaseHarness, tmp_path: Path
    ) -> None:
        broken = migrations(tmp_path / "m", FIRST, SECOND + '    raise ValueError("broken")\n')
        with pytest.raises(ValueError, match="broken"):
            await migrate(harness.database, broken)
        assert (await migrate(harness.database, migrations(tmp_path / "n", FIRST))).before is None

    async def test_differences_of_a_schema_are_found(
        self, harness: DatabaseHarness, tmp_path: Path
    ) -> None:
        async with harness.database.transaction() as connection:
            await connection.run_sync(THING.drop)
        chain = migrations(tmp_path / "m", FIRST)
        await migrate(harness.database, chain)
        assert len(await schema_differences(harness.database, chain, MIGRATED)) == 1
        chain = migrations(tmp_path / "m", FIRST, SECOND)
        await migrate(harness.database, chain)
        assert await schema_differences(harness.database, chain, MIGRATED) == []
