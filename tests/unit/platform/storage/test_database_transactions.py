"""Transactions and readings of the embedded database, in the event loop and in a thread."""

import asyncio
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from unit.platform.storage.database_support import (
    THING,
    database,
    insert,
    inserting,
    names,
    put,
)
from vigie.platform.database import EmbeddedDatabase, insert_if_absent, upsert
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError

__all__ = ["database"]


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


async def test_an_error_of_the_callers_own_is_not_blamed_on_the_database(
    database: EmbeddedDatabase,
) -> None:
    with pytest.raises(FileNotFoundError):
        async with database.transaction():
            raise FileNotFoundError
    await put(database, "a")
    with pytest.raises(sa.exc.IntegrityError):
        await put(database, "a")


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
