import secrets
from collections.abc import Iterator
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


@pytest.fixture
def bare(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Installation]:
    """An installation whose database is still to be made."""
    mark = secrets.token_hex(5)
    name, prefix = f"vigie_test_{mark}", f"t{mark}_"
    administrator = tmp_path / "administrator.password"
    administrator.write_text(postgres_server.password)
    passwords = tmp_path / "passwords"
    passwords.mkdir()
    for context in SCHEMAS:
        (passwords / context).write_text(secrets.token_urlsafe(18) + "\n")
    config = DatabaseConfig(
        url=f"postgresql://{postgres_server.host}:{postgres_server.port}/{name}",
        role_prefix=prefix,
        password_directory=passwords,
        connect_timeout_seconds=10,
    )
    yield Installation(postgres_server, config, administrator)
    run(postgres_server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    run(drop_roles(postgres_server, prefix))


@pytest.fixture
async def migrated(bare: Installation) -> Installation:
    """The same, brought up to date."""
    await bare.administration.apply(SCHEMAS)
    return bare
