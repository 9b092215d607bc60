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
never changed; expand first, contract a version later, so that the previous version keeps working;
revisions are four digits in order, and name their files. The version table is
``<context>_schema_version``.
All steps of one context run in one transaction: all or nothing.

Alembic is only loaded when there is something to do: at most starts, the table says that the
newest revision was applied, and ten megabytes are not needed.

`schema_differences` compares the migrated schema with the context's ``MetaData``; a test of each
context asserts that it returns nothing.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import MetaData, column, inspect, select, table
from sqlalchemy.engine import Connection

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.port import Database
from vigie.platform.errors import VigieError
from vigie.platform.reasons import DATA_NEWER_THAN_PROGRAM

if TYPE_CHECKING:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

_REVISION_DIGITS: Final = 4


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

    Raises:
        VigieError: DATA_NEWER_THAN_PROGRAM, naming both revisions; DATABASE_UNAVAILABLE.
    """

    async def current(connection: AsyncConnection) -> str | None:
        return await connection.run_sync(_current, migrations)

    async def upgrade(connection: AsyncConnection) -> MigrationOutcome:
        return await connection.run_sync(_upgrade, migrations)

    newest = await asyncio.to_thread(_newest, migrations)
    if newest is not None and await database.read(current) == newest:
        return MigrationOutcome(migrations.context, newest, newest)
    return await database.write(upgrade)


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

        context = MigrationContext.configure(
            connection, opts={"include_name": ours, "compare_type": True}
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
        raise VigieError(
            DATA_NEWER_THAN_PROGRAM,
            f"the {migrations.context} tables are at revision {before}; "
            f"this program knows them up to {target}",
            context=migrations.context,
            found=before,
            known=target or "",
        )
    context.run_migrations(op=Operations(context))
    return MigrationOutcome(migrations.context, before, context.get_current_revision())


def _all(scripts: "ScriptDirectory") -> list[Any]:
    return list(scripts.walk_revisions())
