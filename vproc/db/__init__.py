"""The catalog over SQLAlchemy Core: SQLite and PostgreSQL by the same statements. Start reading at `vproc.db.catalog`."""
