"""Who asks, and the ports by which that is found out.

Adapters: `api.identity` (keys), `api.access` (nobody), `oidc.identity` (tokens), `db.keys`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vproc.core.api_keys import ApiKey, NewKey, Scope, Session


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``admin`` sees every owner's files. ``key_id``: the API key that proves it; ``by_cookie``: through a session.

    ``expires_at``: when the proof ends by itself, as a token does, and with it any session that was traded for it.
    """

    owner: str
    admin: bool = False
    key_id: str | None = None
    by_cookie: bool = False
    expires_at: datetime | None = None


class Identity(Protocol):
    """Who a request comes from."""

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        """The caller; raises `UnauthenticatedError`."""
        ...


class KeyStore(Protocol):
    """API keys and sessions, kept. Every method may raise `UnavailableError`."""

    async def create_key(self, new: NewKey, *, owner: str, scopes: frozenset[Scope]) -> ApiKey:
        """Keep a new key."""
        ...

    async def find_key(self, key_id: str) -> ApiKey | None:
        """The key, revoked or not."""
        ...

    async def list_keys(self, *, owner: str | None = None) -> tuple[ApiKey, ...]:
        """All keys, or an owner's, oldest first."""
        ...

    async def revoke_key(self, key_id: str) -> bool:
        """End a key and every session that was traded for it. False: there is none, or it was revoked before."""
        ...

    async def key_used(self, key_id: str) -> None:
        """Note the time, once a minute at most."""
        ...

    async def open_session(self, session: Session) -> None:
        """Keep a session; those that have ended go."""
        ...

    async def find_session(self, digest: str) -> Session | None:
        """A session that has not ended."""
        ...

    async def secret(self, name: str, chance: bytes) -> bytes:
        """The secret of that name; ``chance`` becomes it where there is none."""
        ...

    async def end_session(self, digest: str) -> None:
        """Forget a session; nothing where there is none."""
        ...
