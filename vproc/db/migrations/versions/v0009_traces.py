"""The trace that a file belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0009"
down_revision = "0008"


def upgrade(op: Operations) -> None:
    """Expand only: a vproc of the version before goes on beside this one, and what it announces belongs to no trace."""
    op.add_column("files", sa.Column("traceparent", sa.Text()))
