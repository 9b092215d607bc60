"""Schema migrations with Alembic: one chain and one version table for each context.

How a context adds its tables. It keeps a folder ``migrations`` with a folder ``versions`` in it::

    services/vigie/registry/migrations/versions/0001_cameras.py

No ``env.py``, no ``alembic.ini``, and (on purpose) no ``alembic.op``, which is a global: a
migration is *handed* its operations::

    import sqlalchemy as sa
    from alembic.operations import Operations

    revision = "0001"
    down_revision = None          # the revision before this one


    def upgrade(op: Operations) -> None:
        op.create_table(
            "registry_camera",
            sa.Column("camera", sa.String, primary_key=True),
            sa.Column("created_us", sa.BigInteger, nullable=False),
        )

and the context states at one place::

    MIGRATIONS = MigrationSet("registry", Path(__file__).parent / "migrations")

Rules: every table, index and constraint name begins with ``<context>_``; a published migration is
never changed; revisions are four digits in order, and name their files. The version table is
``<context>_schema_version``. All steps of one context run in one transaction: all or nothing.

**Expand and contract.** On a database that several programs share, the schema is changed first
(`vigie migrate`), the programs one after the other behind it: for a while programs of the version
before run, and are started again, on the new schema. So a step only adds: tables, indexes, columns
that are nullable or have a default of the server. What is no longer used is removed a version
later, when no running program knows it any more. Each step says by which programs its schema can be
used; a program on a schema newer than its own looks that up (`SCHEMA_PROGRAMS`), and runs or
refuses. It is the revision before, unless the step says otherwise::

    works_with = "0003"   # in the file of 0005, when 0004 and 0005 are published together

Alembic is only loaded when there is something to do: at most starts, the table says that the
newest revision was applied, and ten megabytes are not needed.

`schema_differences` compares the migrated schema with the context's ``MetaData``; a test of each
context asserts that it returns nothing.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import (
    Column,
    MetaData,
    String,
    Table,
    column,
    delete,
    insert,
    inspect,
    select,
    table,
)
from sqlalchemy.engine import Connection

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.port import Database
from vigie.platform.errors import VigieError
from vigie.platform.reasons import DATA_NEWER_THAN_PROGRAM, SCHEMA_OUTDATED

if TYPE_CHECKING:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

log = structlog.get_logger(__name__)
_REVISION_DIGITS: Final = 4
ONLY_ON: Final = "only_on"
"""In the ``info`` of an index: the dialect of the only database that has it."""

SCHEMA_PROGRAMS: Final = Table(
    "schema_programs",
    MetaData(),
    Column("context", String, primary_key=True),
    # The oldest revision a program may know and still use this schema.
    Column("works_with", String, nullable=False),
)
"""Kept where programs do not migrate for themselves (PostgreSQL)."""


@dataclass(frozen=True, slots=True)
class MigrationSet:
    """The migrations of one context.

    Attributes:
        context: prefix of its tables, without the underscore.
        scripts: folder that holds ``versions/``.
    """

    context: str
    scripts: Path

    @property
    def version_table(self) -> str:
        """Where the applied revision is kept."""
        return f"{self.context}_schema_version"


@dataclass(frozen=True, slots=True)
class MigrationOutcome:
    """What `migrate` did: revision before and after (``None``: no schema)."""

    context: str
    before: str | None
    after: str | None


async def migrate(database: Database, migrations: MigrationSet) -> MigrationOutcome:
    """Bring one context's tables to the newest revision this program knows.

    Where the database is not the program's to migrate (`Database.migrates_itself`), only look
    whether it can work with the tables as they are.

    Raises:
        VigieError: DATA_NEWER_THAN_PROGRAM, naming both revisions; DATABASE_UNAVAILABLE;
            SCHEMA_OUTDATED: the tables are older, and others migrate them.
    """
    if not database.migrates_itself:
        return await _expect(database, migrations)

    async def current(connection: AsyncConnection) -> str | None:
        return await connection.run_sync(_current, migrations)

    async def upgrade(connection: AsyncConnection) -> MigrationOutcome:
        return await connection.run_sync(_upgrade, migrations)

    newest = await asyncio.to_thread(_newest, migrations)
    if newest is not None and await database.read(current) == newest:
        return MigrationOutcome(migrations.context, newest, newest)
    return await database.write(upgrade)


async def schema_state(database: Database, migrations: MigrationSet) -> MigrationOutcome:
    """The revision the tables are at, and the newest that this program knows; changes nothing."""

    async def current(connection: AsyncConnection) -> str | None:
        return await connection.run_sync(_current, migrations)

    newest = await asyncio.to_thread(_newest, migrations)
    return MigrationOutcome(migrations.context, await database.read(current), newest)


async def _expect(database: Database, migrations: MigrationSet) -> MigrationOutcome:
    """See `migrate`."""
    state = await schema_state(database, migrations)
    found, known = state.before, state.after
    if found == known or known is None:
        return MigrationOutcome(migrations.context, found, found)
    if found is None or found < known:
        at = f"at revision {found}" if found else "missing"
        raise VigieError(
            SCHEMA_OUTDATED,
            f"the {migrations.context} tables are {at}; this program needs {known}:"
            " run `vigie migrate`",
            context=migrations.context,
            found=found or "",
            known=known,
        )

    async def oldest(connection: AsyncConnection) -> str | None:
        table = SCHEMA_PROGRAMS
        query = select(table.c.works_with).where(table.c.context == migrations.context)
        value: str | None = await connection.scalar(query)
        return value

    works_with = await database.read(oldest)
    if works_with is None or known < works_with:
        raise _newer(migrations, found, known)
    log.info("schema_newer_than_program", context=migrations.context, found=found, known=known)
    return MigrationOutcome(migrations.context, found, found)


async def schema_differences(
    database: Database, migrations: MigrationSet, metadata: MetaData
) -> list[str]:
    """How the migrated schema differs from ``metadata``, one line each; empty when it does not."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    prefix = f"{migrations.context}_"

    def differences(connection: Connection) -> list[str]:
        def ours(name: str | None, kind: str, _parents: Any) -> bool:
            return kind != "table" or (
                name is not None and name.startswith(prefix) and name != migrations.version_table
            )

        def of_this_database(thing: Any, *_: Any) -> bool:
            return thing.info.get(ONLY_ON) in {None, connection.dialect.name}

        context = MigrationContext.configure(
            connection,
            opts={
                "include_name": ours,
                "include_object": of_this_database,
                "compare_type": True,
            },
        )
        return [repr(difference) for difference in compare_metadata(context, metadata)]

    async with database.reading() as connection:
        return await connection.run_sync(differences)


def _newest(migrations: MigrationSet) -> str | None:
    """The newest revision this program knows, by the names of the files."""
    names = sorted(file.name for file in (migrations.scripts / "versions").glob("[0-9]*.py"))
    return names[-1][:_REVISION_DIGITS] if names else None


def _current(connection: Connection, migrations: MigrationSet) -> str | None:
    """The revision the tables are at, or ``None``."""
    if not inspect(connection).has_table(migrations.version_table):
        return None
    found = connection.execute(select(table(migrations.version_table, column("version_num"))))
    revision: str | None = found.scalar()
    return revision


def _upgrade(connection: Connection, migrations: MigrationSet) -> MigrationOutcome:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(migrations.scripts))
    target = scripts.get_current_head()

    def steps(current: Any, _context: "MigrationContext") -> Any:
        return scripts._upgrade_revs(target or "base", current)  # noqa: SLF001 - Alembic's own
        # documentation of programmatic use calls this very method; there is no public name.

    context = MigrationContext.configure(
        connection, opts={"version_table": migrations.version_table, "fn": steps}
    )
    before = context.get_current_revision()
    if before is not None and before not in {script.revision for script in _all(scripts)}:
        raise _newer(migrations, before, target or "")
    context.run_migrations(op=Operations(context))
    if connection.dialect.name == "postgresql":
        _note_programs(connection, migrations, scripts)
    return MigrationOutcome(migrations.context, before, context.get_current_revision())


def _note_programs(
    connection: Connection, migrations: MigrationSet, scripts: "ScriptDirectory"
) -> None:
    """Note which programs can use the schema as it is now."""
    head = scripts.get_revision("head")
    assert head is not None
    works_with = getattr(head.module, "works_with", None) or head.down_revision or head.revision
    SCHEMA_PROGRAMS.create(connection, checkfirst=True)
    mine = SCHEMA_PROGRAMS.c.context == migrations.context
    connection.execute(delete(SCHEMA_PROGRAMS).where(mine))
    row = {"context": migrations.context, "works_with": works_with}
    connection.execute(insert(SCHEMA_PROGRAMS), row)


def _newer(migrations: MigrationSet, found: str, known: str) -> VigieError:
    return VigieError(
        DATA_NEWER_THAN_PROGRAM,
        f"the {migrations.context} tables are at revision {found}; "
        f"this program knows them up to {known}",
        context=migrations.context,
        found=found,
        known=known,
    )


def _all(scripts: "ScriptDirectory") -> list[Any]:
    return list(scripts.walk_revisions())
