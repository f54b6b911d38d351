"""The catalog's part for users: what a log-in said of them."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.engine import RowMapping

from vproc.db.clock import DatabaseNow, instant
from vproc.db.engine import Database
from vproc.db.rows import insert_absent
from vproc.db.tables import users
from vproc.ports.accounts import User


class UserMethods:
    """What `ports.accounts.UserStore` says."""

    _database: Database

    async def note_log_in(self, subject: str, *, email: str | None, name: str | None) -> User:
        """Keep what the log-in said of a user, and when it was. What it did not say stays as it was."""
        said = {key: value for key, value in (("email", email), ("name", name)) if value is not None}
        async with self._database.write() as connection:
            await connection.execute(insert_absent(connection, users).values(subject=subject))
            changed = update(users).where(users.c.subject == subject).values(**said, last_log_in_at=DatabaseNow())
            row = (await connection.execute(changed.returning(users))).mappings().one()
        return _user_from(row)

    async def find_user(self, subject: str) -> User | None:
        """The user, once there was a log-in."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(users).where(users.c.subject == subject))).mappings().one_or_none()
        return _user_from(row) if row is not None else None


def _user_from(row: RowMapping) -> User:
    return User(row["subject"], row["email"], row["name"], instant(row["created_at"]), instant(row["last_log_in_at"]))
