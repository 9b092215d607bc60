"""What the tests of the embedded database share: one table, made by a migration."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from vigie.platform.database import EmbeddedDatabase, MigrationSet, migrate, open_database
from vigie.platform.database.connection import AsyncConnection

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


def insert(name: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(sa.insert(THING), {"name": name, "size_bytes": 1})
        return name

    return work


def inserting(name: str) -> Callable[[AsyncConnection], Awaitable[str]]:
    async def work(connection: AsyncConnection) -> str:
        await connection.execute(sa.insert(THING), {"name": name, "size_bytes": 1})
        return name

    return work
