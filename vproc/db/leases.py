"""The catalog's part for workers: the claim, the lease that it grants, and how an attempt ends.

A lease is three columns of its file's row: token, run and end. The token fences: each method locks the row, and writes
only where the token is the row's and the lease has not ended by the database's clock. One that has ended is lost also
where nobody took it yet; only `release` still takes the token then, for giving back harms nobody.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, case, literal, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from vproc.core.files import File, FileError, Outcome, RawState, Stage, Status
from vproc.core.leases import AttemptFigures, Claim, ClaimRequest, ClaimState, Completion, Lease, LeaseView
from vproc.db.changes import ChangeHub
from vproc.db.clock import DatabaseNow, database_time
from vproc.db.engine import Database
from vproc.db.files import cancelled, reopened
from vproc.db.outbox import announce
from vproc.db.rows import (
    NO_ERROR,
    NO_LEASE,
    close_attempt,
    close_dead_holder,
    completed_values,
    error_values,
    file_from,
    insert_absent,
    lease_stands,
    locked,
    put,
)
from vproc.db.tables import files, transactions
from vproc.errors import ErrorCode, LeaseLostError

_FAILURES = {Outcome.REJECTED: Status.FAILED, Outcome.DEAD: Status.FAILED, Outcome.CANCELLED: Status.CANCELLED}
_UNSEEN = frozenset({Status.PENDING, Status.EXPIRED})
_RELEASES = frozenset({Outcome.RETRIED, Outcome.DRAINED, Outcome.LOST})


class LeaseMethods:
    """What `ports.Catalog` says of claims and leases."""

    _database: Database
    _hub: ChangeHub

    async def claim(self, request: ClaimRequest) -> Claim:
        """Take the lease if it is free; ``uploaded`` is announced at a file's first grant, ``processing`` at each. The same
        request again, as after a commit whose answer was lost, is granted again without counting: a run is claimed once.
        `LeaseLostError` where that run has ended already."""
        async with self._database.write() as connection:
            claim = await _claim(connection, request)
        self._hub.tell(request.file_id)
        return claim

    async def renew(self, lease: Lease, *, ttl_s: float) -> LeaseView:
        """The lease ends ``ttl_s`` from now by the database's clock."""
        return await self._write_held(lease, lease_expires_at=DatabaseNow() + ttl_s)

    async def report(
        self, lease: Lease, *, progress: float, stage: Stage, speed: float | None = None, eta_s: float | None = None
    ) -> LeaseView:
        """Write progress, brought within 0.0 to 1.0, the stage, and how fast it goes."""
        bounded = max(0.0, min(progress, 1.0))
        forward = case((files.c.progress > bounded, files.c.progress), else_=bounded)
        return await self._write_held(lease, progress=forward, stage=stage, speed=speed, eta_s=eta_s)

    async def complete(self, lease: Lease, completion: Completion, figures: AttemptFigures) -> File:
        """``completed``, in one transaction. Again with the same lease gives the file that stands."""
        async with self._database.write() as connection:
            row = await locked(connection, lease.file_id)
            if row is not None and await _ended_as(connection, lease, Outcome.COMPLETED):
                return file_from(row)
            now = await database_time(connection)
            _require_held(row, lease, now)
            attempt = await close_attempt(
                connection, lease.file_id, lease.run_id, now=now, outcome=Outcome.COMPLETED, figures=figures
            )
            values = {
                **completed_values(completion),
                "processing_time_s": now - attempt["started_at"],
                "completed_at": now,
                "raw_state": RawState.DELETE_PENDING if completion.delete_raw else RawState.KEPT,
            }
            file = file_from(await put(connection, lease.file_id, **NO_LEASE, **NO_ERROR, **values))
            await announce(connection, file)
        self._hub.tell(lease.file_id)
        return file

    async def fail(self, lease: Lease, error: FileError, outcome: Outcome, figures: AttemptFigures) -> None:
        """``failed`` for REJECTED and DEAD, ``cancelled`` for CANCELLED; the error then stands in the attempt only."""
        status = _FAILURES.get(outcome)
        if status is None:
            raise ValueError(f"{outcome} is no failure")
        async with self._database.write() as connection:
            row = await locked(connection, lease.file_id)
            if row is not None and await _ended_as(connection, lease, outcome):
                return
            now = await database_time(connection)
            _require_held(row, lease, now)
            attempt = await close_attempt(
                connection, lease.file_id, lease.run_id, now=now, outcome=outcome, error=error, figures=figures
            )
            if status is Status.CANCELLED:
                await cancelled(connection, lease.file_id)
            else:
                spent = {"processing_time_s": now - attempt["started_at"]}
                values = {**NO_LEASE, **error_values(error), **spent, "status": status, "failed_at": now}
                await announce(connection, file_from(await put(connection, lease.file_id, **values)))
        self._hub.tell(lease.file_id)

    async def release(
        self, lease: Lease, outcome: Outcome, figures: AttemptFigures, *, error: FileError | None, count_attempt: bool
    ) -> None:
        """Give the file back, also under a lease that has expired and that nobody took. ``uploaded``, or ``cancelled``
        where its owner asked for that meanwhile."""
        if outcome not in _RELEASES:
            raise ValueError(f"{outcome} does not give a file back")
        async with self._database.write() as connection:
            row = await locked(connection, lease.file_id)
            if row is None or row["lease_token"] != lease.token:
                return
            await close_attempt(
                connection,
                lease.file_id,
                lease.run_id,
                now=await database_time(connection),
                outcome=outcome,
                error=error,
                figures=figures,
                counted=count_attempt,
            )
            values = {**NO_LEASE, **(error_values(error) if error else {}), "status": Status.UPLOADED, "progress": 0.0}
            if not count_attempt:
                values["attempts"] = max(0, row["attempts"] - 1)
            await put(connection, lease.file_id, **values)
            if row["cancel_requested"]:
                await cancelled(connection, lease.file_id)
        self._hub.tell(lease.file_id)

    async def _write_held(self, lease: Lease, **values: Any) -> LeaseView:
        """One statement: PostgreSQL looks at the token and the clock again when it had to wait for the row."""
        statement = update(files).where(*_held(lease)).values(**values).returning(files.c.cancel_requested, files.c.receipts)
        async with self._database.write() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None:
            raise _lost(lease)
        self._hub.tell(lease.file_id)
        return LeaseView(cancel_requested=row.cancel_requested, receipts=row.receipts)


async def _claim(connection: AsyncConnection, request: ClaimRequest) -> Claim:
    row = await _locked_or_new(connection, request)
    if row["deleted_at"] is not None:
        return Claim(ClaimState.DELETED)
    status = Status(row["status"])
    if status is Status.FAILED and request.reopen:
        row = await reopened(connection, request.file_id)
    elif status.terminal and status is not Status.EXPIRED:
        return Claim(ClaimState.FINISHED, file_from(row))
    now = await database_time(connection)
    if row["lease_run_id"] == request.run_id:
        return await _granted_again(connection, request, row)
    if lease_stands(row, now):
        receipts = {**row["receipts"], request.message_id: request.receipt_handle}
        return Claim(ClaimState.BUSY, file_from(await put(connection, request.file_id, receipts=receipts)))
    return await _taken(connection, request, row, now=now)


async def _taken(connection: AsyncConnection, request: ClaimRequest, row: RowMapping, *, now: float) -> Claim:
    """Nobody holds the file: close what a dead holder left, then grant, unless it was cancelled or is used up."""
    await close_dead_holder(connection, row, now=now)
    if row["cancel_requested"]:
        return Claim(ClaimState.FINISHED, await cancelled(connection, request.file_id))
    if row["attempts"] >= request.max_attempts:
        file = file_from(await put(connection, request.file_id, **NO_LEASE, status=Status.UPLOADED))
        return Claim(ClaimState.EXHAUSTED, file, earlier_codes=await _earlier_codes(connection, request))
    return await _granted(connection, request, row, now=now)


async def _locked_or_new(connection: AsyncConnection, request: ClaimRequest) -> RowMapping:
    """The file's row, locked. Of two first claims one inserts it; the other waits for that, and finds it."""
    row = await locked(connection, request.file_id)
    if row is None:
        version = request.version
        statement = insert_absent(connection, files).values(
            file_id=request.file_id,
            owner=request.owner,
            file_name=request.file_name,
            bucket=version.bucket,
            key=version.key,
            profile=request.profile,
            metadata=dict(request.metadata),
            status=Status.UPLOADED,
        )
        await connection.execute(statement)
        row = await locked(connection, request.file_id)
    if row is None:
        raise AssertionError(f"file {request.file_id} was inserted and is not there")
    return row


async def _granted(connection: AsyncConnection, request: ClaimRequest, row: RowMapping, *, now: float) -> Claim:
    version = request.version
    lease = Lease(request.file_id, uuid4().hex, request.run_id, row["attempts"] + 1)
    statement = insert_absent(connection, transactions).values(
        file_id=request.file_id,
        run_id=request.run_id,
        token=lease.token,
        attempt=lease.attempt,
        worker=request.worker,
        started_at=now,
        outcome=Outcome.RUNNING,
        counted=True,
    )
    opened = await connection.execute(statement.returning(transactions.c.id))
    if opened.one_or_none() is None:
        raise LeaseLostError(f"run {request.run_id} of file {request.file_id} has ended: another claim needs another run")
    values = {
        "status": Status.PROCESSING,
        "attempts": lease.attempt,
        "etag": version.etag,
        "version_id": version.version_id,
        "size_bytes": version.size_bytes,
        "content_type": version.content_type or row["content_type"],
        "traceparent": row["traceparent"] or request.traceparent,
        "progress": 0.0,
        "stage": None,
        "speed": None,
        "eta_s": None,
        "cancel_requested": False,
    }
    changed = file_from(await put(connection, request.file_id, **NO_ERROR, **values, **_lease_values(request, lease.token)))
    if Status(row["status"]) in _UNSEEN:
        # Before the other: receivers put events in order by their time.
        before = changed.updated_at - timedelta(milliseconds=1)
        await announce(connection, replace(changed, status=Status.UPLOADED, attempts=0, updated_at=before))
    await announce(connection, changed)
    return Claim(ClaimState.GRANTED, changed, lease, await _earlier_codes(connection, request))


async def _granted_again(connection: AsyncConnection, request: ClaimRequest, row: RowMapping) -> Claim:
    """The run that asks holds the lease, or held it until it ended, and nobody took it since."""
    lease = Lease(request.file_id, row["lease_token"], request.run_id, row["attempts"])
    changed = await put(connection, request.file_id, **_lease_values(request, lease.token))
    return Claim(ClaimState.GRANTED, file_from(changed), lease, await _earlier_codes(connection, request))


def _lease_values(request: ClaimRequest, token: str) -> dict[str, Any]:
    return {
        "lease_token": token,
        "lease_run_id": request.run_id,
        "lease_expires_at": DatabaseNow() + request.ttl_s,
        "receipts": {request.message_id: request.receipt_handle},
    }


async def _earlier_codes(connection: AsyncConnection, request: ClaimRequest) -> tuple[ErrorCode, ...]:
    """Codes of the attempts that count: a drain does not, nor what was before the file was last opened. A holder that
    vanished is ``lease_lost``: it says nothing of the media, so it is no code that an attempt could have ended with."""
    found = await connection.execute(
        select(transactions.c.error_code)
        .where(transactions.c.file_id == request.file_id, transactions.c.counted, transactions.c.error_code.is_not(None))
        .order_by(transactions.c.id)
    )
    return tuple(ErrorCode(code) for code in found.scalars())


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (
        files.c.file_id == lease.file_id,
        files.c.lease_token == lease.token,
        files.c.lease_expires_at > DatabaseNow(),
    )


def _require_held(row: RowMapping | None, lease: Lease, now: float) -> None:
    if row is None or row["lease_token"] != lease.token or not lease_stands(row, now):
        raise _lost(lease)


def _lost(lease: Lease) -> LeaseLostError:
    return LeaseLostError(f"run {lease.run_id} holds the lease of file {lease.file_id} no more")


async def _ended_as(connection: AsyncConnection, lease: Lease, outcome: Outcome) -> bool:
    """Whether this very lease has brought about that end: its commit was applied and the answer lost."""
    found = await connection.execute(
        select(literal(1)).where(
            transactions.c.file_id == lease.file_id,
            transactions.c.run_id == lease.run_id,
            transactions.c.token == lease.token,
            transactions.c.outcome == outcome,
        )
    )
    return found.one_or_none() is not None
