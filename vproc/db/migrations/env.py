"""Where alembic's command line comes in, which is for writing a new step only; `vproc migrate` does not pass here.

After changing `vproc/db/tables.py`, in the repository:

    alembic -c vproc/db/migrations/alembic.ini revision --autogenerate --rev-id 0002 -m "what it brings"

No database is needed: the tables are compared with an SQLite in memory on which all the steps have just been run.
"""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import create_engine

from vproc.db.migrate import upgrade
from vproc.db.tables import SafeText, metadata


def as_plain_text(_kind: str, item: Any, _autogenerate: object) -> str | Literal[False]:
    """A step must not change with the code: it names SQLAlchemy's types only. False leaves it to alembic."""
    return "sa.Text()" if isinstance(item, SafeText) else False


def compare() -> None:
    """Let alembic see what the steps make and what the tables are."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        upgrade(connection, context.script)
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, render_item=as_plain_text)
        context.run_migrations()
    engine.dispose()


if __name__ == "env_py":  # as alembic names it: importing this file does nothing
    compare()
