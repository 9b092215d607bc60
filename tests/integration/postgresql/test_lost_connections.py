"""Calls that last too long and connections that die: nothing half done, no hand to recover."""

import asyncio

import pytest
import sqlalchemy as sa

from integration.postgresql.failing_support import (
    COUNTER,
    NOW_US,
    increment,
    one_line,
    opened,
    schema,
    terminate,
    value_of,
)
from servers_postgres import Proxy, TestDatabase
from vigie.platform.clock import ManualWallClock
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.postgresql import connect as connecting
from vigie.platform.database.postgresql.database import PostgresqlDatabase
from vigie.platform.errors import VigieError

__all__ = ["schema"]


# --- time-outs -----------------------------------------------------------------------------------


async def test_a_statement_that_lasts_too_long_is_ended(
    postgres_database: TestDatabase, schema: str
) -> None:
    login = postgres_database.login(schema, statement_timeout_seconds=0.2)
    async with opened(login) as database:
        with pytest.raises(VigieError, match="took too long") as failure:
            async with database.reading() as connection:
                await connection.execute(sa.select(sa.func.pg_sleep(60)))
        assert failure.value.metadata["code"] == "57014"
        await database.write(increment)


async def test_who_waits_too_long_for_its_turn_gives_up(
    postgres_database: TestDatabase, schema: str
) -> None:
    patient = postgres_database.login(schema)
    hasty = postgres_database.login(schema, lock_timeout_seconds=0.2)
    async with opened(patient) as one, opened(hasty) as other:
        async with one.transaction():
            with pytest.raises(VigieError, match="another writer held its turn for too long"):
                await other.write(increment)
        await other.write(increment)


async def test_a_process_that_stands_still_loses_its_turn(
    postgres_database: TestDatabase, schema: str
) -> None:
    """SIGSTOP in mid-transaction: the server ends it, others write, nothing of it is left."""
    stopped = postgres_database.login(schema, statement_timeout_seconds=0.3)
    async with opened(stopped) as one, opened(postgres_database.login(schema)) as other:
        with pytest.raises(VigieError) as failure:  # noqa: PT012 - it fails at some step
            async with one.transaction() as connection:
                await increment(connection)
                await other.write(increment)  # waits until the server has ended the other
                await increment(connection)
        one_line(failure.value)
        assert await value_of(postgres_database, schema) == 1
        await one.write(increment)
    assert await value_of(postgres_database, schema) == 2


async def test_writers_of_several_processes_take_turns(
    postgres_database: TestDatabase, schema: str
) -> None:
    login = postgres_database.login(schema)
    async with opened(login) as one, opened(login) as other, opened(login) as third:
        await asyncio.gather(
            *(each.write(increment) for each in (one, other, third) for _ in range(15))
        )
    assert await value_of(postgres_database, schema) == 45


# --- connections that die ------------------------------------------------------------------------


async def test_a_server_that_was_restarted_costs_no_call(
    postgres_database: TestDatabase, schema: str
) -> None:
    """Connections that died in the pool are replaced before anybody notices."""
    codes: list[str] = []
    async with opened(postgres_database.login(schema), on_failure=codes.append) as database:
        for _ in range(3):
            await database.write(increment)
            await asyncio.gather(*(database.read(_look) for _ in range(5)))
            await terminate(postgres_database, schema)
        await database.write(increment)
        async with database.reading() as connection:
            assert await _look(connection) == 4
    assert codes == []


async def _look(connection: AsyncConnection) -> int:
    value: int = await connection.scalar(sa.select(COUNTER.c.value))
    return value


async def test_a_connection_that_dies_in_mid_transaction_leaves_nothing(
    postgres_database: TestDatabase, schema: str
) -> None:
    async with opened(postgres_database.login(schema)) as database:
        with pytest.raises(VigieError) as failure:  # noqa: PT012 - it fails at some step
            async with database.transaction() as connection:
                await increment(connection)
                await terminate(postgres_database, schema)
                await increment(connection)
        one_line(failure.value)
        assert await value_of(postgres_database, schema) == 0
        await database.write(increment)
    assert await value_of(postgres_database, schema) == 1


async def test_the_network_is_cut_and_comes_back(
    postgres_database: TestDatabase, schema: str, postgres_proxy: Proxy
) -> None:
    login = postgres_database.login(schema, port=postgres_proxy.port)
    clock = ManualWallClock(NOW_US)
    async with opened(login, wall_clock=clock) as database:
        await database.write(increment)
        postgres_proxy.cut()
        for _ in range(3):
            with pytest.raises(VigieError, match="away since 2026-03-01 00:00:00"):
                await database.write(increment)
            clock.advance(60)
        postgres_proxy.mend()
        await database.write(increment)
        clock.advance(60)
        postgres_proxy.cut()
        with pytest.raises(VigieError, match="away since 2026-03-01 00:04:00"):
            await database.write(increment)
    assert await value_of(postgres_database, schema) == 2


async def test_a_server_that_falls_silent_is_given_up_in_time(
    postgres_database: TestDatabase,
    schema: str,
    postgres_proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connecting, "_GRACE_SECONDS", 0.1)
    login = postgres_database.login(
        schema, port=postgres_proxy.port, statement_timeout_seconds=0.3, connect_timeout_seconds=1
    )
    async with opened(login) as database:
        await database.write(increment)
        postgres_proxy.lose_answers(close_after_ms=0)
        with pytest.raises(VigieError, match="did not answer in time"):
            await database.write(increment)
        postgres_proxy.mend()
        await database.write(increment)
    assert await value_of(postgres_database, schema) == 2


# --- connections that are closed -----------------------------------------------------------------


async def test_who_still_reads_when_the_database_is_closed_leaves_no_session(
    postgres_database: TestDatabase, schema: str
) -> None:
    database = PostgresqlDatabase(postgres_database.login(schema))
    reads, may_end = asyncio.Event(), asyncio.Event()

    async def read() -> int:
        async with database.reading() as connection:
            reads.set()
            await may_end.wait()
            return int(await connection.scalar(sa.select(COUNTER.c.value)))

    reading = asyncio.create_task(read())
    await reads.wait()
    await database.close()
    may_end.set()
    assert await reading == 0
    # Who comes later has one opened for it, which is closed behind it.
    assert (
        await database.read(lambda connection: connection.scalar(sa.select(COUNTER.c.value))) == 0
    )
    sessions = (
        f"SELECT count(*) AS left FROM pg_stat_activity WHERE application_name = 'test {schema}'"
    )
    while (await postgres_database.execute(sessions))[0]["left"]:
        await asyncio.sleep(0.01)  # the server ends a session a moment after it was told
