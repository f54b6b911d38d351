"""Tokens in a browser's cookies, which no script reads: ``access_token`` goes with every request, ``refresh_token`` to ``/auth``
alone. Both are SameSite=Strict, and Secure but on this very machine.

A cookie takes 4096 bytes, name and value (RFC 6265, section 6.1). An access token that is longer, as that of a user in many
groups, stays here: its cookie holds an opaque id, a session of the catalog's. A refresh token that is longer is not kept.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog
from aiohttp import web

from vproc.api.identity import COOKIE as SESSION_COOKIE
from vproc.api.sessions import on_this_machine
from vproc.core.api_keys import Scope, Session, digest_of, read_session_token, session_token
from vproc.core.claims import Claims
from vproc.errors import UnauthenticatedError
from vproc.ports import Caller, Identity, KeyStore
from vproc.ports.accounts import TokenCheck, Tokens

ACCESS_COOKIE = "access_token"
REFRESH_COOKIE = "refresh_token"
REFRESH_PATH = "/auth"
REFRESH_S = 30 * 86400
"""How long a browser keeps a refresh token: Cognito's default life of one. What has ended before is refused."""
_MOST_BYTES = 4096

log = structlog.stdlib.get_logger(__name__)


class CookieIdentity:
    """The access token in a browser's cookie. What has a header, or no such cookie, is for ``beside`` to tell."""

    def __init__(self, tokens: TokenCheck, *, beside: Identity) -> None:
        self._tokens = tokens
        self._beside = beside

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        """The token's subject. A header that is wrong is refused, whatever cookie comes with it."""
        value = cookies.get(ACCESS_COOKIE)
        if authorization is not None or value is None:
            return await self._beside.identify(authorization, cookies)
        if read_session_token(value) is not None:
            return await self._beside.identify(None, {SESSION_COOKIE: value})
        claims = await self._tokens.verify(value)
        return Caller(claims.subject, admin=claims.admin, by_cookie=True, expires_at=claims.expires_at)


async def set_token_cookies(
    request: web.Request, response: web.Response, tokens: Tokens, claims: Claims, *, keys: KeyStore
) -> None:
    """Put tokens into the response's cookies. ``claims`` are the access token's."""
    lasts_s = lasts_for_s(claims)
    if lasts_s < 1:
        raise UnauthenticatedError("This session is at its end: log in again.")
    value = tokens.access
    if not _fits(ACCESS_COOKIE, value):
        value = await _kept(claims, keys)
    _set(request, response, ACCESS_COOKIE, value, path="/", max_age_s=lasts_s)
    if tokens.refresh is None:
        return
    if _fits(REFRESH_COOKIE, tokens.refresh):
        _set(request, response, REFRESH_COOKIE, tokens.refresh, path=REFRESH_PATH, max_age_s=REFRESH_S)
    else:
        log.warning("refresh_token_too_long", characters=len(tokens.refresh), remedy="a session ends with its access token")


def clear_token_cookies(response: web.StreamResponse) -> None:
    """Have the browser forget them."""
    response.del_cookie(ACCESS_COOKIE, path="/")
    response.del_cookie(REFRESH_COOKIE, path=REFRESH_PATH)


async def forget_kept(request: web.Request, *, keys: KeyStore) -> None:
    """End what an opaque id in the request's cookie stands for."""
    digest = read_session_token(request.cookies.get(ACCESS_COOKIE, ""))
    if digest is not None:
        await keys.end_session(digest)


def lasts_for_s(claims: Claims) -> int:
    """How long a token still holds."""
    return int((claims.expires_at - datetime.now(UTC)).total_seconds())


async def _kept(claims: Claims, keys: KeyStore) -> str:
    value = session_token(secrets.token_bytes(32))
    scopes = frozenset({Scope.FILES, Scope.ADMIN} if claims.admin else {Scope.FILES})
    await keys.open_session(Session(digest_of(value), claims.subject, scopes, None, claims.expires_at))
    return value


def _fits(name: str, value: str) -> bool:
    return len(name) + len(value.encode()) <= _MOST_BYTES


def _set(request: web.Request, response: web.Response, name: str, value: str, *, path: str, max_age_s: int) -> None:
    response.set_cookie(
        name, value, max_age=max_age_s, path=path, httponly=True, samesite="Strict", secure=not on_this_machine(request)
    )
