"""A file and its attempts: the states, which change may follow which, and the rows as values. No storage here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from vproc.errors import ErrorCode

DEFAULT_OWNER = "default"


class Status(StrEnum):
    """A file's ``processing_status``, as the API shows it."""

    PENDING = "pending"
    UPLOADED = "uploaded"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        """Nothing more happens by itself."""
        return self in TERMINAL


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})

CANCELLABLE = frozenset({Status.PENDING, Status.UPLOADED, Status.PROCESSING})
RETRYABLE = frozenset({Status.FAILED, Status.CANCELLED})
CLAIMABLE = frozenset({Status.PENDING, Status.UPLOADED, Status.PROCESSING, Status.EXPIRED})
"""States in which a message may start work. ``expired`` is revived by a late event; ``processing`` only when no lease stands."""


class Stage(StrEnum):
    """Where a job stands: the label of ``vproc_stage_duration_seconds`` and the keys of an attempt's times."""

    DOWNLOAD = "download"
    PROBE = "probe"
    ENCODE = "encode"
    VERIFY = "verify"
    PUBLISH = "publish"
    FINISH = "finish"


class Outcome(StrEnum):
    """How an attempt ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    REJECTED = "rejected"
    RETRIED = "retried"
    DEAD = "dead"
    CANCELLED = "cancelled"
    DRAINED = "drained"
    LOST = "lost"
    """The lease was lost, or the process died: closed by whoever claims next."""


class RawState(StrEnum):
    """What is to become of the raw object."""

    KEPT = "kept"
    DELETE_PENDING = "delete_pending"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class FileError:
    """Why a file failed. ``retryable``: a person may try again by ``retry``."""

    code: ErrorCode
    detail: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of one object, as HEAD told it. ``etag`` without quotes; ``version_id`` None on an unversioned bucket."""

    bucket: str
    key: str
    etag: str
    size_bytes: int
    version_id: str | None = None
    content_type: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def identity(self) -> str:
        """The version id where there is one, else the ETag."""
        return self.version_id or self.etag


@dataclass(frozen=True, slots=True)
class File:
    """One row of ``files``. Times are aware UTC. ``progress`` is 0.0 to 1.0. ``speed`` is seconds of source that are
    encoded in a second, ``eta_s`` what is left: both only while somebody works on it and can tell. ``upload_id`` is the
    upload in parts that makes its object; while it is open, the store may hold parts that nobody joined. ``traceparent``
    is the trace that it belongs to (W3C), and no user's business."""

    file_id: UUID
    owner: str
    file_name: str
    bucket: str
    key: str
    profile: str
    status: Status
    created_at: datetime
    updated_at: datetime
    content_type: str | None = None
    size_bytes: int | None = None
    etag: str | None = None
    version_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    callback_url: str | None = None
    progress: float = 0.0
    stage: Stage | None = None
    speed: float | None = None
    eta_s: float | None = None
    original_codec: str | None = None
    target_codec: str | None = None
    processing_time_s: float | None = None
    attempts: int = 0
    error: FileError | None = None
    run_id: str | None = None
    raw_state: RawState = RawState.KEPT
    upload_expires_at: datetime | None = None
    completed_at: datetime | None = None
    upload_id: str | None = None
    upload_open: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of ``transactions``: one processing attempt. ``run_id`` names its output prefix; times in seconds by stage. What it
    used is None of an attempt whose process died, or that an earlier version made. ``task``: the task that did it elsewhere, and
    how that ended."""

    file_id: UUID
    run_id: str
    attempt: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome
    error_code: ErrorCode | None
    error_detail: str | None
    stage_seconds: dict[str, float]
    bytes_in: int
    bytes_out: int
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    s3_requests: int | None = None
    sqs_requests: int | None = None
    speed: float | None = None
    task: dict[str, object] | None = None
