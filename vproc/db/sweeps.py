"""The catalog's part for the janitor: what is overdue, what is left over, and that it was put right."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from vproc.core.files import TERMINAL, File, RawState, Status
from vproc.core.leases import Completion, NewFile, OrphanRun
from vproc.db.changes import ChangeHub
from vproc.db.clock import DatabaseNow, database_time
from vproc.db.engine import Database
from vproc.db.outbox import announce
from vproc.db.rows import (
    NO_ERROR,
    NO_LEASE,
    close_dead_holder,
    completed_values,
    file_from,
    insert_absent,
    lease_stands,
    locked,
    new_values,
    put,
)
from vproc.db.tables import files, transactions

_EXPIRE_AT_MOST = 1000


class SweepMethods:
    """What `ports.Catalog` says of raw objects, expiry, orphaned runs and files that were lost."""

    _database: Database
    _hub: ChangeHub

    async def raw_deleted(self, file_id: UUID) -> None:
        """The raw object is gone. Nothing where there is no such file."""
        async with self._database.write() as connection:
            await connection.execute(update(files).where(files.c.file_id == file_id).values(raw_state=RawState.DELETED))
        self._hub.tell(file_id)

    async def pending_raw_deletes(self, *, limit: int, skip: int = 0) -> tuple[File, ...]:
        """Completed files whose raw still stands although it should not, longest waiting first, but for the first ``skip``."""
        statement = (
            select(files)
            .where(files.c.raw_state == RawState.DELETE_PENDING, files.c.status == Status.COMPLETED, files.c.deleted_at.is_(None))
            .order_by(files.c.completed_at, files.c.file_id)
            .limit(limit)
            .offset(skip)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return tuple(file_from(row) for row in rows)

    async def abandoned(self, *, before: datetime, limit: int, skip: int = 0) -> tuple[File, ...]:
        """Files that were uploaded and are not finished, that nobody holds, and that last changed before that time; oldest first,
        but for the first ``skip``."""
        statement = (
            select(files)
            .where(
                files.c.status.in_([Status.UPLOADED, Status.PROCESSING]),
                files.c.deleted_at.is_(None),
                files.c.updated_at < before.timestamp(),
                or_(files.c.lease_token.is_(None), files.c.lease_expires_at <= DatabaseNow()),
            )
            .order_by(files.c.updated_at, files.c.file_id)
            .limit(limit)
            .offset(skip)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return tuple(file_from(row) for row in rows)

    async def expire_pending(self, *, grace_s: float) -> int:
        """At most 1000 of them at a time. A row that somebody else has locked is passed over: it is about to change."""
        overdue = (
            select(files.c.file_id)
            .where(
                files.c.status == Status.PENDING,
                files.c.upload_expires_at < DatabaseNow() - grace_s,
                files.c.deleted_at.is_(None),
            )
            .limit(_EXPIRE_AT_MOST)
            .with_for_update(skip_locked=True)
        )
        async with self._database.write() as connection:
            ids = (await connection.execute(overdue)).scalars().all()
            statement = update(files).where(files.c.file_id.in_(ids)).values(status=Status.EXPIRED).returning(files)
            expired = [file_from(row) for row in (await connection.execute(statement)).mappings()]
            for file in expired:
                await announce(connection, file)
        for file in expired:
            self._hub.tell(file.file_id)
        return len(expired)

    async def restore(self, new: NewFile, completion: Completion, *, completed_at: datetime, raw_state: RawState) -> bool:
        """``completed`` as the manifest tells, for a file that is not here or that stands here unfinished with nobody on it."""
        values = {**completed_values(completion), "completed_at": completed_at.timestamp(), "raw_state": raw_state}
        async with self._database.write() as connection:
            statement = insert_absent(connection, files).values(**{**new_values(new), **values})
            inserted = (await connection.execute(statement.returning(files.c.file_id))).one_or_none() is not None
            if not inserted and not await _completed_unheld(connection, new.file_id, values):
                return False
        self._hub.tell(new.file_id)
        return True

    async def orphan_runs(self, *, limit: int) -> tuple[OrphanRun, ...]:
        """Ended runs of files that are finished, other than the winner's, and every run of a deleted file; oldest first.

        An unfinished file keeps the prefixes of its ended runs: one of them may have committed its manifest and died
        before the catalog heard of it. So may a run of a failed or cancelled file: look for the manifest before a sweep.
        """
        statement = (
            select(transactions.c.file_id, transactions.c.run_id)
            .join(files, files.c.file_id == transactions.c.file_id)
            .where(
                transactions.c.swept_at.is_(None),
                transactions.c.ended_at.is_not(None),
                or_(
                    files.c.deleted_at.is_not(None),
                    files.c.status.in_(sorted(TERMINAL)) & transactions.c.run_id.is_distinct_from(files.c.run_id),
                ),
            )
            .order_by(transactions.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).all()
        return tuple(OrphanRun(row.file_id, row.run_id) for row in rows)

    async def run_swept(self, run: OrphanRun) -> None:
        """That run's prefix holds nothing any more."""
        async with self._database.write() as connection:
            await connection.execute(
                update(transactions)
                .where(transactions.c.file_id == run.file_id, transactions.c.run_id == run.run_id)
                .values(swept_at=DatabaseNow())
            )


async def _completed_unheld(connection: AsyncConnection, file_id: UUID, values: Mapping[str, Any]) -> bool:
    """Complete an unfinished file on which nobody works; False where that does not hold."""
    row = await locked(connection, file_id)
    now = await database_time(connection)
    if row is None or row["deleted_at"] is not None or lease_stands(row, now):
        return False
    status = Status(row["status"])
    if status.terminal and status is not Status.EXPIRED:
        return False
    await close_dead_holder(connection, row, now=now)
    await announce(connection, file_from(await put(connection, file_id, **{**NO_LEASE, **NO_ERROR, **values})))
    return True
