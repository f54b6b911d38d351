"""The catalog's part for announced uploads: quotas counted and the file made in one transaction, so that of two requests at once
one alone takes the last place; and idempotency keys, made with the file or not at all."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from vproc.core.files import File, Status
from vproc.core.idempotency import KEPT_S, Announced, IdempotencyKey
from vproc.core.leases import NewFile
from vproc.core.quotas import Quotas, Taken, day_begun_s, excess_of
from vproc.db.changes import ChangeHub
from vproc.db.clock import DatabaseNow, database_time
from vproc.db.engine import Database
from vproc.db.files import created
from vproc.db.group_commit import GroupCommit
from vproc.db.rows import file_from, locked, put
from vproc.db.tables import files, idempotency_keys
from vproc.errors import ConflictError, InvalidRequestError, TooManyRequestsError

_FORGET_AT_MOST = 1000


class AnnouncementMethods:
    """What `ports.Catalog` says of announced uploads."""

    _database: Database
    _hub: ChangeHub
    _group: GroupCommit

    async def announce(self, new: NewFile, *, quotas: Quotas | None = None, key: IdempotencyKey | None = None) -> Announced:
        """A new ``pending`` file within the owner's quotas; or the one that the same request made before."""
        limited = quotas is not None and quotas.limited
        if not limited and key is None:
            return Announced(await self._group.create(new))
        async with self._database.write() as connection:
            await one_at_a_time(connection, new.owner)
            if key is not None and (before := await _replayed(connection, new, key, quotas)) is not None:
                return Announced(before, replayed=True)
            if quotas is not None and limited:
                taken = await _taken(connection, new.owner, quotas)
                if (excess := excess_of(quotas, taken, size_bytes=new.size_bytes)) is not None:
                    raise TooManyRequestsError(excess.detail, retry_after_s=excess.retry_after_s)
            file = await created(connection, new)
            if key is not None:
                kept = {"owner": new.owner, "key": key.key, "digest": key.digest, "file_id": new.file_id}
                await connection.execute(idempotency_keys.insert().values(**kept))
        return Announced(file)

    async def forget_idempotency_keys(self, *, older_than_s: float = KEPT_S) -> int:
        """Forget keys of before; a thousand at a time. How many."""
        too_old = idempotency_keys.c.created_at < DatabaseNow() - older_than_s
        names = (idempotency_keys.c.owner, idempotency_keys.c.key)
        old = select(*names).where(too_old).order_by(*names).limit(_FORGET_AT_MOST)
        async with self._database.read() as connection:
            rows = (await connection.execute(old)).all()
        if rows:
            async with self._database.write() as connection:
                for row in rows:
                    # Looked at again: the same key may have come with a new request meanwhile.
                    await connection.execute(delete(idempotency_keys).where(_is(row.owner, row.key), too_old))
        return len(rows)


def _is(owner: str, key: str) -> ColumnElement[bool]:
    return (idempotency_keys.c.owner == owner) & (idempotency_keys.c.key == key)


async def one_at_a_time(connection: AsyncConnection, owner: str) -> None:
    """Wait until no other announcement of this owner is being counted. On SQLite a writer is alone anyway."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("vproc:announce:" + owner, 0))))


async def take_place_again(connection: AsyncConnection, row: RowMapping, quotas: Quotas | None) -> None:
    """Before a file that waits for its upload gets a fresh address: one whose address has expired is counted no more, so it
    needs a free place like a new one. Raises 429. Hold `one_at_a_time` of its owner."""
    if quotas is None or quotas.open_uploads is None:
        return
    now, ends = await database_time(connection), row["upload_expires_at"]
    if row["status"] == Status.PENDING and (ends is None or ends > now):
        return
    # Its bytes were counted on the day of its announcement.
    places = Quotas(open_uploads=quotas.open_uploads)
    if (excess := excess_of(places, await _taken(connection, row["owner"], places), size_bytes=None)) is not None:
        raise TooManyRequestsError(excess.detail, retry_after_s=excess.retry_after_s)


async def _replayed(connection: AsyncConnection, new: NewFile, key: IdempotencyKey, quotas: Quotas | None) -> File | None:
    """The file that this key made; a key that is a day old is forgotten."""
    now = await database_time(connection)
    await connection.execute(
        delete(idempotency_keys).where(_is(new.owner, key.key), idempotency_keys.c.created_at < now - KEPT_S)
    )
    found = (await connection.execute(select(idempotency_keys).where(_is(new.owner, key.key)))).mappings().one_or_none()
    if found is None:
        return None
    if found["digest"] != key.digest:
        raise InvalidRequestError("Idempotency-Key: it came with another request before; a new request takes a new key.")
    row = await locked(connection, found["file_id"])
    if row is None or row["deleted_at"] is not None:
        raise ConflictError("The file that this Idempotency-Key announced is deleted: another upload takes another key.")
    if row["status"] not in {Status.PENDING, Status.EXPIRED}:
        raise ConflictError(
            f"The file that this Idempotency-Key announced, {row['file_id']}, is {row['status']}: another takes another key."
        )
    await take_place_again(connection, row, quotas)
    expires_at = new.upload_expires_at and new.upload_expires_at.timestamp()
    if expires_at is not None and row["upload_expires_at"] is not None:
        # Addresses of before hold for as long as they said, and keep the place.
        expires_at = max(expires_at, row["upload_expires_at"])
    return file_from(await put(connection, found["file_id"], upload_expires_at=expires_at, status=Status.PENDING))


async def _taken(connection: AsyncConnection, owner: str, quotas: Quotas) -> Taken:
    """What the owner has taken. Deleted files count towards the day: else each could be deleted for another."""
    now = await database_time(connection)
    today = day_begun_s(now)
    opened, place, announced, media = 0, None, 0, 0.0
    if quotas.open_uploads is not None:
        still = (
            (files.c.owner == owner)
            & (files.c.status == Status.PENDING)
            & files.c.deleted_at.is_(None)
            & or_(files.c.upload_expires_at.is_(None), files.c.upload_expires_at > now)
        )
        opened = (await connection.execute(select(func.count()).select_from(files).where(still))).scalar_one()
        if opened >= quotas.open_uploads > 0:
            ends = select(files.c.upload_expires_at).where(still, files.c.upload_expires_at.is_not(None))
            nth = ends.order_by(files.c.upload_expires_at).offset(opened - quotas.open_uploads).limit(1)
            place = (await connection.execute(nth)).scalar_one_or_none()
    if quotas.bytes_per_day is not None:
        total = select(func.coalesce(func.sum(files.c.size_bytes), 0)).where(files.c.owner == owner, files.c.created_at >= today)
        announced = int((await connection.execute(total)).scalar_one())
    if quotas.media_minutes_per_day is not None:
        seconds = select(func.coalesce(func.sum(files.c.media_s), 0.0)).where(
            files.c.owner == owner, files.c.completed_at >= today
        )
        media = float((await connection.execute(seconds)).scalar_one())
    return Taken(now_s=now, open_uploads=opened, place_free_at_s=place, bytes_today=announced, media_s_today=media)
