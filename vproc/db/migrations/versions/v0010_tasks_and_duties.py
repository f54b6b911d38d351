"""The task that did an attempt elsewhere; and what one of all daemons is to do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0010"
down_revision = "0009"


def upgrade(op: Operations) -> None:
    """Expand only: a vproc of the version before goes on beside this one, tells of no task, and does every duty by itself."""
    op.add_column("transactions", sa.Column("task", sa.JSON()))
    op.create_table("duties", sa.Column("name", sa.Text(), primary_key=True), sa.Column("taken_at", sa.Double(), nullable=False))
