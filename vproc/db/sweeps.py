"""The catalog's part for the janitor: what is overdue, what is left over, and that it was put right."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import or_, select, update

from vproc.core.files import TERMINAL, File, RawState, Status
from vproc.core.leases import OrphanRun
from vproc.db.changes import ChangeHub
from vproc.db.clock import DatabaseNow
from vproc.db.engine import Database
from vproc.db.outbox import announce
from vproc.db.rows import file_from
from vproc.db.tables import files, transactions

_EXPIRE_AT_MOST = 1000


class SweepMethods:
    """What `ports.Catalog` says of raw objects, expiry and orphaned runs."""

    _database: Database
    _hub: ChangeHub

    async def raw_deleted(self, file_id: UUID) -> None:
        """The raw object is gone. Nothing where there is no such file."""
        async with self._database.write() as connection:
            await connection.execute(update(files).where(files.c.file_id == file_id).values(raw_state=RawState.DELETED))
        self._hub.tell(file_id)

    async def pending_raw_deletes(self, *, limit: int) -> tuple[File, ...]:
        """Completed files whose raw still stands although it should not, longest waiting first."""
        statement = (
            select(files)
            .where(files.c.raw_state == RawState.DELETE_PENDING, files.c.status == Status.COMPLETED, files.c.deleted_at.is_(None))
            .order_by(files.c.completed_at, files.c.file_id)
            .limit(limit)
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
