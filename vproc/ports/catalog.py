"""The catalog of files. Adapter: `db.catalog`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from vproc.core.files import Attempt, File, FileError, Outcome, RawState, Stage, Status
from vproc.core.idempotency import Announced, IdempotencyKey
from vproc.core.leases import AttemptFigures, Claim, ClaimRequest, Completion, Lease, LeaseView, NewFile, OrphanRun, Page
from vproc.core.quotas import Quotas


class Catalog(Protocol):
    """Files, their attempts, their leases and the outbox. All times are the database's."""

    async def create(self, new: NewFile) -> File:
        """A new ``pending`` file."""
        ...

    async def announce(self, new: NewFile, *, quotas: Quotas | None = None, key: IdempotencyKey | None = None) -> Announced:
        """A new ``pending`` file, counted and made in one step. `TooManyRequestsError` where it would exceed a quota. With a key
        that came before: the file it made, its address anew; `InvalidRequestError` for another request than then,
        `ConflictError` where that file is past its upload."""
        ...

    async def forget_idempotency_keys(self) -> int:
        """Forget keys that are a day old, a thousand at a time; how many."""
        ...

    async def forget_events(self) -> int:
        """Forget events of the outbox that came to their end a month ago, a thousand at a time; how many."""
        ...

    async def forget_disabled(self) -> int:
        """Forget webhooks' addresses that answered 410 ninety days ago; how many."""
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

    async def bind_upload(self, file_id: UUID, upload_id: str) -> str | None:
        """The upload in parts that makes a ``pending`` file's object: this one, unless there is one already. None: the file
        waits for no upload."""
        ...

    async def prolong_upload(self, file_id: UUID, *, until: datetime, quotas: Quotas | None = None) -> None:
        """Somebody still uploads: a ``pending`` file waits until then at least. One whose address has expired takes a place
        again: `TooManyRequestsError` where none is free."""
        ...

    async def upload_ended(self, file_id: UUID) -> None:
        """Its upload in parts was joined or given up."""
        ...

    async def left_uploads(self, *, limit: int, skip: int = 0) -> tuple[File, ...]:
        """Files that are finished or deleted and whose upload in parts is open, but for the first ``skip``."""
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

    async def take_duty(self, name: str, *, every_s: float) -> bool:
        """Whether that duty is ours this time. Of all processes one alone hears True, and nobody again within ``every_s``."""
        ...

    async def check(self) -> None:
        """Return when the database answers; raise `UnavailableError` otherwise."""
        ...
