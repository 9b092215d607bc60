from databases import database_kind
from servers_postgres import postgres_database, postgres_server

__all__ = ["database_kind", "postgres_database", "postgres_server"]
