"""A log-in at the user pool's own pages: authorization code with PKCE (RFC 7636, RFC 9700).

State, verifier and nonce stay with the browser, in a cookie of ten minutes: only the browser that began a log-in ends it. The
cookie is SameSite=Lax, since the browser comes back from another site. Where it comes back to is a setting, and where it goes
from here is the page: no address is taken from a request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from typing import Annotated

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field

from vproc.api.accounts import accounts_of, welcomed
from vproc.api.body import read_query
from vproc.api.parts import CALLER, parts_of
from vproc.api.route import Access, Answer, Route
from vproc.api.sessions import on_this_machine
from vproc.api.token_cookies import set_token_cookies
from vproc.core.api_keys import same
from vproc.errors import NotFoundError, UnauthenticatedError
from vproc.ports import Caller
from vproc.ports.accounts import HostedLogin

LOGIN_COOKIE = "vproc_login"
LOGIN_S = 600
_PATH = "/auth/callback"
_HELD = re.compile(r"(?P<state>[A-Za-z0-9_-]{43})\.(?P<verifier>[A-Za-z0-9_-]{43})\.(?P<nonce>[A-Za-z0-9_-]{43})", re.ASCII)
_NOT_BEGUN = "This log-in was not begun by this browser, or too long ago: begin again at GET /auth/authorize."


class CallbackQuery(BaseModel):
    """What the log-in page sends the browser back with."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    code: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    """Traded for the tokens, once."""
    state: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """What this log-in was begun with."""
    error: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Why there is no code."""


async def authorize(request: web.Request) -> web.Response:
    """Send the browser to the log-in page."""
    hosted = _hosted_of(request)
    state, verifier, nonce = (secrets.token_urlsafe(32) for _ in range(3))
    response = web.Response(
        status=302, headers={hdrs.LOCATION: hosted.address(state=state, challenge=_challenge(verifier), nonce=nonce)}
    )
    response.set_cookie(
        LOGIN_COOKIE,
        f"{state}.{verifier}.{nonce}",
        max_age=LOGIN_S,
        path=_PATH,
        httponly=True,
        samesite="Lax",
        secure=not on_this_machine(request),
    )
    return response


async def callback(request: web.Request) -> web.Response:
    """Trade the code that the browser comes back with for a session, and send it to the page."""
    hosted, accounts = _hosted_of(request), accounts_of(request)
    asked = read_query(request, CallbackQuery)
    held = _HELD.fullmatch(request.cookies.get(LOGIN_COOKIE, ""))
    if held is None or asked.state is None or not same(held["state"], asked.state):
        raise UnauthenticatedError(_NOT_BEGUN)
    if asked.code is None:
        raise UnauthenticatedError("The log-in page gave no code: the log-in was not finished, or not allowed.")
    tokens = await hosted.redeem(asked.code, verifier=held["verifier"])
    claims = await welcomed(accounts, tokens, nonce=held["nonce"])
    request[CALLER] = Caller(claims.subject, admin=claims.admin, by_cookie=True, expires_at=claims.expires_at)
    response = web.Response(status=303, headers={hdrs.LOCATION: "/"})
    await set_token_cookies(request, response, tokens, claims, keys=parts_of(request).keys)
    response.del_cookie(LOGIN_COOKIE, path=_PATH)
    return response


def _hosted_of(request: web.Request) -> HostedLogin:
    hosted = accounts_of(request).hosted
    if hosted is None:
        raise NotFoundError("There is no hosted log-in here: it is there with VPROC_COGNITO_DOMAIN.")
    return hosted


def _challenge(verifier: str) -> str:
    """S256 (RFC 7636, section 4.2)."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


ROUTES = (
    Route(
        method="GET", path="/auth/authorize", handler=authorize, access=Access.OPEN, tag="identity",
        summary="Log in at the user pool's own pages", answers=(Answer(302, "Where to"),), problems=(404, 429),
        description="For browsers: authorization code with PKCE. `VPROC_COGNITO_DOMAIN` says whose pages.",
    ),
    Route(
        method="GET", path=_PATH, handler=callback, access=Access.OPEN, tag="identity", audit="account.log_in_hosted",
        summary="Where the browser comes back to", query=CallbackQuery, answers=(Answer(303, "Logged in: the page"),),
        problems=(401, 404, 422, 429, 503),
    ),
)  # fmt: skip
