"""The database port: SQLAlchemy Core (async), one prefix of tables a context, Alembic migrations."""

from vigie.platform.database.port import Database

__all__ = ["Database"]
