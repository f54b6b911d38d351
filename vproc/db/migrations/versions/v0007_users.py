"""Users, as a log-in told of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0007"
down_revision = "0006"


def upgrade(op: Operations) -> None:
    """A table that a vproc of the version before knows nothing of."""
    op.create_table(
        "users",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("email", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("last_log_in_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_users"),
    )
