"""The embedded database is one file of one process; its schema goes forward by migrations."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import sqlalchemy as sa

from unit.platform.storage.database_support import (
    FIRST,
    METADATA,
    database,
    names,
    put,
    scripts,
)
from vigie.platform.database import (
    EmbeddedDatabase,
    migrate,
    open_database,
    schema_differences,
)
from vigie.platform.errors import VigieError

__all__ = ["database"]

SECOND = """
import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    op.add_column("sample_thing", sa.Column("note", sa.String))
"""
BROKEN_SECOND = SECOND + '    raise ValueError("broken")\n'


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


async def test_the_file_is_an_ordinary_sqlite_file(database: EmbeddedDatabase) -> None:
    await put(database, "a")
    with sqlite3.connect(f"file:{database.path}?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


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
