"""The catalog's part for identities: API keys and sessions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from vproc.core.api_keys import ApiKey, NewKey, Scope, Session
from vproc.db.clock import DatabaseNow, instant
from vproc.db.engine import Database
from vproc.db.rows import insert_absent
from vproc.db.tables import api_keys, kept_secrets, sessions

_USED_EVERY_S = 60.0


class KeyMethods:
    """What `ports.KeyStore` says."""

    _database: Database

    async def create_key(self, new: NewKey, *, owner: str, scopes: frozenset[Scope]) -> ApiKey:
        """Keep a new key."""
        values = {"key_id": new.key_id, "owner": owner, "scopes": sorted(scopes), "digest": new.digest}
        async with self._database.write() as connection:
            row = (await connection.execute(insert(api_keys).values(**values).returning(api_keys))).mappings().one()
        return _key_from(row)

    async def find_key(self, key_id: str) -> ApiKey | None:
        """The key, revoked or not."""
        async with self._database.read() as connection:
            found = await connection.execute(select(api_keys).where(api_keys.c.key_id == key_id))
            row = found.mappings().one_or_none()
        return _key_from(row) if row is not None else None

    async def list_keys(self, *, owner: str | None = None) -> tuple[ApiKey, ...]:
        """All keys, or an owner's, oldest first."""
        statement = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id)
        if owner is not None:
            statement = statement.where(api_keys.c.owner == owner)
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return tuple(_key_from(row) for row in rows)

    async def revoke_key(self, key_id: str) -> bool:
        """End a key and every session that was traded for it. False: there is none, or it was revoked before."""
        async with self._database.write() as connection:
            revoked = await connection.execute(
                update(api_keys)
                .where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=DatabaseNow())
                .returning(api_keys.c.key_id)
            )
            found = revoked.one_or_none() is not None
            await connection.execute(delete(sessions).where(sessions.c.key_id == key_id))
        return found

    async def key_used(self, key_id: str) -> None:
        """Note the time, once a minute at most."""
        due = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < DatabaseNow() - _USED_EVERY_S)
        async with self._database.write() as connection:
            await connection.execute(update(api_keys).where(api_keys.c.key_id == key_id, due).values(last_used_at=DatabaseNow()))

    async def open_session(self, session: Session) -> None:
        """Keep a session; those that have ended go."""
        async with self._database.write() as connection:
            await connection.execute(delete(sessions).where(sessions.c.expires_at < DatabaseNow()))
            await connection.execute(
                insert(sessions).values(
                    digest=session.digest,
                    owner=session.owner,
                    scopes=sorted(session.scopes),
                    key_id=session.key_id,
                    expires_at=session.expires_at.timestamp(),
                )
            )

    async def find_session(self, digest: str) -> Session | None:
        """A session that has not ended."""
        statement = select(sessions).where(sessions.c.digest == digest, sessions.c.expires_at > DatabaseNow())
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        if row is None:
            return None
        return Session(row["digest"], row["owner"], _scopes(row), row["key_id"], instant(row["expires_at"]))

    async def secret(self, name: str, chance: bytes) -> bytes:
        """The secret of that name, the same for every process; ``chance`` becomes it where there is none."""
        async with self._database.write() as connection:
            await connection.execute(insert_absent(connection, kept_secrets).values(name=name, value=chance))
            found = await connection.execute(select(kept_secrets.c.value).where(kept_secrets.c.name == name))
            return bytes(found.scalar_one())

    async def end_session(self, digest: str) -> None:
        """Forget a session; nothing where there is none."""
        async with self._database.write() as connection:
            await connection.execute(delete(sessions).where(sessions.c.digest == digest))


def _key_from(row: RowMapping) -> ApiKey:
    return ApiKey(
        key_id=row["key_id"],
        owner=row["owner"],
        scopes=_scopes(row),
        digest=row["digest"],
        created_at=instant(row["created_at"]),
        last_used_at=_instant(row["last_used_at"]),
        revoked_at=_instant(row["revoked_at"]),
    )


def _scopes(row: RowMapping) -> frozenset[Scope]:
    """A scope that only a newer vproc knows gives nothing here."""
    known = {scope.value for scope in Scope}
    return frozenset(Scope(name) for name in row["scopes"] if name in known)


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else instant(seconds)
