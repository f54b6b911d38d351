"""What the inside asks of the outside, each as narrow as what is called. Adapters: `aws`, `db`, `workers.runners`.

Every method may raise `UnavailableError` when its dependency is away, and may be called again after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from uuid import UUID

from vproc.core.dead_letters import DeadLetter
from vproc.core.files import Attempt, File, FileError, ObjectVersion, Outcome, RawState, Stage, Status
from vproc.core.leases import AttemptFigures, Claim, ClaimRequest, Completion, Lease, LeaseView, NewFile, OrphanRun, Page
from vproc.errors import ErrorCode

# --- the queue -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery. ``asked_at`` is the monotonic time before the receive call: visibility ends no earlier than
    ``asked_at`` + the visibility timeout."""

    message_id: str
    receipt_handle: str
    body: str
    asked_at: float
    sent_at: datetime | None = None
    receive_count: int = 1
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Approximate numbers of messages, as SQS tells them."""

    visible: int
    in_flight: int
    delayed: int


class Queue(Protocol):
    """At-least-once delivery with a visibility timeout, and a place for the dead."""

    async def receive(self, *, max_messages: int, wait_s: int) -> list[Message]:
        """Long poll. Never cancel it where messages may be lost: see `workers.consumer`."""
        ...

    async def extend(self, receipt_handle: str, *, timeout_s: int) -> bool:
        """Keep a message invisible for ``timeout_s`` from now. False: the handle no longer holds."""
        ...

    async def release(self, receipt_handle: str, *, delay_s: int = 0) -> None:
        """Give a message back, visible after ``delay_s``. A handle that no longer holds is no error."""
        ...

    async def delete(self, receipt_handle: str) -> None:
        """Acknowledge, for ever. A handle that no longer holds is no error."""
        ...

    async def send(self, body: str) -> None:
        """Put a message of our own in the queue."""
        ...

    async def dead_letter(self, message: Message, *, code: ErrorCode, detail: str, file: File | None = None) -> None:
        """Copy a message to the dead-letter queue with its reason and its file. The caller deletes the original afterwards."""
        ...

    async def depths(self) -> dict[str, QueueDepth]:
        """Depth of ``main`` and, where there is one, ``dlq``."""
        ...

    async def check(self) -> None:
        """Return when the queue answers; raise `UnavailableError` otherwise."""
        ...


# --- the object store ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What stands in the store. ``sha256``: base64 as in ``x-amz-checksum-sha256`` (with ``-N`` where it was uploaded in
    N parts); None where the store keeps none."""

    key: str
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A part of a local file: the body of an upload. ``sha256`` is the hex digest of those bytes."""

    path: Path
    offset: int
    size_bytes: int
    sha256: str


class DeadLetters(Protocol):
    """The dead letters, to be looked at."""

    def held(self, *, most: int | None = None) -> AbstractAsyncContextManager[list[DeadLetter]]:
        """All letters, or so many, hidden from others while the block lasts."""
        ...


class ObjectStore(Protocol):
    """One bucket."""

    bucket: str

    async def head(self, key: str, *, version_id: str | None = None) -> ObjectVersion | None:
        """The object's current version; None where there is none."""
        ...

    async def download(self, version: ObjectVersion, to: Path, *, on_piece: Callable[[int, int], None] | None = None) -> None:
        """Fetch exactly that version by parallel ranges, from the start on. Raises `TransientError` ``source_changed`` when it
        was replaced or removed. ``on_piece`` hears the offset and the size of each piece written, no byte twice."""
        ...

    async def fetch(self, version: ObjectVersion, to: Path, *, start: int, end: int) -> None:
        """Fetch the bytes from ``start`` up to ``end`` into their place in a file that `download` is filling. Raises likewise."""
        ...

    async def get(self, key: str) -> bytes | None:
        """A small object's bytes; None where there is none."""
        ...

    async def put(self, key: str, body: bytes, *, content_type: str, if_absent: bool = False) -> bool:
        """Write a small object. False: ``if_absent`` was asked and one stands already."""
        ...

    async def put_file(self, key: str, part: FileSlice, *, content_type: str) -> str:
        """Write a local file, or a part of it, in parts when it is large; the checksum that `stat` should tell of it."""
        ...

    async def stat(self, key: str) -> StoredObject | None:
        """Size and checksum of what stands; None where nothing does."""
        ...

    async def read_sha256(self, key: str) -> str | None:
        """Hex SHA-256 by reading the whole object: for stores that keep no checksum. None where nothing stands."""
        ...

    async def delete(self, version: ObjectVersion) -> bool:
        """Delete that version only. False: another version stands there by now, and nothing was deleted."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every object under the prefix, and multipart uploads begun there; how many objects that were."""
        ...

    def list(self, prefix: str) -> AsyncIterator[tuple[str, int, datetime]]:
        """Key, size in bytes and time of last change (aware UTC) of every object under the prefix, sorted by key."""
        ...

    def unfinished_uploads(self) -> AsyncIterator[tuple[str, str, datetime]]:
        """Key, upload id and time of begin (aware UTC) of every upload in parts that was neither completed nor aborted."""
        ...

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Give up an upload in parts. One that is gone already is no error."""
        ...

    async def check(self) -> None:
        """Return when the bucket answers; raise `UnavailableError` otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request that anybody may make until ``expires_at`` (aware UTC). The headers are signed: send them as they are."""

    method: str
    url: str
    headers: dict[str, str]
    expires_at: datetime


class Presigner(Protocol):
    """Signs addresses. It makes no request."""

    async def put(self, key: str, *, content_type: str, size_bytes: int | None, metadata: Mapping[str, str]) -> PresignedRequest:
        """Address of one upload to the raw bucket."""
        ...

    async def get_raw(self, key: str, *, file_name: str) -> PresignedRequest:
        """Address to download an original, saved under ``file_name``."""
        ...

    async def get_processed(self, key: str, *, file_name: str | None = None) -> PresignedRequest:
        """Address of an output; saved under ``file_name`` where given."""
        ...


# --- the catalog -----------------------------------------------------------------------------------------------------


class Catalog(Protocol):
    """Files, their attempts, their leases and the outbox. All times are the database's."""

    async def create(self, new: NewFile) -> File:
        """A new ``pending`` file."""
        ...

    async def get(self, file_id: UUID) -> File | None:
        """The file; None where there is none or it was deleted."""
        ...

    async def find_by_key(self, bucket: str, key: str) -> File | None:
        """The newest file of that object, deleted ones left out."""
        ...

    async def list(self, *, owner: str | None, status: Status | None, limit: int, cursor: str | None) -> Page:
        """Files, newest first; of every owner where ``owner`` is None. Raises `InvalidRequestError` for a broken cursor."""
        ...

    async def attempts(self, file_id: UUID) -> tuple[Attempt, ...]:
        """The file's attempts, oldest first."""
        ...

    async def changed(self, file_id: UUID, *, within_s: float) -> None:
        """Return when this process wrote to that file, or after ``within_s``: a hint to read it again."""
        ...

    async def request_cancel(self, file_id: UUID) -> File:
        """Cancel: at once where nobody works on it, else by telling the holder. `NotFoundError`, `ConflictError`."""
        ...

    async def reopen(self, file_id: UUID) -> File:
        """``failed`` or ``cancelled`` becomes ``uploaded`` with no attempt counted. `NotFoundError`, `ConflictError`."""
        ...

    async def bury(self, file_id: UUID) -> File:
        """Leave only a tombstone, which acknowledges redeliveries; the file as it was. Not from ``processing``:
        `NotFoundError`, `ConflictError`."""
        ...

    async def record_missing(self, new: NewFile, error: FileError) -> None:
        """A message named an object that does not stand: a ``failed`` row, unless one of that id stands already in a
        terminal state."""
        ...

    async def claim(self, request: ClaimRequest) -> Claim:
        """Take the lease if it is free, count the attempt, open its row in ``transactions``; close a dead holder's."""
        ...

    async def renew(self, lease: Lease, *, ttl_s: float) -> LeaseView:
        """Extend a lease that still stands. Raises `LeaseLostError`."""
        ...

    async def report(
        self, lease: Lease, *, progress: float, stage: Stage, speed: float | None = None, eta_s: float | None = None
    ) -> LeaseView:
        """Write progress (never backwards within an attempt), speed and seconds left. Raises `LeaseLostError`."""
        ...

    async def complete(self, lease: Lease, completion: Completion, figures: AttemptFigures) -> File:
        """One transaction: ``completed``, the attempt closed, the outbox row, the raw's deletion pending. `LeaseLostError`."""
        ...

    async def fail(self, lease: Lease, error: FileError, outcome: Outcome, figures: AttemptFigures) -> None:
        """``failed`` (or ``cancelled``, by the outcome), the attempt closed, the outbox row. Raises `LeaseLostError`."""
        ...

    async def fail_unclaimed(self, file_id: UUID, error: FileError) -> None:
        """``failed`` for a file whose attempts are used up without anybody holding it; the outbox row."""
        ...

    async def release(
        self, lease: Lease, outcome: Outcome, figures: AttemptFigures, *, error: FileError | None, count_attempt: bool
    ) -> None:
        """Give the file back as ``uploaded``; the error stays readable on it. A lease already lost is no error."""
        ...

    async def raw_deleted(self, file_id: UUID) -> None:
        """The raw object is gone."""
        ...

    async def pending_raw_deletes(self, *, limit: int, skip: int = 0) -> tuple[File, ...]:
        """Completed files whose raw still stands although it should not, longest waiting first, but for the first ``skip``."""
        ...

    async def abandoned(self, *, before: datetime, limit: int, skip: int = 0) -> tuple[File, ...]:
        """Files that were uploaded and are not finished, that nobody holds, and that last changed before that time."""
        ...

    async def expire_pending(self, *, grace_s: float) -> int:
        """``pending`` files whose address expired more than ``grace_s`` ago become ``expired``; how many."""
        ...

    async def restore(self, new: NewFile, completion: Completion, *, completed_at: datetime, raw_state: RawState) -> bool:
        """A ``completed`` file as its manifest tells of it. False: a row stands that is finished, deleted or held."""
        ...

    async def orphan_runs(self, *, limit: int) -> tuple[OrphanRun, ...]:
        """Runs whose prefix is to be swept. A file that is being processed by a standing lease keeps that lease's run."""
        ...

    async def run_swept(self, run: OrphanRun) -> None:
        """That run's prefix holds nothing any more."""
        ...

    async def check(self) -> None:
        """Return when the database answers; raise `UnavailableError` otherwise."""
        ...


# --- children --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What a confined child may use. ``wall_s`` counts real time; ``stall_s`` the time in which it says nothing new
    (`Runner.run`); ``output_bytes`` is the largest file, ``directory_bytes`` all files of its directory together."""

    wall_s: float
    cpu_s: int
    memory_bytes: int
    output_bytes: int
    directory_bytes: int
    stall_s: float | None = None


class StopReason(StrEnum):
    """Why the runner ended a child by itself."""

    WALL = "wall"
    STALL = "stall"
    DIRECTORY = "directory"
    STDOUT = "stdout"


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a child ended. ``returncode`` is negative for a signal. ``stderr`` is its last 16 KiB, control characters
    escaped. ``stopped``: the runner ended it, and why."""

    returncode: int
    stdout: bytes
    stderr: str
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    stopped: StopReason | None = None


Feed = Callable[[Callable[[bytes], Awaitable[bool]]], Awaitable[None]]
"""Writes a child's standard input by the function that it is given, which answers False once the child takes no more. When it
returns, the input is at its end; what it raises ends the child."""


class Runner(Protocol):
    """Runs ffmpeg and ffprobe, confined. Cancelling a run ends the whole process group and reaps it before it returns."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        limits: ProcessLimits,
        on_line: Callable[[str], bool] | None = None,
        feed: Feed | None = None,
    ) -> ProcessResult:
        """Run ``argv`` with ``cwd`` as the only directory that it may write, standard input what ``feed`` writes, or empty.

        With ``on_line`` each line of standard output goes there (and not into the result); it says whether the line
        was news, which restarts the stall clock. Without it standard output is captured, 1 MiB at most
        (`StopReason.STDOUT` beyond). A program that cannot be started raises `UnavailableError`.
        """
        ...


# --- identity --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``admin`` sees every owner's files."""

    owner: str
    admin: bool = False


class Identity(Protocol):
    """Who a request comes from."""

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        """The caller; raises `UnauthenticatedError`."""
        ...
