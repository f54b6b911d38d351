"""Alembic's files. The steps stand in `versions`; `vproc.db.migrate` runs them."""
