"""Group commit: files that are announced at once are written in one transaction. Most of what an announcement costs is a
transaction of its own, on SQLite each with its trips to the driver's thread and its sync of the disk.

Nobody waits for company: whoever finds no transaction under way begins one, and takes with it all who came meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection

from vproc.core.files import File, Status
from vproc.core.leases import NewFile
from vproc.db.engine import Database
from vproc.db.files import created
from vproc.db.rows import file_from, insert_absent, new_values
from vproc.db.tables import files
from vproc.errors import VprocError

MOST_AT_ONCE = 50
"""Files to a transaction. Another writer waits that long."""


@dataclass(slots=True, eq=False)
class _Waiting:
    new: NewFile
    came: File | VprocError | None = None


class GroupCommit:
    """Writes files of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = anyio.Lock(fast_acquire=True)
        self._waiting: list[_Waiting] = []

    async def create(self, new: NewFile) -> File:
        """The ``pending`` file, committed; the same again gives the one that stands. Raises what its own row is refused for:
        others that were written with it do not share its errors. Whoever is cancelled before its turn writes nothing."""
        ours = _Waiting(new)
        self._waiting.append(ours)
        try:
            async with self._turn:
                while ours.came is None:
                    await self._write_next()
        finally:
            if ours in self._waiting:
                self._waiting.remove(ours)
        if isinstance(ours.came, VprocError):
            raise ours.came
        return ours.came

    async def _write_next(self) -> None:
        batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
        # One that is cancelled must not take the others with it: the transaction ends in bounded time.
        with anyio.CancelScope(shield=True):
            try:
                await self._write(batch)
            except VprocError as error:
                if len(batch) == 1:
                    batch[0].came = error
                    return
                for one in batch:
                    try:
                        await self._write([one])
                    except VprocError as its_own:
                        one.came = its_own

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        async with self._database.write() as connection:
            made = await _created(connection, [one.new for one in batch])
        for one, file in zip(batch, made, strict=True):
            one.came = file


async def _created(connection: AsyncConnection, news: Sequence[NewFile]) -> list[File]:
    statement = insert_absent(connection, files).returning(files)
    values = [{**new_values(new), "status": Status.PENDING} for new in news]
    rows = (await connection.execute(statement, values)).mappings().all()
    made = {row["file_id"]: file_from(row) for row in rows}
    return [made.get(new.file_id) or await created(connection, new) for new in news]
