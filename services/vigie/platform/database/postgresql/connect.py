"""How a connection to PostgreSQL is made: address, role, password, TLS, settings of the session.

Everything that may change while the product runs (passwords, certificates, authorities) is read
again for every new connection.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from vigie.platform.database.postgresql.errors import Failure, failure_of, other_failure
from vigie.platform.database.settings import DatabaseConfig
from vigie.platform.errors import VigieError
from vigie.platform.reasons import CONFIG_INVALID

OLDEST_VERSION: Final = 14
"""PostgreSQL 13 and older get no security updates any more."""
TOO_OLD: Final = "TOO_OLD"
_GRACE_SECONDS: Final = 5.0
"""A server that ends a statement gets this long to say so before the client gives up."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who connects, and how.

    Attributes:
        config: section ``[database]``.
        role: by which name.
        password_file: where its password is; ``None``: it needs none.
        schema: whose tables are meant.
        application: what the server's list of sessions shows.
        database: another one than the configured; ``None``: that one.
        acts_as: role whose rights are taken after the login; ``None``: its own.
        is_bounded: whether time-outs of statements hold; not so for changes of the schema.
    """

    config: DatabaseConfig
    role: str
    password_file: Path | None
    schema: str
    application: str
    database: str | None = None
    acts_as: str | None = None
    is_bounded: bool = True

    @property
    def where(self) -> str:
        """Database and role, for people."""
        return f"{self.config.address} (role {self.role})"


def login_of(config: DatabaseConfig, context: str) -> Login:
    """How a context connects: by its own role or by the one for all, to its own schema."""
    role, password_file = config.role_of(context), config.password_file_of(context)
    return Login(config, role, password_file, context, f"vigie {context}")


async def connect(login: Login) -> asyncpg.Connection:
    """A new connection.

    Raises:
        VigieError: DATABASE_UNAVAILABLE (unreachable, refused, too old, not ready);
            CONFIG_INVALID: a file of the configuration cannot be read.
    """
    address = login.config.address
    try:
        connection = await asyncpg.connect(
            host=address.host,
            port=address.port,
            database=login.database or address.name,
            user=login.role,
            password=_password(login),
            ssl=_tls(login.config),
            timeout=login.config.connect_timeout_seconds,
            command_timeout=_command_timeout(login),
            server_settings=_settings(login),
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        failure = failure_of(error) or other_failure(error, is_lost=True)
        raise failure.error(login.where) from error
    version = connection.get_server_version()
    if version.major < OLDEST_VERSION:
        await connection.close(timeout=1)
        found = f"{version.major}.{version.minor}"
        message = f"it is PostgreSQL {found}; {OLDEST_VERSION} or newer is needed"
        raise Failure(TOO_OLD, message, is_lost=True).error(login.where)
    return connection


def _command_timeout(login: Login) -> float | None:
    seconds = login.config.statement_timeout_seconds
    return seconds + _GRACE_SECONDS if login.is_bounded else None


def _settings(login: Login) -> Mapping[str, str]:
    config = login.config
    settings = {
        "application_name": login.application,
        "search_path": quoted(login.schema),
        "timezone": "UTC",
        "lock_timeout": _milliseconds(config.lock_timeout_seconds),
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        # Our statements are short: compiling them costs more than it saves.
        "jit": "off",
    }
    if login.is_bounded:
        longest = _milliseconds(config.statement_timeout_seconds)
        settings["statement_timeout"] = longest
        # A process that was stopped in mid-transaction must not keep others from writing.
        settings["idle_in_transaction_session_timeout"] = longest
    if login.acts_as is not None:
        settings["role"] = login.acts_as
    return settings


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))


def quoted(name: str) -> str:
    """An identifier as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _password(login: Login) -> Callable[[], str] | None:
    file = login.password_file
    if file is None:
        return None
    text = _read(file, "password file").strip()
    return lambda: text


def _tls(config: DatabaseConfig) -> ssl.SSLContext | bool:
    if not config.encrypts:
        return False
    context = ssl.create_default_context()
    if config.ca_file is not None:
        # Read here, so that a missing file is named; the system's authorities are left out.
        context = ssl.create_default_context(cadata=_read(config.ca_file, "ca_file"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.certificate_file is not None:
        try:
            context.load_cert_chain(config.certificate_file, config.key_file)
        except (OSError, ssl.SSLError) as error:
            raise _unreadable(config.certificate_file, "certificate_file", error) from error
    return context


def _read(file: Path, what: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, what, error) from error


def _unreadable(file: Path, what: str, error: Exception) -> VigieError:
    why = getattr(error, "strerror", None) or error
    return VigieError(CONFIG_INVALID, f"database: {what} {file} cannot be read: {why}")
