"""What only the administrator of the database does: schemas, roles, rights, migrations.

For each context there are

- a schema named as the context;
- a role that owns it and its tables, ``vigie_{context}_owner``, by which nobody logs in;
- a role by which the service connects, ``vigie_{context}``: it reads and writes rows of its own
  schema and can neither change a table nor see another schema. With a user in the url, that role
  has the rights of all contexts.

Everything may be done again: what is there already is left, or mended. Passwords are sent as
SCRAM verifiers, so that none appears in a log of the server.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import asyncpg

from vigie.platform.database.migrations import (
    SCHEMA_PROGRAMS,
    MigrationOutcome,
    MigrationSet,
    migrate,
    schema_state,
)
from vigie.platform.database.postgresql.connect import Login, connect, quoted
from vigie.platform.database.postgresql.database import PostgresqlDatabase, turn_key
from vigie.platform.database.postgresql.errors import DatabaseFailedError, failure_of, other_failure
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.errors import VigieError
from vigie.platform.reasons import CONFIG_INVALID

_MAINTENANCE: Final = "postgres"
_NO_SUCH_DATABASE: Final = "3D000"
_RUNS_ALONE: Final = turn_key("vigie migrate")
_SCRAM_ROUNDS: Final = 4096
_BYTE_ORDER: Final = """
SELECT array_agg(text ORDER BY text) = array_agg(text ORDER BY text COLLATE "C")
    AND current_setting('server_encoding') = 'UTF8'
FROM unnest(ARRAY['a', 'B', 'b', 'é', 'z', 'a-1', 'a_1', 'a1', 'A/2', 'a.1']) AS text
"""


class Administration:
    """Brings a database up to date for the contexts.

    Args:
        config: section ``[database]``: where, and who will connect.
        administrator: role that may make roles and schemas.
        password_file: where its password is.
        tell: told what is being done, one line each.
    """

    def __init__(
        self,
        config: DatabaseConfig,
        administrator: str,
        password_file: Path | None,
        *,
        tell: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._config = config
        self._tell = tell
        self._login = Login(
            config, administrator, password_file, "public", "vigie migrate", is_bounded=False
        )

    async def apply(self, schemas: Mapping[str, Sequence[MigrationSet]]) -> list[MigrationOutcome]:
        """Make what is missing, and bring every table up to date. One run at a time.

        Raises:
            VigieError: DATABASE_UNAVAILABLE (also: a right is lacking), DATA_NEWER_THAN_PROGRAM,
                CONFIG_INVALID: a password is missing, or the database sorts by a language.
        """
        await self._make_database()
        outcomes: list[MigrationOutcome] = []
        async with self._connected() as connection:
            await self._run_alone(connection)
            await self._check_order(connection)
            await self._close_public(connection)
            for context, chains in schemas.items():
                await self._make_roles(connection, context)
                await self._make_schema(connection, context)
                outcomes += await self._migrate(context, chains)
                await self._grant(connection, context, chains)
        return outcomes

    async def state(self, schemas: Mapping[str, Sequence[MigrationSet]]) -> list[MigrationOutcome]:
        """Revisions of the tables and of this program; changes nothing."""
        found: list[MigrationOutcome] = []
        for context, chains in schemas.items():
            login = replace(self._login, schema=context)
            async with _opened(PostgresqlDatabase(login)) as database:
                found += [await schema_state(database, chain) for chain in chains]
        return found

    @asynccontextmanager
    async def _connected(self, database: str | None = None) -> AsyncIterator[asyncpg.Connection]:
        login = replace(self._login, database=database)
        connection = await connect(login)
        try:
            yield connection
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            failure = failure_of(error) or other_failure(error)
            raise failure.error(login.where) from error
        finally:
            await connection.close(timeout=5)

    async def _make_database(self) -> None:
        """Make the database where there is none; its text sorts by bytes."""
        name = self._config.address.name
        try:
            async with self._connected():
                return
        except DatabaseFailedError as error:
            if error.failure.code != _NO_SUCH_DATABASE:
                raise
        async with self._connected(_MAINTENANCE) as connection:
            try:
                await connection.execute(
                    f"CREATE DATABASE {quoted(name)} TEMPLATE template0 ENCODING 'UTF8'"
                    " LC_COLLATE 'C' LC_CTYPE 'C'"
                )
            except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
                return  # another run was faster
        self._tell(f"database {name} made")

    async def _run_alone(self, connection: asyncpg.Connection) -> None:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _RUNS_ALONE):
            self._tell("another `vigie migrate` is at work: waiting for it")
            await connection.execute("SET lock_timeout = 0")
            await connection.execute(f"SELECT pg_advisory_lock({_RUNS_ALONE})")

    async def _check_order(self, connection: asyncpg.Connection) -> None:
        if not await connection.fetchval(_BYTE_ORDER):
            raise VigieError(
                CONFIG_INVALID,
                f"database {self._config.address} must have encoding UTF8 and collation C, so that"
                " keys sort by their bytes: make it with TEMPLATE template0 ENCODING 'UTF8'"
                " LC_COLLATE 'C' LC_CTYPE 'C', or let `vigie migrate` make it",
            )

    async def _close_public(self, connection: asyncpg.Connection) -> None:
        """Whoever has an account on the server is no guest here."""
        name = quoted(self._config.address.name)
        await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")

    async def _make_roles(self, connection: asyncpg.Connection, context: str) -> None:
        owner, role = self._config.owner_of(context), self._config.role_of(context)
        if await _make_role(connection, owner, "NOLOGIN"):
            self._tell(f"role {owner} made")
        # To act as the owner, the administrator must belong to it.
        await connection.execute(f"GRANT {quoted(owner)} TO CURRENT_USER")
        database = quoted(self._config.address.name)
        if self._config.address.user is None:
            if await _make_role(connection, role, "LOGIN"):
                self._tell(f"role {role} made")
            await self._set_password(connection, context, role)
            # For people who look with psql; programs say it themselves.
            path = f"ALTER ROLE {quoted(role)} IN DATABASE {database} SET search_path"
            await connection.execute(f"{path} = {quoted(context)}")
        await connection.execute(f"GRANT CONNECT ON DATABASE {database} TO {quoted(role)}")

    async def _set_password(self, connection: asyncpg.Connection, context: str, role: str) -> None:
        file = self._config.password_file_of(context)
        if file is None:
            return
        try:
            password = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            message = f"database: password file {file} cannot be read: {error.strerror}"
            raise VigieError(CONFIG_INVALID, message) from error
        if not password or not password.isascii():
            what = "is empty" if not password else "holds other characters than ASCII"
            raise VigieError(CONFIG_INVALID, f"database: password file {file} {what}")
        # A verifier holds no quote.
        await connection.execute(
            f"ALTER ROLE {quoted(role)} LOGIN PASSWORD '{scram_verifier(password)}'"
        )

    async def _make_schema(self, connection: asyncpg.Connection, context: str) -> None:
        schema, owner = quoted(context), quoted(self._config.owner_of(context))
        known = await connection.fetchval(
            "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1", context
        )
        if known is None:
            await connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {owner}")
            self._tell(f"schema {context} made")
        elif known != self._config.owner_of(context):
            await connection.execute(f"ALTER SCHEMA {schema} OWNER TO {owner}")

    async def _migrate(
        self, context: str, chains: Sequence[MigrationSet]
    ) -> list[MigrationOutcome]:
        login = replace(self._login, schema=context, acts_as=self._config.owner_of(context))
        async with _opened(PostgresqlDatabase(login, migrates_itself=True)) as database:
            outcomes = [await migrate(database, chain) for chain in chains]
        for done in outcomes:
            if done.before != done.after:
                self._tell(f"{context}: {done.context} {done.before or 'new'} -> {done.after}")
        return outcomes

    async def _grant(
        self, connection: asyncpg.Connection, context: str, chains: Sequence[MigrationSet]
    ) -> None:
        """Rows for the service, and no more; which version the tables have is not its to say."""
        schema, role = quoted(context), quoted(self._config.role_of(context))
        told = [*(chain.version_table for chain in chains), SCHEMA_PROGRAMS.name]
        tables = ", ".join(f"{schema}.{quoted(name)}" for name in told)
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {quoted(self._config.owner_of(context))}")
            for right in (
                f"REVOKE ALL ON SCHEMA {schema} FROM PUBLIC",
                f"GRANT USAGE ON SCHEMA {schema} TO {role}",
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
                f"REVOKE INSERT, UPDATE, DELETE ON {tables} FROM {role}",
                f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
                f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC",
                f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role}",
            ):
                await connection.execute(right)


async def _make_role(connection: asyncpg.Connection, role: str, kind: str) -> bool:
    """Make a role where there is none; whether it was made."""
    if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
        return False
    try:
        await connection.execute(
            f"CREATE ROLE {quoted(role)} {kind} NOSUPERUSER NOCREATEDB NOCREATEROLE"
        )
    except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
        return False  # roles belong to the whole server: another database's run was faster
    return True


@asynccontextmanager
async def _opened(database: PostgresqlDatabase) -> AsyncIterator[PostgresqlDatabase]:
    try:
        yield database
    finally:
        await database.close()


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """What the server keeps of a password (RFC 5803, RFC 7677): it cannot be logged in with.

    ASCII stands for itself in SASLprep (RFC 4013); other passwords are refused before.
    """
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ROUNDS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = hashlib.sha256(client).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode("ascii")

    return f"SCRAM-SHA-256${_SCRAM_ROUNDS}:{text(salt)}${text(stored)}:{text(server)}"
