"""Where the rows of an estate stand: a file, or a database of its own on a PostgreSQL server."""

import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from databases import PostgresqlUnderTest
from servers_postgres import TestDatabase, run
from vigie.platform.database import EmbeddedDatabase, open_database

Rows = list[tuple[Any, ...]]


class Place(Protocol):
    """Rows that can be changed by hand, and opened by the product."""

    def sql(self, statement: str, *values: object) -> tuple[Rows, int]:
        """Do a statement in SQLite's words; its rows, and how many it has changed."""
        ...

    def columns(self, table: str) -> list[str]:
        """Names of the columns, in order."""
        ...

    async def opened(self) -> EmbeddedDatabase:
        """The database as the product opens it."""
        ...

    def copied(self, folder: Path) -> "Place":
        """A copy; the files of the estate are in ``folder`` already."""
        ...

    def gone(self) -> None:
        """Remove what is not in the folder of the estate."""
        ...


@dataclass(frozen=True)
class FilePlace:
    """SQLite in the folder of the estate."""

    folder: Path
    name: Path

    def sql(self, statement: str, *values: object) -> tuple[Rows, int]:
        with closing(sqlite3.connect(self.folder / self.name)) as connection:
            cursor = connection.execute(statement, values)
            rows = cursor.fetchall()
            connection.commit()
            return rows, cursor.rowcount

    def columns(self, table: str) -> list[str]:
        return [row[1] for row in self.sql(f"PRAGMA table_info({table})")[0]]

    async def opened(self) -> EmbeddedDatabase:
        return await open_database(self.folder / self.name)

    def copied(self, folder: Path) -> "FilePlace":
        return FilePlace(folder, self.name)

    def gone(self) -> None:
        """Nothing is elsewhere."""


@dataclass(frozen=True)
class ServerPlace:
    """A schema in a database of its own: to copy it is one statement of the server."""

    database: TestDatabase
    schema: str

    def sql(self, statement: str, *values: object) -> tuple[Rows, int]:
        return run(self._do(_in_its_words(statement, values)))

    async def _do(self, statement: str) -> tuple[Rows, int]:
        connection = await self.database.server.connect(self.database.name)
        try:
            await connection.execute(f"SET search_path TO {self.schema}")
            if statement.lstrip().upper().startswith("SELECT"):
                rows = [tuple(row) for row in await connection.fetch(statement)]
                return rows, len(rows)
            # "UPDATE 3", "INSERT 0 3"
            return [], int((await connection.execute(statement)).rpartition(" ")[2])
        finally:
            await connection.close()

    def columns(self, table: str) -> list[str]:
        rows, _ = self.sql(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position",
            self.schema, table,
        )  # fmt: skip
        return [row[0] for row in rows]

    async def opened(self) -> EmbeddedDatabase:
        login = self.database.login(self.schema)
        found: Any = PostgresqlUnderTest(login, migrates_itself=True)
        return found  # type: ignore[no-any-return] # as far as the checker goes

    def copied(self, folder: Path) -> "ServerPlace":
        del folder
        server, name = self.database.server, f"vigie_test_{secrets.token_hex(6)}"
        run(server.execute(f"CREATE DATABASE {name} TEMPLATE {self.database.name}"))
        copy = TestDatabase(server, name, self.database.password_file)
        return ServerPlace(copy, self.schema)

    def gone(self) -> None:
        name = self.database.name
        run(self.database.server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


def _in_its_words(statement: str, values: tuple[object, ...]) -> str:
    """A statement as PostgreSQL takes it, values written out: so it finds their types by itself."""
    parts = statement.replace("instr(value, ?)", "position(? IN value) > 0").split("?")
    assert len(parts) == len(values) + 1, statement
    said = parts[0]
    for value, part in zip(values, parts[1:], strict=True):
        said += _literal(value) + part
    return said


def _literal(value: object) -> str:
    match value:
        case bytes():
            return f"'\\x{value.hex()}'::bytea"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case int():
            return str(int(value))
    raise AssertionError(f"no literal of {value!r}")
