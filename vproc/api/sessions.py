"""A browser's session: a key or a token traded for a cookie that no script reads, so that the page's event streams and players
prove who asks without a header.

A request that a cookie proves and that changes something must come from a page of ours (`refuse_foreign_page`): cookies go with
every request, whoever's page made it.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import structlog
from aiohttp import hdrs, web

from vproc.api.access import caller_of
from vproc.api.identity import COOKIE
from vproc.api.parts import parts_of
from vproc.api.route import Access, Answer, AnswerHeader, Route
from vproc.core.api_keys import Scope, Session, digest_of, read_session_token, session_token
from vproc.errors import ForbiddenError, UnauthenticatedError

SESSION_S = 12 * 3600
_SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_OURS = frozenset({"same-origin", "none"})
_FOREIGN = (
    "A session's cookie is taken from this site's own pages only, and from those of VPROC_CORS_ORIGINS. Send an API key instead."
)
_FOREIGN_AT_A_DOOR = (
    "This is taken from this site's own pages, those of VPROC_CORS_ORIGINS, and programs: another site's page asked."
)

log = structlog.stdlib.get_logger(__name__)


class ForeignPageError(ForbiddenError):
    """A page of somebody else's made the browser ask."""


def refuse_foreign_page(request: web.Request, *, changes: bool, detail: str = _FOREIGN) -> None:
    """Raise `ForeignPageError` where a browser says that another site's page asks, or says nothing that shows the contrary.

    Pages of ``VPROC_CORS_ORIGINS`` are ours. ``changes``: the route changes something, whatever its method.
    """
    if request.method in _SAFE and not changes:
        return
    if request.headers.get(hdrs.ORIGIN) in parts_of(request).limits.cors_origins:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site in _OURS:
            return
    elif (origin := request.headers.get(hdrs.ORIGIN)) is not None and origin == f"{request.scheme}://{request.host}":
        return
    raise ForeignPageError(detail)


def refuse_told_foreign_page(request: web.Request) -> None:
    """Raise `ForeignPageError` where a browser says that another site's page asks. What says nothing is a program."""
    if "Sec-Fetch-Site" in request.headers or hdrs.ORIGIN in request.headers:
        refuse_foreign_page(request, changes=True, detail=_FOREIGN_AT_A_DOOR)


async def begin(request: web.Request) -> web.Response:
    """Trade the key or the token that proves this request for a cookie, which lasts no longer than the token."""
    caller, parts = caller_of(request), parts_of(request)
    response = web.Response(status=204)
    if caller.key_id is None and caller.expires_at is None:
        return response  # VPROC_AUTH=none: nobody asks for a cookie
    value = session_token(secrets.token_bytes(32))
    scopes = frozenset({Scope.FILES, Scope.ADMIN} if caller.admin else {Scope.FILES})
    now = datetime.now(UTC)
    ends = min(now + timedelta(seconds=SESSION_S), caller.expires_at or datetime.max.replace(tzinfo=UTC))
    lasts_s = int((ends - now).total_seconds())
    if lasts_s < 1:
        raise UnauthenticatedError("This token is at its end: there is no session left in it.")
    await parts.keys.open_session(Session(digest_of(value), caller.owner, scopes, caller.key_id, ends))
    response.set_cookie(
        COOKIE, value, max_age=lasts_s, path="/", httponly=True, samesite="Strict", secure=not on_this_machine(request)
    )
    log.info("session_begun")
    return response


async def end(request: web.Request) -> web.Response:
    """End the session of the cookie."""
    digest = read_session_token(request.cookies.get(COOKIE, ""))
    if digest is not None:
        await parts_of(request).keys.end_session(digest)
    response = web.Response(status=204)
    response.del_cookie(COOKIE, path="/")
    return response


def on_this_machine(request: web.Request) -> bool:
    """A page of this very machine, over plain HTTP: some browsers keep no Secure cookie there."""
    return request.scheme == "http" and request.host.partition(":")[0] in {"127.0.0.1", "localhost"}


_COOKIE_SET = AnswerHeader("Set-Cookie", "The session, or its removal; nothing with `VPROC_AUTH=none`", always=False)

ROUTES = (
    Route(
        method="POST",
        path="/auth/session",
        handler=begin,
        access=Access.IDENTITY,
        summary="Trade an API key or a token for a session's cookie",
        description="For browsers: the cookie is HttpOnly, SameSite=Strict, and lasts twelve hours, or as long as the token.",
        answers=(Answer(204, "The cookie is set", headers=(_COOKIE_SET,)),),
        tag="identity",
        audit="session.begin",
        problems=(503,),
    ),
    Route(
        method="DELETE",
        path="/auth/session",
        handler=end,
        access=Access.IDENTITY,
        summary="End the session",
        answers=(Answer(204, "Ended", headers=(_COOKIE_SET,)),),
        tag="identity",
        audit="session.end",
        problems=(503,),
    ),
)
