"""A database that cannot be used as it is configured or as it stands: one clear line each."""

import socket
from pathlib import Path

import pytest
import sqlalchemy as sa

from integration.postgresql.failing_support import (
    COUNTER,
    NOW_US,
    increment,
    one_line,
    opened,
    schema,
)
from servers_postgres import TestDatabase
from vigie.platform.clock import ManualWallClock
from vigie.platform.database import DatabaseConfig
from vigie.platform.database.postgresql import connect as connecting
from vigie.platform.database.postgresql.connect import Login
from vigie.platform.database.postgresql.database import open_postgresql
from vigie.platform.errors import VigieError

__all__ = ["schema"]


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
