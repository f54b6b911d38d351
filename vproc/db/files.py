"""The catalog's part for callers: announce a file, find it, list, cancel, open it again, bury it."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

from sqlalchemy import Double, Uuid, literal, select, tuple_, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from vproc.core.files import CANCELLABLE, RETRYABLE, Attempt, File, FileError, RawState, Status
from vproc.core.leases import NewFile, Page
from vproc.db.changes import ChangeHub
from vproc.db.clock import DatabaseNow, database_time
from vproc.db.engine import Database
from vproc.db.outbox import announce
from vproc.db.rows import (
    NO_ERROR,
    NO_LEASE,
    attempt_from,
    close_dead_holder,
    error_values,
    file_from,
    insert_absent,
    lease_stands,
    locked,
    new_values,
    put,
)
from vproc.db.tables import files, transactions
from vproc.errors import ConflictError, InvalidRequestError, NotFoundError


class FileMethods:
    """What `ports.Catalog` says of files. A tombstone is as good as no row, but for a claim."""

    _database: Database
    _hub: ChangeHub

    async def create(self, new: NewFile) -> File:
        """A new ``pending`` file. The same again, as after a commit whose answer was lost, gives the file that stands."""
        async with self._database.write() as connection:
            return await created(connection, new)

    async def get(self, file_id: UUID) -> File | None:
        """The file; None where there is none or it was deleted."""
        async with self._database.read() as connection:
            found = await connection.execute(select(files).where(files.c.file_id == file_id, files.c.deleted_at.is_(None)))
            row = found.mappings().one_or_none()
        return file_from(row) if row is not None else None

    async def find_by_key(self, bucket: str, key: str) -> File | None:
        """The newest file of that object."""
        statement = (
            select(files)
            .where(files.c.key == key, files.c.bucket == bucket, files.c.deleted_at.is_(None))
            .order_by(files.c.created_at.desc(), files.c.file_id.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return file_from(row) if row is not None else None

    async def list(self, *, owner: str | None, status: Status | None, limit: int, cursor: str | None) -> Page:
        """A page after the cursor: what is created meanwhile moves no file from one page to another."""
        if limit < 1:
            raise InvalidRequestError(f"limit: takes 1 or more (got {limit})")
        statement = select(files).where(files.c.deleted_at.is_(None))
        if owner is not None:
            statement = statement.where(files.c.owner == owner)
        if status is not None:
            statement = statement.where(files.c.status == status)
        if cursor is not None:
            created_at, file_id = _read_cursor(cursor)
            statement = statement.where(
                tuple_(files.c.created_at, files.c.file_id) < tuple_(literal(created_at, Double()), literal(file_id, Uuid()))
            )
        statement = statement.order_by(files.c.created_at.desc(), files.c.file_id.desc()).limit(limit + 1)
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        more = len(rows) > limit
        rows = rows[:limit]
        return Page(tuple(file_from(row) for row in rows), _write_cursor(rows[-1]) if more else None)

    async def attempts(self, file_id: UUID) -> tuple[Attempt, ...]:
        """The file's attempts, oldest first; none of a deleted file."""
        statement = (
            select(transactions)
            .join(files, files.c.file_id == transactions.c.file_id)
            .where(files.c.file_id == file_id, files.c.deleted_at.is_(None))
            .order_by(transactions.c.id)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return tuple(attempt_from(row) for row in rows)

    async def changed(self, file_id: UUID, *, within_s: float) -> None:
        """Return when this catalog wrote to that file, or after ``within_s``, for another process may have."""
        await self._hub.wait(file_id, within_s=within_s)

    async def request_cancel(self, file_id: UUID) -> File:
        """Cancel at once, unless a lease stands: then its holder hears of it when it next writes."""
        async with self._database.write() as connection:
            row = await _present(connection, file_id)
            status = Status(row["status"])
            if status not in CANCELLABLE:
                raise ConflictError(f"file {file_id} is {status}: only what is not finished can be cancelled")
            now = await database_time(connection)
            if lease_stands(row, now):
                file = file_from(await put(connection, file_id, cancel_requested=True))
            else:
                await close_dead_holder(connection, row, now=now)
                file = await cancelled(connection, file_id)
        self._hub.tell(file_id)
        return file

    async def reopen(self, file_id: UUID) -> File:
        """``failed`` or ``cancelled`` becomes ``uploaded``, unless its original is known to be gone."""
        async with self._database.write() as connection:
            row = await _present(connection, file_id)
            status = Status(row["status"])
            if status not in RETRYABLE:
                raise ConflictError(f"file {file_id} is {status}: only a failed or cancelled file can be tried again")
            if row["raw_state"] == RawState.DELETED:
                raise ConflictError(f"the original of file {file_id} is deleted: upload it again")
            file = file_from(await reopened(connection, file_id))
        self._hub.tell(file_id)
        return file

    async def bury(self, file_id: UUID) -> File:
        """Leave a tombstone. What stands of the file in the buckets is the caller's to delete, and its runs' prefixes
        become orphans."""
        async with self._database.write() as connection:
            row = await _present(connection, file_id)
            if row["status"] == Status.PROCESSING:
                raise ConflictError(f"file {file_id} is processing: cancel it first, then delete it")
            await put(connection, file_id, deleted_at=await database_time(connection))
        self._hub.tell(file_id)
        return file_from(row)

    async def record_missing(self, new: NewFile, error: FileError) -> None:
        """A ``failed`` row for an object that does not stand. A finished, deleted or held file stays as it is."""
        async with self._database.write() as connection:
            values = new_values(new) | error_values(error) | {"status": Status.FAILED, "failed_at": DatabaseNow()}
            statement = insert_absent(connection, files).values(**values).returning(files)
            row = (await connection.execute(statement)).mappings().one_or_none()
            if row is not None:
                await announce(connection, file_from(row))
            else:
                await fail_unheld(connection, new.file_id, error)
        self._hub.tell(new.file_id)

    async def fail_unclaimed(self, file_id: UUID, error: FileError) -> None:
        """``failed``, where a file of that id stands, is not finished, and nobody holds it; else nothing."""
        async with self._database.write() as connection:
            await fail_unheld(connection, file_id, error)
        self._hub.tell(file_id)


async def created(connection: AsyncConnection, new: NewFile) -> File:
    """Insert a ``pending`` file; the same again gives the one that stands."""
    statement = insert_absent(connection, files).values(**new_values(new), status=Status.PENDING).returning(files)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        row = await _present(connection, new.file_id)
        if (row["bucket"], row["key"], row["owner"]) != (new.bucket, new.key, new.owner):
            raise ConflictError(f"file {new.file_id} stands already")
    return file_from(row)


async def fail_unheld(connection: AsyncConnection, file_id: UUID, error: FileError) -> None:
    """Fail a file on which nobody works; nothing where that does not hold."""
    row = await locked(connection, file_id)
    now = await database_time(connection)
    if row is None or row["deleted_at"] is not None or Status(row["status"]).terminal or lease_stands(row, now):
        return
    await close_dead_holder(connection, row, now=now)
    values = {**NO_LEASE, **error_values(error), "status": Status.FAILED, "failed_at": now}
    await announce(connection, file_from(await put(connection, file_id, **values)))


async def cancelled(connection: AsyncConnection, file_id: UUID) -> File:
    """Make a file ``cancelled``; its attempt is closed already. It has no error: somebody wanted it so."""
    file = file_from(await put(connection, file_id, **{**NO_LEASE, **NO_ERROR, "status": Status.CANCELLED}))
    await announce(connection, file)
    return file


async def reopened(connection: AsyncConnection, file_id: UUID) -> RowMapping:
    """Make a finished file ``uploaded`` again; what was tried before counts no more."""
    await connection.execute(update(transactions).where(transactions.c.file_id == file_id).values(counted=False))
    values = {**NO_LEASE, **NO_ERROR, "status": Status.UPLOADED, "attempts": 0, "progress": 0.0, "processing_time_s": None}
    return await put(connection, file_id, **values)


async def _present(connection: AsyncConnection, file_id: UUID) -> RowMapping:
    row = await locked(connection, file_id)
    if row is None or row["deleted_at"] is not None:
        raise NotFoundError(f"no file {file_id}")
    return row


def _write_cursor(row: RowMapping) -> str:
    return urlsafe_b64encode(json.dumps([row["created_at"], row["file_id"].hex]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[float, UUID]:
    try:
        created_at, file_id = json.loads(urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
        position = float(created_at), UUID(hex=file_id)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        position = math.nan, UUID(int=0)
    if not math.isfinite(position[0]):
        raise InvalidRequestError("cursor: takes the cursor of the page before, as it was given")
    return position
