"""Which upload in parts makes a file's object."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0006"
down_revision = "0005"


def upgrade(op: Operations) -> None:
    """Expand only: a vproc of the version before goes on beside this one, and its files have no such upload."""
    op.add_column("files", sa.Column("upload_id", sa.Text()))
    op.add_column("files", sa.Column("upload_open", sa.Boolean()))
    op.create_index(
        "ix_files_upload_open",
        "files",
        ["file_id"],
        sqlite_where=sa.literal_column("upload_open"),
        postgresql_where=sa.literal_column("upload_open"),
    )
