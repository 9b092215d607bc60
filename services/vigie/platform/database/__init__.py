"""The database port: SQLAlchemy Core (async); one prefix of tables and Alembic branch a context."""

from vigie.platform.database.port import Database

__all__ = ["Database"]
