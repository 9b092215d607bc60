"""Every published step of a schema only adds: programs of the version before go on using it."""

import importlib.util
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from databases import database_kind, open_any_database
from vigie.platform.database import EmbeddedDatabase, MigrationSet, migrate
from vigie.platform.eventlog.tables import LOG_MIGRATIONS
from vigie.schemas import SCHEMAS

__all__ = ["database_kind"]

CHAINS = {chain.context: chain for chains in SCHEMAS.values() for chain in chains}
CHAINS[LOG_MIGRATIONS.context] = LOG_MIGRATIONS
STEPS = [
    pytest.param(chain, number, id=f"{chain.context}-{number:04}")
    for chain in CHAINS.values()
    for number in range(2, len(list((chain.scripts / "versions").glob("[0-9]*.py"))) + 1)
]


def files(chain: MigrationSet) -> list[Path]:
    return sorted((chain.scripts / "versions").glob("[0-9]*.py"))


def up_to(chain: MigrationSet, number: int, folder: Path) -> MigrationSet:
    """The chain as a program knows it that knows ``number`` steps."""
    (folder / "versions").mkdir(parents=True)
    for file in files(chain)[:number]:
        (folder / "versions" / file.name).write_bytes(file.read_bytes())
    return MigrationSet(chain.context, folder)


def contracts(file: Path) -> bool:
    """Whether a step says that programs of the step before cannot use its schema."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, "works_with", "") == module.revision


def reflected(connection: Connection, prefix: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Table -> column -> what it is."""
    inspector = sa.inspect(connection)
    return {
        table: {column["name"]: dict(column) for column in inspector.get_columns(table)}
        for table in inspector.get_table_names()
        if table.startswith(prefix) and not table.endswith("_schema_version")
    }


def kept(before: dict[str, Any], after: dict[str, Any]) -> Sequence[str]:
    """What a program that knows ``before`` would miss in ``after``, or could not fill."""
    wrong = []
    for table, columns in before.items():
        if table not in after:
            wrong.append(f"{table} is gone")
            continue
        for name, column in columns.items():
            new = after[table].get(name)
            if new is None:
                wrong.append(f"{table}.{name} is gone")
            elif str(new["type"]) != str(column["type"]):
                wrong.append(f"{table}.{name} was {column['type']}, is {new['type']}")
            elif column["nullable"] and not new["nullable"]:
                wrong.append(f"{table}.{name} must have a value now")
        for name, column in after[table].items():
            fills_itself = column["nullable"] or column["default"] is not None
            if name not in columns and not fills_itself:
                wrong.append(f"{table}.{name} is new and must be given")
    return wrong


@pytest.fixture
async def database(tmp_path: Path, database_kind: str) -> AsyncIterator[EmbeddedDatabase]:
    opened = await open_any_database(tmp_path / "data" / "vigie.db")
    yield opened
    await opened.close()


@pytest.mark.parametrize(("chain", "number"), STEPS)
async def test_a_step_only_adds(
    database: EmbeddedDatabase, tmp_path: Path, chain: MigrationSet, number: int
) -> None:
    if contracts(files(chain)[number - 1]):
        pytest.skip("it says that it contracts")
    prefix = f"{chain.context}_"
    await migrate(database, up_to(chain, number - 1, tmp_path / "before"))
    async with database.reading() as connection:
        before = await connection.run_sync(reflected, prefix)
    assert before
    await migrate(database, up_to(chain, number, tmp_path / "after"))
    async with database.reading() as connection:
        after = await connection.run_sync(reflected, prefix)
    assert kept(before, after) == []


def test_a_step_that_takes_away_is_found() -> None:
    whole = {"name": {"type": "TEXT", "nullable": True, "default": None}}
    assert kept({"a_b": whole}, {"a_b": {}}) == ["a_b.name is gone"]
    assert kept({"a_b": {}}, {}) == ["a_b is gone"]
    strict = {"name": {"type": "TEXT", "nullable": False, "default": None}}
    assert kept({"a_b": whole}, {"a_b": strict}) == ["a_b.name must have a value now"]
    assert kept({"a_b": {}}, {"a_b": strict}) == ["a_b.name is new and must be given"]
    other = {"name": {"type": "BIGINT", "nullable": True, "default": None}}
    assert kept({"a_b": whole}, {"a_b": other}) == ["a_b.name was TEXT, is BIGINT"]
