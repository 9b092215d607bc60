"""A database of its own, with roles of its own, as `vigie migrate` makes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers_postgres import PostgresServer
from vigie.platform.database.postgresql.administration import Administration
from vigie.platform.database.settings import DatabaseConfig


@dataclass(frozen=True)
class Installation:
    """A database of its own with roles of its own, and what its services are configured with."""

    server: PostgresServer
    config: DatabaseConfig
    administrator_file: Path

    @property
    def administration(self) -> Administration:
        return Administration(self.config, self.server.user, self.administrator_file)

    def changed(self, **changes: Any) -> DatabaseConfig:
        return DatabaseConfig(**self.config.model_dump() | changes)

    async def execute(self, statement: str) -> list[Any]:
        return await self.server.execute(statement, self.config.address.name)
