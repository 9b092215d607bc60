"""Section ``[database]`` of the configuration: where the contexts keep their state."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, model_validator

from vigie.platform.config.section import ConfigSection, Suspicion
from vigie.platform.grpc.settings import is_loopback

_DEFAULT_PORT: Final = 5432
_SCHEMES: Final = ("postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a PostgreSQL database is. IPv6 addresses stand without brackets."""

    host: str
    port: int
    name: str
    user: str | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.name}"


def parse_url(url: str) -> DatabaseAddress:
    """The address in ``postgresql://[user@]host[:port]/database``.

    Raises:
        ValueError: it is none, or carries a password or parameters.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError("url must begin with postgresql://")
    if parts.password is not None:
        raise ValueError("url must not carry the password; give password_file")
    if parts.query or parts.fragment:
        raise ValueError("url takes no parameters; there are keys for what they say")
    name = unquote(parts.path.removeprefix("/"))
    if not parts.hostname or not name or "/" in name:
        raise ValueError("url must be postgresql://host:port/database")
    user = unquote(parts.username) if parts.username else None
    return DatabaseAddress(parts.hostname, parts.port or _DEFAULT_PORT, name, user)


class DatabaseConfig(ConfigSection):
    """Where the contexts keep their state: PostgreSQL, or the embedded file."""

    url: str | None = Field(
        default=None,
        description="PostgreSQL database, postgresql://host:port/name; unset: the embedded file in"
        " the data directory. Without a user, each context has its own role (`vigie_<context>`)"
        " and can read nothing of the others; with one, all contexts share that role.",
    )
    role_prefix: str = Field(
        default="vigie_",
        pattern=r"^[a-z_][a-z0-9_]{0,30}$",
        description="What the roles of the contexts begin with. Roles belong to the whole server:"
        " two installations on one server need two prefixes.",
    )
    password_file: Path | None = Field(
        default=None,
        description="File with the password of the user in `url`; read again for every new"
        " connection, so that it can be changed without a restart.",
    )
    password_directory: Path | None = Field(
        default=None,
        description="Folder with a file for each context, named as the context, that holds the"
        " password of its role; read again for every new connection.",
    )
    tls: bool | None = Field(
        default=None,
        description="Encrypt, and verify the name and certificate of the server; unset: when"
        " `ca_file` is given.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="Authorities of the server's certificate, PEM; unset: those of the system."
        " Read again for every new connection.",
    )
    certificate_file: Path | None = Field(
        default=None, description="Client certificate for mutual TLS, PEM."
    )
    key_file: Path | None = Field(
        default=None, description="Private key of the client certificate, PEM."
    )
    pool_size: int = Field(
        default=5,
        ge=1,
        le=100,
        description="Connections of a context that are kept open for reading. One more writes.",
    )
    pool_overflow: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Further connections for reading, opened when needed and closed afterwards.",
    )
    pool_wait_seconds: float = Field(
        default=10.0, gt=0, description="Longest wait for a connection before giving up."
    )
    connect_timeout_seconds: float = Field(
        default=5.0, gt=0, description="Longest time to open a connection."
    )
    statement_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Longest time of one statement; the server ends it then. Also how long a"
        " transaction may stand idle before the server ends it and lets others write.",
    )
    lock_timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        description="Longest wait for the turn to write: writers of a context take turns, in all"
        " its processes.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.url is None:
            if self.password_file or self.password_directory:
                raise ValueError("passwords are given but no url: give both or neither")
            return self
        address = parse_url(self.url)
        if address.user is None and self.password_file is not None:
            raise ValueError(
                "password_file belongs to a user in url; for one role a context give"
                " password_directory"
            )
        if address.user is not None and self.password_directory is not None:
            raise ValueError(
                "password_directory is for one role a context; for the user in url give"
                " password_file"
            )
        if self.tls is False and self.ca_file is not None:
            raise ValueError("ca_file is given but tls = false: remove one of them")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together; give both or neither")
        return self

    @property
    def address(self) -> DatabaseAddress:
        """The parts of ``url``.

        Raises:
            ValueError: it is not set.
        """
        if self.url is None:
            raise ValueError("no url is set: the database is embedded")
        return parse_url(self.url)

    @property
    def encrypts(self) -> bool:
        """Whether connections are encrypted."""
        return self.tls if self.tls is not None else self.ca_file is not None

    def role_of(self, context: str) -> str:
        """The role by which a context connects."""
        return self.address.user or f"{self.role_prefix}{context}"

    def owner_of(self, context: str) -> str:
        """The role that owns the tables of a context, by which nobody logs in."""
        return f"{self.role_prefix}{context}_owner"

    def password_file_of(self, context: str) -> Path | None:
        """Where the password of that role is, if it has one."""
        if self.password_directory is not None:
            return self.password_directory / context
        return self.password_file

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        if self.url is None:
            return ()
        found = []
        if not self.encrypts and not is_loopback(self.address.host):
            message = "passwords and records of accesses cross the network in plain text"
            found.append(Suspicion("tls", message, "give ca_file, or tls = true"))
        if self.address.user is not None:
            message = "one role for every context: nothing keeps a context from others' tables"
            found.append(Suspicion("url", message, "leave the user out; run `vigie migrate`"))
        return tuple(found)
