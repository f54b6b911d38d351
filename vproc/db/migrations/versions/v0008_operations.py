"""When a file failed, and indexes for whoever looks at the whole: what runs, what came to its end and when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0008"
down_revision = "0007"


def upgrade(op: Operations) -> None:
    """Expand only: a vproc of the version before goes on beside this one, and what it fails is not counted by the hour."""
    op.add_column("files", sa.Column("failed_at", sa.Double()))
    # No other column of a failed file's row says when. Most of them were not written to since.
    op.execute("UPDATE files SET failed_at = updated_at WHERE status = 'failed'")
    for name, column, where in (
        ("ix_files_processing", "file_id", "status = 'processing'"),
        ("ix_files_failed_at", "failed_at", "failed_at IS NOT NULL"),
    ):
        op.create_index(name, "files", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    # with the seconds, so that an hour is summed up from the index alone
    whole = sa.text("completed_at IS NOT NULL")
    op.create_index("ix_files_completed_at", "files", ["completed_at", "media_s"], sqlite_where=whole, postgresql_where=whole)
