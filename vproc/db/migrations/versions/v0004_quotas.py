"""Idempotency keys, and what quotas are counted by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0004"
down_revision = "0003"


def upgrade(op: Operations) -> None:
    """Expand only: a vproc of the version before goes on beside this one, and its files count no media."""
    op.add_column("files", sa.Column("media_s", sa.Double()))
    op.create_index("ix_files_owner_completed_at", "files", ["owner", "completed_at"])
    op.create_index(
        "ix_files_owner_status",
        "files",
        ["owner", "status"],
        sqlite_where=sa.literal_column("status") == "pending",
        postgresql_where=sa.literal_column("status") == "pending",
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(["file_id"], ["files.file_id"], name="fk_idempotency_keys_file_id_files"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_index("ix_idempotency_keys_file_id", "idempotency_keys", ["file_id"])
