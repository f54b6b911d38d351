"""The first schema: files with their leases, transactions (the attempts), and the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    """Everything, on an empty database."""
    _files(op)
    _transactions(op)
    _outbox(op)


def _files(op: Operations) -> None:
    op.create_table(
        "files",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text()),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("etag", sa.Text()),
        sa.Column("version_id", sa.Text()),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("callback_url", sa.Text()),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("stage", sa.Text()),
        sa.Column("original_codec", sa.Text()),
        sa.Column("target_codec", sa.Text()),
        sa.Column("processing_time_s", sa.Double()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.Text()),
        sa.Column("error_detail", sa.Text()),
        sa.Column("error_retryable", sa.Boolean()),
        sa.Column("run_id", sa.Text()),
        sa.Column("raw_state", sa.Text(), nullable=False),
        sa.Column("upload_expires_at", sa.Double()),
        sa.Column("completed_at", sa.Double()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double()),
        sa.Column("lease_token", sa.Text()),
        sa.Column("lease_run_id", sa.Text()),
        sa.Column("lease_expires_at", sa.Double()),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("receipts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("file_id", name="pk_files"),
    )
    op.create_index("ix_files_created_at_file_id", "files", ["created_at", "file_id"])
    op.create_index("ix_files_key", "files", ["key"], postgresql_using="hash")
    op.create_index("ix_files_owner_created_at_file_id", "files", ["owner", "created_at", "file_id"])
    op.create_index(
        "ix_files_raw_state",
        "files",
        ["raw_state"],
        sqlite_where=sa.text("raw_state = 'delete_pending'"),
        postgresql_where=sa.text("raw_state = 'delete_pending'"),
    )
    op.create_index(
        "ix_files_upload_expires_at",
        "files",
        ["upload_expires_at"],
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )


def _transactions(op: Operations) -> None:
    op.create_table(
        "transactions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("error_code", sa.Text()),
        sa.Column("error_detail", sa.Text()),
        sa.Column("stage_seconds", sa.JSON(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("swept_at", sa.Double()),
        sa.ForeignKeyConstraint(["file_id"], ["files.file_id"], name="fk_transactions_file_id_files"),
        sa.PrimaryKeyConstraint("id", name="pk_transactions"),
        sa.UniqueConstraint("file_id", "run_id", name="uq_transactions_file_id_run_id"),
    )
    op.create_index(
        "ix_transactions_unswept",
        "transactions",
        ["id"],
        sqlite_where=sa.text("swept_at IS NULL"),
        postgresql_where=sa.text("swept_at IS NULL"),
    )


def _outbox(op: Operations) -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("delivered_at", sa.Double()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["files.file_id"], name="fk_outbox_file_id_files"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_file_id", "outbox", ["file_id"])
    op.create_index(
        "ix_outbox_next_attempt_at",
        "outbox",
        ["next_attempt_at"],
        sqlite_where=sa.text("delivered_at IS NULL"),
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
