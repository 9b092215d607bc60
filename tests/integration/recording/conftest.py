import pytest

from databases import database_kind
from servers_postgres import postgres_database, postgres_server

__all__ = ["database_kind", "postgres_database", "postgres_server"]


@pytest.fixture(autouse=True)
def _on_every_database(database_kind: str) -> None:
    """Recording is tried whole on each."""
