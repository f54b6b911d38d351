"""What the catalog is told and answers: claims, leases, completions, pages. Values only; `ports.Catalog` is the port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from vproc.core.files import File, ObjectVersion
from vproc.errors import ErrorCode


class ClaimState(StrEnum):
    """What became of a claim."""

    GRANTED = "granted"
    BUSY = "busy"
    """Another holder's lease stands. The receipt was stored in its row for the owner to adopt."""
    FINISHED = "finished"
    """The file is completed, failed or cancelled already."""
    DELETED = "deleted"
    """The file was deleted by its owner; only a tombstone stands."""
    EXHAUSTED = "exhausted"
    """All attempts are used up: it crashed its workers. No lease was given."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Who wants to work on what. A file that the catalog has never seen is made from it.

    ``reopen``: the message came back from the dead letters, so a failed file starts anew with no attempt counted.
    ``traceparent``: the trace of a file that has none yet.
    ``ttl_s``: the lease ends so many seconds from now by the database's clock, no later than the message's visibility.
    """

    file_id: UUID
    version: ObjectVersion
    owner: str
    file_name: str
    profile: str
    metadata: Mapping[str, str]
    worker: str
    run_id: str
    ttl_s: float
    max_attempts: int
    message_id: str
    receipt_handle: str
    reopen: bool = False
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a file. ``token`` fences every write: a write under a token that is no longer the row's
    raises `LeaseLostError` and changes nothing."""

    file_id: UUID
    token: str
    run_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a claim. ``file`` is None only for DELETED; ``lease`` stands only for GRANTED.

    ``earlier_codes``: error codes of this file's earlier counted attempts since it was last opened, oldest first.
    """

    state: ClaimState
    file: File | None = None
    lease: Lease | None = None
    earlier_codes: tuple[ErrorCode, ...] = ()


@dataclass(frozen=True, slots=True)
class LeaseView:
    """What a holder learns each time it writes: whether its owner cancelled, and the newest receipt handle by message id."""

    cancel_requested: bool
    receipts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AttemptFigures:
    """What an attempt took, for its row in ``transactions``. ``speed``: seconds of source in a second of the attempt, None where
    nothing was encoded. ``task``: which task did it elsewhere and how that ended, None where none did."""

    stage_seconds: Mapping[str, float]
    bytes_in: int = 0
    bytes_out: int = 0
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    s3_requests: int | None = None
    sqs_requests: int | None = None
    speed: float | None = None
    task: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What a committed manifest says of its file. ``run_id`` is the winning run, which may be another attempt's; ``source`` the
    version that this run processed, which need not be the one that stands under the key by now.
    ``media_s``: the source's seconds."""

    run_id: str
    source: ObjectVersion
    original_codec: str | None
    target_codec: str | None
    delete_raw: bool
    media_s: float | None = None


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that the API announces: nothing is uploaded yet. ``traceparent``: the trace that its jobs and webhooks belong to."""

    file_id: UUID
    owner: str
    file_name: str
    bucket: str
    key: str
    profile: str
    content_type: str | None
    size_bytes: int | None
    metadata: Mapping[str, str]
    callback_url: str | None
    upload_expires_at: datetime | None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of files, newest first. ``cursor`` is opaque; None at the end."""

    files: tuple[File, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class OrphanRun:
    """An attempt that ended without being the winner and whose output prefix was not swept yet."""

    file_id: UUID
    run_id: str
