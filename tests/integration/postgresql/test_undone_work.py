"""Commits whose result is not known, and work that the server undid: repeated, or told."""

import asyncio

import pytest
import sqlalchemy as sa

from integration.postgresql.failing_support import (
    increment,
    one_line,
    opened,
    schema,
    terminate,
    value_of,
)
from servers_postgres import Proxy, TestDatabase
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.postgresql.database import ATTEMPTS, COMMIT_UNKNOWN
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import StrikingFaults

__all__ = ["schema"]


# --- commits whose result is not known -----------------------------------------------------------


def losing_the_answer(proxy: Proxy) -> StrikingFaults:
    """The commit arrives, its answer does not; the next transactions are undisturbed."""
    return StrikingFaults(
        "database.transaction.committing", lambda: proxy.lose_answers(close_after_ms=50)
    )


async def test_a_commit_whose_answer_is_lost_is_an_error_that_may_have_taken_effect(
    postgres_database: TestDatabase, schema: str, postgres_proxy: Proxy
) -> None:
    login = postgres_database.login(schema, port=postgres_proxy.port)
    codes, called = list[str](), list[int]()

    async def work(connection: AsyncConnection) -> None:
        database.on_commit(connection, lambda: called.append(1))
        await increment(connection)

    faults = losing_the_answer(postgres_proxy)
    async with opened(login, faults=faults, on_failure=codes.append) as database:
        with pytest.raises(VigieError, match="whether the last change was saved is not known"):
            await database.write(work)
        assert (await value_of(postgres_database, schema), called) == (1, [])
        postgres_proxy.mend()
        await database.write(work)
    assert codes == [COMMIT_UNKNOWN]
    assert (await value_of(postgres_database, schema), called) == (2, [1])


async def test_a_server_that_dies_in_the_commit_is_the_same_error_without_effect(
    postgres_database: TestDatabase, schema: str
) -> None:
    """The commit waits for a deferred trigger; there the session is ended from outside."""
    await postgres_database.execute(
        f"CREATE FUNCTION {schema}.slow() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(30); RETURN NULL; END'"
    )
    await postgres_database.execute(
        f"CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON {schema}.counter"
        f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.slow()"
    )
    codes: list[str] = []
    async with opened(postgres_database.login(schema), on_failure=codes.append) as database:
        task = asyncio.create_task(database.write(increment))
        query = (
            "SELECT pid FROM pg_stat_activity WHERE application_name ="
            f" 'test {schema}' AND query LIKE 'COMMIT%' AND state = 'active'"
        )
        while not await postgres_database.execute(query):
            await asyncio.sleep(0.01)
        await terminate(postgres_database, schema)
        with pytest.raises(VigieError, match="whether the last change was saved is not known"):
            await task
        assert codes == [COMMIT_UNKNOWN]
        assert await value_of(postgres_database, schema) == 0


# --- transactions that the server undid ----------------------------------------------------------


async def _undoes(made: TestDatabase, schema: str, times: int, code: str) -> None:
    """Let the server undo the first transactions that touch the counter."""
    await made.execute(f"CREATE SEQUENCE {schema}.tries")
    await made.execute(
        f"CREATE FUNCTION {schema}.undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('{schema}.tries') <= {times} THEN RAISE SQLSTATE '{code}'; END IF;"
        " RETURN NEW; END $$"
    )
    await made.execute(
        f"CREATE TRIGGER undo BEFORE UPDATE ON {schema}.counter FOR EACH ROW"
        f" EXECUTE FUNCTION {schema}.undo()"
    )


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_work_that_the_server_undid_is_done_again_and_takes_effect_once(
    postgres_database: TestDatabase, schema: str, code: str
) -> None:
    await _undoes(postgres_database, schema, ATTEMPTS - 1, code)
    called, codes, runs = list[int](), list[str](), list[int]()

    async def work(connection: AsyncConnection) -> str:
        runs.append(1)
        database.on_commit(connection, lambda: called.append(1))
        await increment(connection)
        return "done"

    async with opened(postgres_database.login(schema), on_failure=codes.append) as database:
        assert await database.write(work) == "done"
    assert (len(runs), called, codes) == (ATTEMPTS, [1], [code] * (ATTEMPTS - 1))
    assert await value_of(postgres_database, schema) == 1


async def test_work_that_is_undone_again_and_again_is_given_up(
    postgres_database: TestDatabase, schema: str
) -> None:
    await _undoes(postgres_database, schema, 1000, "40001")
    async with opened(postgres_database.login(schema)) as database:
        with pytest.raises(VigieError) as failure:
            await database.write(increment)
        one_line(failure.value)
        with pytest.raises(VigieError):
            async with database.transaction() as connection:
                await increment(connection)
    assert await value_of(postgres_database, schema) == 0


async def test_statements_that_a_migration_made_stale_are_prepared_anew(
    postgres_database: TestDatabase, schema: str
) -> None:
    every_column = sa.text("SELECT * FROM counter")

    async def look(connection: AsyncConnection) -> int:
        return len((await connection.execute(every_column)).one())

    async def write(connection: AsyncConnection) -> int:
        await increment(connection)
        return await look(connection)

    async with opened(postgres_database.login(schema)) as database:
        assert (await database.read(look), await database.write(write)) == (2, 2)
        await postgres_database.execute(f"ALTER TABLE {schema}.counter ADD COLUMN note text")
        assert (await database.read(look), await database.write(write)) == (3, 3)
    assert await value_of(postgres_database, schema) == 2
