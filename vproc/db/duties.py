"""What one of all daemons is to do, from time to time."""

from __future__ import annotations

from vproc.db.clock import DatabaseNow
from vproc.db.engine import Database
from vproc.db.rows import insert_into
from vproc.db.tables import duties


class DutyMethods:
    """What `ports.Catalog` says of duties."""

    _database: Database

    async def take_duty(self, name: str, *, every_s: float) -> bool:
        """A row and no lock of the session's: it outlives a pooler in front of the database, and a daemon that dies with it holds
        up nobody for longer than ``every_s``."""
        async with self._database.write() as connection:
            statement = (
                insert_into(connection, duties)
                .values(name=name, taken_at=DatabaseNow())
                .on_conflict_do_update(
                    index_elements=[duties.c.name],
                    set_={"taken_at": DatabaseNow()},
                    where=duties.c.taken_at <= DatabaseNow() - every_s,
                )
                .returning(duties.c.name)
            )
            return (await connection.execute(statement)).one_or_none() is not None
