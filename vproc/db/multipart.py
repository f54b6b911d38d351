"""The catalog's part for uploads in parts: which one makes a file's object, how long it goes on, and what is left of it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from vproc.core.files import TERMINAL, File, Status
from vproc.core.quotas import Quotas
from vproc.db.announcements import one_at_a_time, take_place_again
from vproc.db.changes import ChangeHub
from vproc.db.engine import Database
from vproc.db.rows import file_from, locked, put
from vproc.db.tables import files


class MultipartMethods:
    """What `ports.Catalog` says of uploads in parts."""

    _database: Database
    _hub: ChangeHub

    async def bind_upload(self, file_id: UUID, upload_id: str) -> str | None:
        """The upload that makes the file's object: this one, unless there is one already. None: it waits for no upload."""
        async with self._database.write() as connection:
            row = await locked(connection, file_id)
            if row is None or row["deleted_at"] is not None or row["status"] != Status.PENDING:
                return None
            if row["upload_id"] is None:
                row = await put(connection, file_id, upload_id=upload_id, upload_open=True)
            return str(row["upload_id"])

    async def prolong_upload(self, file_id: UUID, *, until: datetime, quotas: Quotas | None = None) -> None:
        """Somebody still uploads: a ``pending`` file waits until then at least, within the quota of open uploads."""
        statement = (
            update(files)
            .where(files.c.file_id == file_id, files.c.status == Status.PENDING, files.c.upload_expires_at < until.timestamp())
            .values(upload_expires_at=until.timestamp())
        )
        async with self._database.write() as connection:
            if quotas is not None and quotas.open_uploads is not None:
                await _take_place(connection, file_id, quotas)
            await connection.execute(statement)

    async def upload_ended(self, file_id: UUID) -> None:
        """Its upload in parts was joined or given up: the store holds no part of it."""
        async with self._database.write() as connection:
            await connection.execute(update(files).where(files.c.file_id == file_id).values(upload_open=False))

    async def left_uploads(self, *, limit: int, skip: int = 0) -> tuple[File, ...]:
        """Files that are finished or deleted and whose upload in parts is open, but for the first ``skip``."""
        statement = (
            select(files)
            .where(files.c.upload_open.is_(True), or_(files.c.deleted_at.is_not(None), files.c.status.in_(sorted(TERMINAL))))
            .order_by(files.c.file_id)
            .limit(limit)
            .offset(skip)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return tuple(file_from(row) for row in rows)


async def _take_place(connection: AsyncConnection, file_id: UUID, quotas: Quotas) -> None:
    """The owner's lock comes before the row's, as in an announcement."""
    owner = (await connection.execute(select(files.c.owner).where(files.c.file_id == file_id))).scalar_one_or_none()
    if owner is None:
        return
    await one_at_a_time(connection, owner)
    row = await locked(connection, file_id)
    if row is not None and row["deleted_at"] is None and row["status"] == Status.PENDING:
        await take_place_again(connection, row, quotas)
