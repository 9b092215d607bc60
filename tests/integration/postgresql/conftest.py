import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postgres_installation import Installation
from servers_postgres import (
    PostgresServer,
    drop_roles,
    empty_schema,
    postgres_database,
    postgres_proxy,
    postgres_server,
    run,
)
from vigie.platform.database.settings import DatabaseConfig
from vigie.schemas import SCHEMAS

__all__ = ["empty_schema", "postgres_database", "postgres_proxy", "postgres_server"]


@contextmanager
def installation(server: PostgresServer, folder: Path) -> Iterator[Installation]:
    """An installation whose database is still to be made; dropped at the end, roles and all."""
    mark = secrets.token_hex(5)
    name, prefix = f"vigie_test_{mark}", f"t{mark}_"
    administrator = folder / "administrator.password"
    administrator.write_text(server.password)
    passwords = folder / "passwords"
    passwords.mkdir()
    for context in SCHEMAS:
        (passwords / context).write_text(secrets.token_urlsafe(18) + "\n")
    config = DatabaseConfig(
        url=f"postgresql://{server.host}:{server.port}/{name}",
        role_prefix=prefix,
        password_directory=passwords,
        connect_timeout_seconds=10,
    )
    try:
        yield Installation(server, config, administrator)
    finally:
        run(server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        run(drop_roles(server, prefix))


@pytest.fixture
def bare(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Installation]:
    """An installation whose database is still to be made."""
    with installation(postgres_server, tmp_path) as made:
        yield made


@pytest.fixture
async def migrated(bare: Installation) -> Installation:
    """The same, brought up to date."""
    await bare.administration.apply(SCHEMAS)
    return bare


@pytest.fixture(scope="session")
def untouched(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """One that is up to date and shared by tests that change nothing in it."""
    with installation(postgres_server, tmp_path_factory.mktemp("untouched")) as made:
        run(made.administration.apply(SCHEMAS))
        yield made
