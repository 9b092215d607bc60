"""What a context's database tells of its pools, of statements that took too long, of retries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from servers_postgres import Proxy, TestDatabase
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.metrics import DatabaseMetrics
from vigie.platform.database.postgresql import connect as connecting
from vigie.platform.database.postgresql.connect import Login
from vigie.platform.database.postgresql.database import PostgresqlDatabase
from vigie.platform.errors import VigieError
from vigie.platform.metrics import MetricsRegistry


class Watched:
    """A database whose metrics are looked at, beside that of another context."""

    def __init__(self, database: PostgresqlDatabase, registry: MetricsRegistry) -> None:
        self.database = database
        self._registry = registry

    def pool(self, what: str, pool: str, context: str = "recording") -> float:
        return self._registry.value(f"vigie_database_pool_{what}", context=context, pool=pool)

    def counted(self, name: str, **labels: str) -> float:
        return self._registry.value(f"vigie_database_{name}_total", context="recording", **labels)

    async def until_waiting(self, pool: str, count: int) -> None:
        async with asyncio.timeout(20):
            while self.pool("waiting", pool) != count:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def watched(login: Login, **options: Any) -> AsyncIterator[Watched]:
    registry = MetricsRegistry()
    other = PostgresqlDatabase(login, metrics=DatabaseMetrics(registry, "audit"))
    mine = PostgresqlDatabase(login, metrics=DatabaseMetrics(registry, "recording"), **options)
    try:
        yield Watched(mine, registry)
    finally:
        await mine.close()
        await other.close()


async def nothing(connection: AsyncConnection) -> None:
    await connection.execute(sa.select(sa.literal(1)))


async def test_pools_tell_size_use_and_who_waits_of_each_context(
    postgres_database: TestDatabase, empty_schema: str
) -> None:
    login = postgres_database.login(empty_schema, pool_size=1, pool_overflow=1)
    async with watched(login) as it:
        assert (it.pool("size", "reading"), it.pool("size", "writing")) == (2, 1)
        assert (it.pool("in_use", "reading"), it.pool("in_use", "writing")) == (0, 0)
        async with it.database.reading(), it.database.reading():
            assert it.pool("in_use", "reading") == 2
            readings = [asyncio.create_task(it.database.read(nothing)) for _ in range(3)]
            await it.until_waiting("reading", 3)
            assert it.pool("waiting", "reading", "audit") == 0
            assert it.pool("in_use", "reading", "audit") == 0
        await asyncio.gather(*readings)
        async with it.database.transaction():
            assert it.pool("in_use", "writing") == 1
            writing = [asyncio.create_task(it.database.write(nothing)) for _ in range(2)]
            await it.until_waiting("writing", 2)
        await asyncio.gather(*writing)
        for pool in ("reading", "writing"):
            assert (it.pool("in_use", pool), it.pool("waiting", pool)) == (0, 0)


async def test_who_waits_behind_another_process_for_its_turn_is_told_to_wait(
    postgres_database: TestDatabase, empty_schema: str
) -> None:
    login = postgres_database.login(empty_schema)
    neighbour = PostgresqlDatabase(login)
    async with watched(login) as it:
        async with neighbour.transaction():
            writing = asyncio.create_task(it.database.write(nothing))
            await it.until_waiting("writing", 1)
            assert not writing.done()
        await writing
        assert it.pool("waiting", "writing") == 0
    await neighbour.close()


async def test_who_gives_up_waiting_waits_no_more_and_keeps_no_connection(
    postgres_database: TestDatabase, empty_schema: str
) -> None:
    login = postgres_database.login(
        empty_schema, pool_size=1, pool_overflow=0, pool_wait_seconds=0.1
    )
    async with watched(login) as it:
        async with it.database.reading():
            with pytest.raises(VigieError, match="no connection became free"):
                await it.database.read(nothing)
            cancelled = asyncio.create_task(it.database.read(nothing))
            await it.until_waiting("reading", 1)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            assert (it.pool("waiting", "reading"), it.pool("in_use", "reading")) == (0, 1)
        assert it.pool("in_use", "reading") == 0


async def test_statements_that_took_too_long_are_counted_by_who_ended_them(
    postgres_database: TestDatabase,
    empty_schema: str,
    postgres_proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connecting, "_GRACE_SECONDS", 0.1)
    login = postgres_database.login(
        empty_schema, port=postgres_proxy.port, statement_timeout_seconds=0.3
    )
    async with watched(login) as it:

        async def sleeping(connection: AsyncConnection) -> None:
            await connection.execute(sa.select(sa.func.pg_sleep(60)))

        with pytest.raises(VigieError, match="took too long"):
            await it.database.read(sleeping)
        assert it.counted("statement_timeouts", ended_by="server") == 1
        assert it.counted("statement_timeouts", ended_by="client") == 0

        async def silenced(connection: AsyncConnection) -> None:
            await nothing(connection)
            postgres_proxy.lose_answers(close_after_ms=0)
            await sleeping(connection)

        with pytest.raises(VigieError, match="did not answer in time"):
            async with it.database.reading() as connection:
                await silenced(connection)
        postgres_proxy.mend()
        assert it.counted("statement_timeouts", ended_by="server") == 1
        assert it.counted("statement_timeouts", ended_by="client") == 1


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_work_that_is_begun_again_is_counted_by_why(
    postgres_database: TestDatabase, empty_schema: str, code: str
) -> None:
    await postgres_database.execute(f"CREATE SEQUENCE {empty_schema}.tries")
    await postgres_database.execute(
        f"CREATE FUNCTION {empty_schema}.fail() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('{empty_schema}.tries') <= 2 THEN RAISE SQLSTATE '{code}'; END IF;"
        " RETURN 1; END $$"
    )

    async def work(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql("SELECT fail()")

    async with watched(postgres_database.login(empty_schema)) as it:
        await it.database.write(work)
        assert it.counted("retries", code=code) == 2
