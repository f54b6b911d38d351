"""The task that did an attempt elsewhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0010"
down_revision = "0009"


def upgrade(op: Operations) -> None:
    """Expand only: a vproc of the version before goes on beside this one, and tells of no task."""
    op.add_column("transactions", sa.Column("task", sa.JSON()))
