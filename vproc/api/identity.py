"""Who a request comes from: an API key, or the session that a browser traded one for.

What is found is believed for a few seconds, so that a page that asks every second costs no query each; a key that is revoked ends
within that time in every process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog

from vproc.core.api_keys import Scope, digest_of, read_key, read_session_token, same
from vproc.errors import UnauthenticatedError, VprocError
from vproc.ports import Caller, KeyStore

COOKIE = "vproc_session"
BELIEVED_S = 5.0
_MOST_BELIEVED = 4096
_USE_NOTED_EVERY = timedelta(minutes=1)
_NO_IDENTITY = "Send an API key: Authorization: Bearer vproc_…, made by `vproc keys create OWNER`."
_BAD_KEY = "This API key does not hold: it is unknown or revoked."
_BAD_SESSION = "This session has ended: POST /auth/session with an API key or a token begins another."

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Believed:
    caller: Caller
    until_s: float


class ApiKeyIdentity:
    """``VPROC_AUTH=api-key``. ``missing`` is what whoever sends nothing is told."""

    def __init__(self, keys: KeyStore, *, missing: str = _NO_IDENTITY, clock: Callable[[], float] = monotonic) -> None:
        self._keys = keys
        self._missing = missing
        self._clock = clock
        self._believed: OrderedDict[str, _Believed] = OrderedDict()

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        """The key's owner, or the session's. A header that is wrong is refused, whatever cookie comes with it."""
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not token:
                raise UnauthenticatedError(self._missing)
            return await self._known("key", token.strip(), self._by_key)
        if (value := cookies.get(COOKIE)) is not None:
            return await self._known("session", value, self._by_session)
        raise UnauthenticatedError(self._missing)

    async def _known(self, kind: str, secret: str, find: Callable[[str], Awaitable[Caller]]) -> Caller:
        name = f"{kind}:{digest_of(secret)}"  # no secret stays in memory
        held = self._believed.get(name)
        if held is not None and held.until_s > self._clock():
            self._believed.move_to_end(name)
            return held.caller
        self._believed.pop(name, None)
        caller = await find(secret)
        self._believed[name] = _Believed(caller, self._clock() + BELIEVED_S)
        while len(self._believed) > _MOST_BELIEVED:
            self._believed.popitem(last=False)
        return caller

    async def _by_key(self, token: str) -> Caller:
        read = read_key(token)
        if read is None:
            raise UnauthenticatedError(_BAD_KEY)
        key_id, digest = read
        key = await self._keys.find_key(key_id)
        if key is None or not same(key.digest, digest) or key.revoked_at is not None:
            raise UnauthenticatedError(_BAD_KEY)
        # Seldom, since each is a write, and on SQLite every write waits for the one before.
        if key.last_used_at is None or datetime.now(UTC) - key.last_used_at >= _USE_NOTED_EVERY:
            await self._note_use(key_id)
        return Caller(key.owner, admin=Scope.ADMIN in key.scopes, key_id=key_id)

    async def _note_use(self, key_id: str) -> None:
        try:
            await self._keys.key_used(key_id)
        except VprocError as error:
            log.info("key_use_not_noted", key_id=key_id, error=str(error))

    async def _by_session(self, value: str) -> Caller:
        digest = read_session_token(value)
        session = await self._keys.find_session(digest) if digest is not None else None
        if session is None:
            raise UnauthenticatedError(_BAD_SESSION)
        # A key's session may be traded for another, since it ends with the key; a token's has nothing else that ends it.
        ends = session.expires_at if session.key_id is None else None
        admin = Scope.ADMIN in session.scopes
        return Caller(session.owner, admin=admin, key_id=session.key_id, by_cookie=True, expires_at=ends)
