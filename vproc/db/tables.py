"""The tables. What the code expects of the database; how it comes there is in `migrations`, and a test compares the two.

Every column named ``_at`` holds seconds since the epoch by the database's clock, as a double: both databases compare,
add and index it alike. To read one by hand: ``to_timestamp(created_at)``, ``datetime(created_at, 'unixepoch')``.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    case,
    literal_column,
)
from sqlalchemy.engine import Dialect

from vproc.db.clock import DatabaseNow


class SafeText(TypeDecorator[str]):
    """Text from outside. PostgreSQL holds no NUL and neither driver a lone surrogate; both can stand in an object's key
    or a file's name, and a message that names such a one must not fail for ever: they become U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """To the database."""
        if value is None:
            return None
        return "".join("\ufffd" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in str(value))


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Moves at every write, even for two writes within one tick of the clock or across a clock set back: a watcher that
# compares it never misses a change.
_LATER = case(
    (DatabaseNow() > literal_column("updated_at", Double()), DatabaseNow()),
    else_=literal_column("updated_at", Double()) + 0.001,
)

files = Table(
    "files",
    metadata,
    Column("file_id", Uuid(), primary_key=True),
    Column("owner", SafeText(), nullable=False),
    Column("file_name", SafeText(), nullable=False),
    Column("bucket", SafeText(), nullable=False),
    Column("key", SafeText(), nullable=False),
    Column("profile", SafeText(), nullable=False),
    Column("status", SafeText(), nullable=False),
    Column("content_type", SafeText()),
    Column("size_bytes", BigInteger()),
    Column("etag", SafeText()),
    Column("version_id", SafeText()),
    Column("metadata", JSON(), nullable=False),
    Column("callback_url", SafeText()),
    Column("progress", Double(), nullable=False, default=0.0),
    Column("stage", SafeText()),
    Column("original_codec", SafeText()),
    Column("target_codec", SafeText()),
    Column("processing_time_s", Double()),
    Column("attempts", Integer(), nullable=False, default=0),
    Column("error_code", SafeText()),
    Column("error_detail", SafeText()),
    Column("error_retryable", Boolean()),
    Column("run_id", SafeText()),
    Column("raw_state", SafeText(), nullable=False, default="kept"),
    Column("upload_expires_at", Double()),
    Column("completed_at", Double()),
    Column("created_at", Double(), nullable=False, default=DatabaseNow()),
    Column("updated_at", Double(), nullable=False, default=DatabaseNow(), onupdate=_LATER),
    Column("deleted_at", Double()),
    # The lease. All null where nobody holds one; an expired one stays until somebody claims or cancels.
    Column("lease_token", SafeText()),
    Column("lease_run_id", SafeText()),
    Column("lease_expires_at", Double()),
    Column("cancel_requested", Boolean(), nullable=False, default=False),
    Column("receipts", JSON(), nullable=False, default=dict),
    # How fast the job goes and how long it still takes, as its holder last said; null where nobody works on it.
    Column("speed", Double()),
    Column("eta_s", Double()),
    # Seconds of the source, of a completed file: what a quota of media counts.
    Column("media_s", Double()),
    # The upload in parts that makes the object, once it is begun. Open: the store may still hold parts that nobody joined.
    Column("upload_id", SafeText()),
    Column("upload_open", Boolean()),
    # When it last became ``failed``, whatever it is by now.
    Column("failed_at", Double()),
    # The request that announced it, as a W3C trace context: jobs and webhooks of any process go on with that trace.
    Column("traceparent", SafeText()),
    Index("ix_files_owner_completed_at", "owner", "completed_at"),
    Index(
        "ix_files_owner_status",
        "owner",
        "status",
        sqlite_where=literal_column("status") == "pending",
        postgresql_where=literal_column("status") == "pending",
    ),
    Index("ix_files_created_at_file_id", "created_at", "file_id"),
    Index("ix_files_owner_created_at_file_id", "owner", "created_at", "file_id"),
    # hash: a B-tree refuses what is longer than 2.7 kB, and a message may name any key
    Index("ix_files_key", "key", postgresql_using="hash"),
    Index(
        "ix_files_upload_expires_at",
        "upload_expires_at",
        sqlite_where=literal_column("status") == "pending",
        postgresql_where=literal_column("status") == "pending",
    ),
    Index(
        "ix_files_upload_open",
        "file_id",
        sqlite_where=literal_column("upload_open"),
        postgresql_where=literal_column("upload_open"),
    ),
    Index(
        "ix_files_raw_state",
        "raw_state",
        sqlite_where=literal_column("raw_state") == "delete_pending",
        postgresql_where=literal_column("raw_state") == "delete_pending",
    ),
    Index(
        "ix_files_processing",
        "file_id",
        sqlite_where=literal_column("status") == "processing",
        postgresql_where=literal_column("status") == "processing",
    ),
    Index(
        "ix_files_failed_at",
        "failed_at",
        sqlite_where=literal_column("failed_at").is_not(None),
        postgresql_where=literal_column("failed_at").is_not(None),
    ),
    Index(
        "ix_files_completed_at",
        "completed_at",
        "media_s",
        sqlite_where=literal_column("completed_at").is_not(None),
        postgresql_where=literal_column("completed_at").is_not(None),
    ),
)

transactions = Table(
    "transactions",
    metadata,
    # SQLite numbers rows by itself only for INTEGER, by exactly that name
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("file_id", Uuid(), ForeignKey("files.file_id"), nullable=False),
    Column("run_id", SafeText(), nullable=False),
    Column("token", SafeText(), nullable=False),
    Column("attempt", Integer(), nullable=False),
    Column("worker", SafeText(), nullable=False),
    Column("started_at", Double(), nullable=False),
    Column("ended_at", Double()),
    Column("outcome", SafeText(), nullable=False),
    # Whether it counts against the attempts since the file was last opened: files.attempts is the number of these.
    Column("counted", Boolean(), nullable=False),
    Column("error_code", SafeText()),
    Column("error_detail", SafeText()),
    Column("stage_seconds", JSON(), nullable=False, default=dict),
    Column("bytes_in", BigInteger(), nullable=False, default=0),
    Column("bytes_out", BigInteger(), nullable=False, default=0),
    Column("swept_at", Double()),
    Column("cpu_s", Double()),
    Column("peak_memory_bytes", BigInteger()),
    Column("s3_requests", Integer()),
    Column("sqs_requests", Integer()),
    Column("speed", Double()),
    Column("task", JSON(none_as_null=True)),
    UniqueConstraint("file_id", "run_id"),
    Index(
        "ix_transactions_unswept",
        "id",
        sqlite_where=literal_column("swept_at").is_(None),
        postgresql_where=literal_column("swept_at").is_(None),
    ),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", SafeText(), primary_key=True),
    Column("file_id", Uuid(), ForeignKey("files.file_id"), nullable=False),
    Column("type", SafeText(), nullable=False),
    Column("payload", SafeText(), nullable=False),
    Column("created_at", Double(), nullable=False),
    Column("delivered_at", Double()),
    Column("attempts", Integer(), nullable=False, default=0),
    Column("next_attempt_at", Double(), nullable=False),
    # Whom it goes to, that one host's silence holds up no other; the token of whoever sends it; how the last attempt ended.
    Column("host", SafeText()),
    Column("lease_token", SafeText()),
    Column("last_result", SafeText()),
    Column("failed_at", Double()),
    Index(
        "ix_outbox_due",
        "next_attempt_at",
        sqlite_where=literal_column("delivered_at").is_(None) & literal_column("failed_at").is_(None),
        postgresql_where=literal_column("delivered_at").is_(None) & literal_column("failed_at").is_(None),
    ),
    Index("ix_outbox_file_id", "file_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", SafeText(), primary_key=True),
    Column("owner", SafeText(), nullable=False),
    Column("scopes", JSON(), nullable=False),
    Column("digest", SafeText(), nullable=False),
    Column("created_at", Double(), nullable=False, default=DatabaseNow()),
    Column("last_used_at", Double()),
    Column("revoked_at", Double()),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", SafeText(), primary_key=True),
    Column("owner", SafeText(), nullable=False),
    Column("scopes", JSON(), nullable=False),
    Column("key_id", SafeText()),
    Column("expires_at", Double(), nullable=False),
    Index("ix_sessions_expires_at", "expires_at"),
    Index("ix_sessions_key_id", "key_id"),
)

kept_secrets = Table(
    "secrets",
    metadata,
    Column("name", SafeText(), primary_key=True),
    Column("value", LargeBinary(), nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", SafeText(), primary_key=True),
    Column("key", SafeText(), primary_key=True),
    Column("digest", SafeText(), nullable=False),
    Column("file_id", Uuid(), ForeignKey("files.file_id"), nullable=False),
    Column("created_at", Double(), nullable=False, default=DatabaseNow()),
    Index("ix_idempotency_keys_created_at", "created_at"),
    Index("ix_idempotency_keys_file_id", "file_id"),
)

disabled_endpoints = Table(
    "disabled_endpoints",
    metadata,
    # SHA-256 of the address: a B-tree refuses what is longer than 2.7 kB
    Column("digest", SafeText(), primary_key=True),
    Column("url", SafeText(), nullable=False),
    Column("disabled_at", Double(), nullable=False),
)

duties = Table(
    "duties",
    metadata,
    Column("name", SafeText(), primary_key=True),
    Column("taken_at", Double(), nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("subject", SafeText(), primary_key=True),
    Column("email", SafeText()),
    Column("name", SafeText()),
    Column("created_at", Double(), nullable=False, default=DatabaseNow()),
    Column("last_log_in_at", Double(), nullable=False, default=DatabaseNow()),
)
