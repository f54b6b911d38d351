"""What delivers webhooks notes of each event, and the endpoints that want no more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0005"
down_revision = "0004"

_DUE = sa.text("delivered_at IS NULL AND failed_at IS NULL")


def upgrade(op: Operations) -> None:
    """Columns and a table that a vproc of the version before knows nothing of; an index that knows what was given up."""
    for name, kind in (("host", sa.Text()), ("lease_token", sa.Text()), ("last_result", sa.Text()), ("failed_at", sa.Double())):
        op.add_column("outbox", sa.Column(name, kind))
    op.drop_index("ix_outbox_next_attempt_at", "outbox")
    op.create_index("ix_outbox_due", "outbox", ["next_attempt_at"], sqlite_where=_DUE, postgresql_where=_DUE)
    op.create_table(
        "disabled_endpoints",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("disabled_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_disabled_endpoints"),
    )
