"""Cancelled at any await, failed at any step, on a full disk: all or nothing, and usable again."""

import asyncio
import errno
import threading
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from unit.platform.storage.database_support import (
    FIRST,
    THING,
    database,
    insert,
    inserting,
    names,
    put,
    scripts,
)
from vigie.platform.database import EmbeddedDatabase, migrate, open_database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.embedded import FAULT_POINTS
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import StrikingFaults, raise_errno

__all__ = ["database"]


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
