"""What the database fails with: one clear line each, nothing half done, and no hand to recover."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from servers_postgres import Proxy, TestDatabase
from vigie.platform.clock import ManualWallClock
from vigie.platform.database import DatabaseConfig
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.postgresql import connect as connecting
from vigie.platform.database.postgresql.connect import Login
from vigie.platform.database.postgresql.database import (
    ATTEMPTS,
    COMMIT_UNKNOWN,
    PostgresqlDatabase,
    open_postgresql,
)
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import StrikingFaults

COUNTER = sa.Table(
    "counter",
    sa.MetaData(),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)
NOW_US = 1_772_323_200_000_000  # 2026-03-01T00:00:00Z


@asynccontextmanager
async def opened(login: Login, **options: Any) -> AsyncIterator[PostgresqlDatabase]:
    database = PostgresqlDatabase(login, **options)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def schema(postgres_database: TestDatabase, empty_schema: str) -> str:
    """A schema with a counter that stands at zero."""
    async with (
        opened(postgres_database.login(empty_schema)) as database,
        database.transaction() as connection,
    ):
        await connection.run_sync(COUNTER.create)
        await connection.execute(sa.insert(COUNTER), {"name": "a", "value": 0})
    return empty_schema


async def increment(connection: AsyncConnection) -> None:
    """Read, then write: what another does in between would be lost."""
    value = await connection.scalar(sa.select(COUNTER.c.value))
    await connection.execute(sa.update(COUNTER).values(value=value + 1))


def value_of(made: TestDatabase, schema: str) -> Awaitable[int]:
    async def ask() -> int:
        rows = await made.execute(f"SELECT value FROM {schema}.counter")
        return int(rows[0]["value"])

    return ask()


def terminate(made: TestDatabase, schema: str) -> Awaitable[object]:
    """End every session of a test from the server's side, as a restart does."""
    return made.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE application_name = 'test {schema}'"
    )


def one_line(error: VigieError) -> str:
    assert error.reason.name == "DATABASE_UNAVAILABLE"
    assert "\n" not in error.message
    assert "Traceback" not in error.message
    return error.message


# --- it cannot be used ---------------------------------------------------------------------------


async def test_where_nobody_listens_the_line_says_where_and_since_when(
    postgres_database: TestDatabase,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        clock, codes = ManualWallClock(NOW_US), list[str]()
        login = postgres_database.login("nobody", port=port)
        async with opened(login, wall_clock=clock, on_failure=codes.append) as database:
            for _ in range(2):
                with pytest.raises(VigieError) as failure:
                    await database.check()
                clock.advance(3600)
            line = one_line(failure.value)
            with pytest.raises(VigieError):
                async with database.reading():
                    pass
    assert f"127.0.0.1:{port}/" in line
    assert "away since 2026-03-01 00:00:00 UTC" in line
    assert "refused" in line.lower()
    assert set(codes) == {"UNREACHABLE"}


async def test_a_server_that_never_answers_is_given_up(postgres_database: TestDatabase) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        login = postgres_database.login(
            "nobody", port=silent.getsockname()[1], connect_timeout_seconds=0.2
        )
        async with opened(login) as database:
            with pytest.raises(VigieError) as failure:
                await database.check()
    assert "did not answer in time" in one_line(failure.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"url": "postgresql://nobody-such@{host}:{port}/{name}"}, "refused"),
        ({"url": "postgresql://{user}@{host}:{port}/none_such"}, "there is no such database"),
        ({"password_file": "/nowhere/password"}, "password file /nowhere/password"),
    ],
)
async def test_what_is_configured_wrongly_is_named(
    postgres_database: TestDatabase, change: dict[str, str], expected: str
) -> None:
    server = postgres_database.server
    names = {"user": server.user, "host": server.host, "port": server.port,
             "name": postgres_database.name}  # fmt: skip
    config = postgres_database.config(**{key: text.format(**names) for key, text in change.items()})
    database = await open_postgresql(config, "audit")
    try:
        with pytest.raises(VigieError) as failure:
            await database.check()
    finally:
        await database.close()
    assert expected in failure.value.message
    assert server.password not in failure.value.message


async def test_an_old_server_is_refused_by_its_version(
    postgres_database: TestDatabase, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "OLDEST_VERSION", 99)
    async with opened(postgres_database.login(schema)) as database:
        with pytest.raises(VigieError, match="99 or newer is needed"):
            await database.check()


async def test_a_server_that_takes_no_writes_is_noticed_although_reading_goes_on(
    postgres_database: TestDatabase, schema: str
) -> None:
    name = postgres_database.name
    await postgres_database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        async with opened(postgres_database.login(schema)) as database:
            async with database.reading() as connection:
                assert await connection.scalar(sa.select(COUNTER.c.value)) == 0
            with pytest.raises(VigieError, match="takes no writes"):
                await database.check()
            with pytest.raises(VigieError, match="takes no writes"):
                await database.write(increment)
    finally:
        await postgres_database.server.execute(f"ALTER DATABASE {name} RESET ALL")


async def test_a_missing_table_is_the_deployments_fault_not_the_events(
    postgres_database: TestDatabase, empty_schema: str
) -> None:
    async with opened(postgres_database.login(empty_schema)) as database:
        with pytest.raises(VigieError, match="a table is missing: run `vigie migrate`"):
            await database.write(increment)


async def test_a_pool_without_a_free_connection_says_so(
    postgres_database: TestDatabase, schema: str
) -> None:
    login = postgres_database.login(schema, pool_size=1, pool_overflow=1, pool_wait_seconds=0.1)
    codes: list[str] = []
    async with opened(login, on_failure=codes.append) as database:
        async with database.reading(), database.reading():
            with pytest.raises(VigieError, match="no connection became free; see pool_size"):
                async with database.reading():
                    pass
            await database.write(increment)  # writers do not wait for readers
        async with database.reading():
            pass
    assert codes == ["POOL_EXHAUSTED"]


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


# --- passwords and certificates ------------------------------------------------------------------


async def test_a_password_is_read_again_for_every_new_connection(
    postgres_database: TestDatabase, schema: str, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("wrong")
    login = postgres_database.login(schema)
    config = DatabaseConfig(**login.config.model_dump() | {"password_file": file})
    changed = Login(config, login.role, file, schema, login.application)
    async with opened(changed) as database:
        with pytest.raises(VigieError, match="the role or its password is refused"):
            await database.check()
        file.write_text(postgres_database.server.password + "\n")
        await database.check()


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
