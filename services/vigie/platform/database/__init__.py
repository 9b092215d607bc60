"""The database port and its embedded implementation."""

from vigie.platform.database.embedded import EmbeddedDatabase, open_database
from vigie.platform.database.migrations import (
    MigrationOutcome,
    MigrationSet,
    migrate,
    schema_differences,
    schema_state,
)
from vigie.platform.database.port import Database
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.database.statements import (
    in_chunks,
    insert_if_absent,
    insert_rows,
    one_of,
    upsert,
)

__all__ = [
    "Database",
    "DatabaseConfig",
    "EmbeddedDatabase",
    "MigrationOutcome",
    "MigrationSet",
    "in_chunks",
    "insert_if_absent",
    "insert_rows",
    "migrate",
    "one_of",
    "open_database",
    "schema_differences",
    "schema_state",
    "upsert",
]
