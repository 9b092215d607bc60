"""The database port over PostgreSQL; imported only where a database url is configured."""
