"""What an attempt used, and how fast a job goes: null in rows of before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    """Expand only: a vproc of the version before goes on beside this one, and leaves them null."""
    op.add_column("files", sa.Column("speed", sa.Double()))
    op.add_column("files", sa.Column("eta_s", sa.Double()))
    op.add_column("transactions", sa.Column("cpu_s", sa.Double()))
    op.add_column("transactions", sa.Column("peak_memory_bytes", sa.BigInteger()))
    op.add_column("transactions", sa.Column("s3_requests", sa.Integer()))
    op.add_column("transactions", sa.Column("sqs_requests", sa.Integer()))
    op.add_column("transactions", sa.Column("speed", sa.Double()))
